package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/pelletier/go-toml/v2"
)

// configSource is what a configuration is made from.
type configSource struct {
	file     string // as given on the command line; "" for none
	data     []byte // what it holds
	environ  []string
	readFile func(path string) ([]byte, error) // reads the files that hold secrets
}

// loadConfig makes the configuration from a file, unless its name is "", and the environment, which wins. The error
// is of type faults and has all that is wrong. The file must be right by itself, also where a variable replaces a
// value of it; only the files of secrets that are replaced are not read.
func loadConfig(file string, environ []string) (*config, error) {
	src := configSource{file: file, environ: environ, readFile: os.ReadFile}
	if file != "" {
		data, err := os.ReadFile(file) //nolint:gosec // the operator names it
		if err != nil {
			return nil, faults{{file: file, place: place{path: "reading"}, what: fileReason(err)}}
		}
		src.data = data
	}
	return src.load()
}

// unknownVariables returns the names of the variables that begin like a key's and are none, sorted.
func unknownVariables(environ []string) []string {
	_, unknown := splitEnvironment(environ)
	return unknown
}

// configLoader fills a config and gathers the faults of what it is made from.
type configLoader struct {
	configSource
	env    map[string]string // the variables that are keys
	lines  map[string]int    // where the paths of the file stand
	said   map[string]place  // where the value in effect of a key was said, if anywhere
	faults faults
}

func (src configSource) load() (*config, error) {
	table, lines, err := parseTOML(src.file, src.data)
	if err != nil {
		return nil, err
	}
	env, _ := splitEnvironment(src.environ)
	l := &configLoader{configSource: src, env: env, lines: lines, said: make(map[string]place)}
	c := defaultConfig()
	for _, k := range configKeys {
		fromFile(l, c, k, table, "")
		fromEnvironment(l, c, k)
	}
	l.unknownKeys(table, "", keyPaths(configKeys))
	c.Partners = l.partners(table)
	if _, said := l.said["auth.allow_unlisted_keys"]; !said {
		c.settleUnlisted()
	}
	l.checkListeners(c)
	l.checkSecret(c)
	l.checkPartners(c.Partners)
	if len(l.faults) > 0 {
		l.faults.sort()
		return nil, l.faults
	}
	return c, nil
}

// parseTOML returns what data says and where. What is no TOML is the one fault that is found, whatever else there is.
func parseTOML(file string, data []byte) (map[string]any, map[string]int, error) {
	found := readLayout(data)
	var table map[string]any
	err := toml.Unmarshal(data, &table)
	if err == nil {
		return table, found.lines, nil
	}
	bad := fault{file: file, place: place{path: "parsing", line: 1}, what: err.Error()}
	if at := new(toml.DecodeError); errors.As(err, &at) {
		bad.line, _ = at.Position()
		// The decoder tells of a second value by the inner part of its key, and at the outer one's line.
		if len(at.Key()) > 0 && found.twice != "" {
			bad.place, err = place{path: found.twice, line: found.again}, errors.New("must be given once only")
		}
	}
	// What strconv says of a number ends in the number, which may be a secret without its quotes.
	what, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "toml: "), ": strconv.")
	bad.what = strings.Map(visible, what)
	return nil, nil, faults{bad}
}

// visible keeps a message that tells of somebody's key on its one line.
func visible(r rune) rune {
	if unicode.IsGraphic(r) {
		return r
	}
	return '?'
}

// splitEnvironment returns the values of the variables that are keys, and the names of those that only look like it.
// One that is empty counts as unset. Where a name stands twice the first counts, as for os.Getenv.
func splitEnvironment(environ []string) (known map[string]string, unknown []string) {
	names := make(map[string]bool)
	for _, path := range keyPaths(configKeys) {
		names[variableName(path)] = true
	}
	known = make(map[string]string)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		_, seen := known[name]
		switch {
		case value == "" || seen || !strings.HasPrefix(name, variablePrefix):
		case names[name]:
			known[name] = value
		default:
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return known, slices.Compact(unknown)
}

// refuse adds a fault.
func (l *configLoader) refuse(at place, what string) {
	l.faults = append(l.faults, fault{file: l.file, place: at, what: what})
}

// refused tells whether a fault was found in the key itself.
func (l *configLoader) refused(path string) bool {
	return slices.ContainsFunc(l.faults, func(f fault) bool { return f.path == path })
}

// take notes that the value of path was said at a place, or why it was not taken.
func (l *configLoader) take(path string, at place, err error) {
	if err != nil {
		l.refuse(at, err.Error())
		return
	}
	l.said[path] = at
}

func (l *configLoader) inFile(path string) place { return place{line: l.lines[path], path: path} }

// fromFile sets the field of dst that k is of from table, the path of which, dot and all, is prefix.
func fromFile[S any](l *configLoader, dst *S, k key[S], table map[string]any, prefix string) {
	path := prefix + k.path
	v, given := lookupPath(table, k.path)
	if given {
		l.take(path, l.inFile(path), k.decode(dst, v))
	}
	if !k.secret {
		return
	}
	v, named := lookupPath(table, k.path+twinSuffix)
	if !named {
		return
	}
	at := l.inFile(path + twinSuffix)
	file, isString := v.(string)
	switch {
	case given:
		l.refuse(at, "must not be given together with "+path)
	case !isString || file == "":
		l.refuse(at, "must be the path of a file, got "+showValue(v))
	case l.env[variableName(path)] == "" && l.env[variableName(path+twinSuffix)] == "":
		l.take(path, at, readSecret(l, dst, k, file))
	}
}

// fromEnvironment sets the field of dst that k is of from its variable, or the file that its twin names.
func fromEnvironment[S any](l *configLoader, dst *S, k key[S]) {
	name := variableName(k.path)
	value := l.env[name]
	if value != "" {
		l.take(k.path, place{variable: name, path: k.path}, k.parse(dst, value))
	}
	if !k.secret {
		return
	}
	file := l.env[variableName(k.path+twinSuffix)]
	at := place{variable: variableName(k.path + twinSuffix), path: k.path + twinSuffix}
	switch {
	case file == "":
	case value != "":
		l.refuse(at, "must not be given together with "+name)
	default:
		l.take(k.path, at, readSecret(l, dst, k, file))
	}
}

func readSecret[S any](l *configLoader, dst *S, k key[S], file string) error {
	data, err := l.readFile(file)
	if err != nil {
		return fmt.Errorf("reading %q: %s", file, fileReason(err))
	}
	if strings.TrimSpace(string(data)) == "" {
		return fmt.Errorf("reading %q: the file is empty", file)
	}
	return k.parse(dst, cutNewline(string(data)))
}

// fileReason is what went wrong with a file, whose name is told already.
func fileReason(err error) string {
	if at := new(fs.PathError); errors.As(err, &at) {
		err = at.Err
	}
	return err.Error()
}

// partners makes the partners of the file's [[partners]].
func (l *configLoader) partners(table map[string]any) []partnerConfig {
	v, given := table[partnersPath]
	tables, ok := tableArray(v)
	if given && !ok {
		l.refuse(l.inFile(partnersPath), "must be an array of tables, each begun with [[partners]]")
		return nil
	}
	var all []partnerConfig
	for i, table := range tables {
		var p partnerConfig
		path := elementPath(partnersPath, i)
		for _, k := range partnerKeys {
			fromFile(l, &p, k, table, path+".")
			l.required(table, path, k.path, k.secret)
		}
		l.unknownKeys(table, path, keyPaths(partnerKeys))
		all = append(all, p)
	}
	return all
}

// required refuses a partner without a key. The name makes it necessary, or without that the header.
func (l *configLoader) required(table map[string]any, path, key string, secret bool) {
	_, given := table[key]
	_, named := table[key+twinSuffix]
	if given || secret && named {
		return
	}
	at := place{line: l.lines[path], path: path + "." + key}
	if line, ok := l.lines[path+".name"]; ok {
		at.line = line
	}
	what := "must be given"
	if secret {
		what += ", or " + key + twinSuffix
	}
	l.refuse(at, what)
}

func isTableArray(v any) bool {
	tables, ok := tableArray(v)
	return ok && len(tables) > 0
}

func tableArray(v any) ([]map[string]any, bool) {
	array, ok := v.([]any)
	all := make([]map[string]any, len(array))
	for i := range array {
		t, isTable := array[i].(map[string]any)
		ok = ok && isTable
		all[i] = t
	}
	return all, ok
}

// lookupPath finds the value of a path in a table and those inside it.
func lookupPath(table map[string]any, path string) (any, bool) {
	for {
		part, rest, more := strings.Cut(path, ".")
		v, ok := table[part]
		if !ok || !more {
			return v, ok
		}
		// What is no table there is a fault that unknownKeys finds.
		if table, ok = v.(map[string]any); !ok {
			return nil, false
		}
		path = rest
	}
}

// unknownKeys refuses what stands in the table at path and is not one of the known paths, nor a table on the way to
// one. Of an unknown table only itself is told.
func (l *configLoader) unknownKeys(table map[string]any, path string, known []string) {
	for _, part := range slices.Sorted(maps.Keys(table)) {
		at := l.inFile(joinPath(path, part))
		inside, isTable := table[part].(map[string]any)
		isKey, below := descend(known, part)
		switch {
		case isKey, path == "" && part == partnersPath:
		case len(below) > 0 && isTable:
			l.unknownKeys(inside, at.path, below)
		case len(below) > 0:
			l.refuse(at, "must be a table, got "+showValue(table[part]))
		case isTable, isTableArray(table[part]):
			l.refuse(at, "unknown table")
		default:
			l.refuse(at, "unknown key")
		}
	}
}

// descend tells whether part itself is one of the known paths, and which there are below it.
func descend(known []string, part string) (isKey bool, below []string) {
	for _, path := range known {
		first, rest, more := strings.Cut(path, ".")
		switch {
		case first != part:
		case more:
			below = append(below, rest)
		default:
			isKey = true
		}
	}
	return isKey, below
}
