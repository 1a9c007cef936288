package main

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/pelletier/go-toml/v2/unstable"
)

// tomlLayout is where the keys of a TOML document stand.
type tomlLayout struct {
	lines map[string]int // the path of each key, table and element -> the line on which it first stands
	twice string         // the first key that is given a second value, which is no TOML; "" where there is none
	again int            // the line of that

	newlines []int          // the offset of each
	tables   map[string]int // the path of an array of tables -> how many there are up to here
}

// readLayout reads data as far as it is TOML. Paths are dotted, elements counted from 0, parts that are not bare
// quoted: partners[1].tokens[0], cache."odd key".
func readLayout(data []byte) *tomlLayout {
	l := &tomlLayout{lines: make(map[string]int), tables: make(map[string]int)}
	for i, c := range data {
		if c == '\n' {
			l.newlines = append(l.newlines, i)
		}
	}
	var parser unstable.Parser
	parser.Reset(data)
	table := ""
	for parser.NextExpression() {
		switch e := parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = l.header(e)
		case unstable.KeyValue:
			l.keyValue(table, e)
		}
	}
	return l
}

// header notes what a table's header names, and returns the path of the table. A part that is an array of tables
// stands for the last of them.
func (l *tomlLayout) header(e *unstable.Node) string {
	path := ""
	for key := e.Key(); key.Next(); {
		path = joinPath(path, string(key.Node().Data))
		l.note(path, key.Node())
		if e.Kind == unstable.ArrayTable && key.IsLast() {
			l.tables[path]++
		}
		if n := l.tables[path]; n > 0 {
			path = elementPath(path, n-1)
			l.note(path, key.Node())
		}
	}
	return path
}

// keyValue notes the parts of a key below path and what its value holds.
func (l *tomlLayout) keyValue(path string, e *unstable.Node) {
	for key := e.Key(); key.Next(); {
		path = joinPath(path, string(key.Node().Data))
		if _, seen := l.lines[path]; seen && key.IsLast() && l.twice == "" {
			l.twice, l.again = path, l.line(key.Node())
		}
		l.note(path, key.Node())
	}
	l.value(path, e.Value())
}

func (l *tomlLayout) value(path string, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			l.keyValue(path, it.Node())
		}
	case unstable.Array:
		it := v.Children()
		for i := 0; it.Next(); i++ {
			l.note(elementPath(path, i), it.Node())
			l.value(elementPath(path, i), it.Node())
		}
	}
}

func (l *tomlLayout) note(path string, n *unstable.Node) {
	if _, seen := l.lines[path]; !seen {
		l.lines[path] = l.line(n)
	}
}

// line is that on which n begins. The parser's own Shape counts from the top each time, too long for a list of tokens.
func (l *tomlLayout) line(n *unstable.Node) int {
	before, _ := slices.BinarySearch(l.newlines, int(n.Raw.Offset))
	return before + 1
}

var barePattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// joinPath is the path of a key in the table at path, which is "" at the top.
func joinPath(path, part string) string {
	if !barePattern.MatchString(part) {
		part = strconv.Quote(part)
	}
	if path == "" {
		return part
	}
	return path + "." + part
}

// elementPath is the path of an element of the array at path.
func elementPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
