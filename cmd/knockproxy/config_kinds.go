package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// setting is what a row of the table can do with its field of S. A value that is refused leaves the field as it was;
// the error is one line that says the rule and, but for secrets, what was given.
type setting[S any] struct {
	secret  bool
	decode  func(dst *S, v any) error       // takes v as the TOML decoder gives it
	parse   func(dst *S, text string) error // takes what a variable or a secret's file holds
	literal func(src *S) string             // the field as a TOML value, redacted if secret; "" where unset
}

// kind is a way to write values of T.
type kind[T any] struct {
	want   string                      // completes "must be …"
	parse  func(text string) (T, bool) // reads a variable and a TOML string
	native func(v any) (T, bool)       // reads a TOML value where it is not a string; nil: it is
	print  func(v T) string            // as a TOML value; "" where unset
	secret bool                        // never shown, and may be given as a file
	hide   func(given string) bool     // whether what is refused may hold a secret all the same; nil: never
}

// field makes the setting of one row: its values are of kind k, are kept where in points and are under all rules.
func field[S, T any](k kind[T], in func(*S) *T, rules ...func(T) error) setting[S] {
	set := func(dst *S, v T, given string) error {
		for _, rule := range rules {
			if err := rule(v); err != nil {
				return k.refusal(err.Error(), given)
			}
		}
		*in(dst) = v
		return nil
	}
	return setting[S]{
		secret: k.secret,
		decode: func(dst *S, v any) error {
			t, ok := k.decode(v)
			if !ok {
				return k.refusal("must be "+k.want, showValue(v))
			}
			return set(dst, t, showText(fmt.Sprint(v)))
		},
		parse: func(dst *S, text string) error {
			t, ok := k.parse(text)
			if !ok {
				return k.refusal("must be "+k.want, showText(text))
			}
			return set(dst, t, showText(text))
		},
		literal: func(src *S) string { return k.print(*in(src)) },
	}
}

func (k kind[T]) decode(v any) (T, bool) {
	if k.native != nil {
		return k.native(v)
	}
	s, ok := v.(string)
	if !ok {
		var zero T
		return zero, false
	}
	return k.parse(s)
}

// refusal is the error that says the rule and, unless it may not be seen, what was given.
func (k kind[T]) refusal(rule, given string) error {
	if k.secret || k.hide != nil && k.hide(given) {
		return errors.New(rule)
	}
	return fmt.Errorf("%s, got %s", rule, given)
}

// showValue writes a TOML value so that its type is seen.
func showValue(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case bool, int64, float64:
		return fmt.Sprint(v)
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "a date or a time"
}

// showText writes a text as it is, quoted only where it could not be told from what is around it.
func showText(text string) string {
	odd := func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }
	if text == "" || text != strings.TrimSpace(text) || strings.ContainsFunc(text, odd) {
		return strconv.Quote(text)
	}
	return text
}

// The kinds.

// redacted stands for a secret in what is printed.
const redacted = `"[redacted]"`

var stringKind = kind[string]{
	want:  "a string",
	parse: func(text string) (string, bool) { return text, true },
	print: tomlString,
}

var secretKind = kind[string]{
	want:   "a string",
	parse:  stringKind.parse,
	secret: true,
	print: func(v string) string {
		if v == "" {
			return ""
		}
		return redacted
	},
}

// secretLinesKind is of a list of secrets: one a line in a file, where blank lines count for nothing.
var secretLinesKind = kind[[]string]{
	want:   "an array of strings",
	secret: true,
	native: stringArray,
	parse: func(text string) ([]string, bool) {
		var all []string
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) != "" {
				all = append(all, cutNewline(line))
			}
		}
		return all, true
	},
	print: func(v []string) string {
		if len(v) == 0 {
			return ""
		}
		return "[" + redacted + strings.Repeat(", "+redacted, len(v)-1) + "]"
	},
}

// boolKind takes TOML's two words in a variable too, not the many that strconv.ParseBool knows.
var boolKind = kind[bool]{
	want:   "true or false",
	native: func(v any) (bool, bool) { b, ok := v.(bool); return b, ok },
	parse:  func(text string) (bool, bool) { return text == "true", text == "true" || text == "false" },
	print:  strconv.FormatBool,
}

var durationKind = kind[time.Duration]{
	want:  `a duration such as "30s"`,
	parse: parseDuration,
	print: func(v time.Duration) string { return tomlString(shortDuration(v)) },
}

var sizeKind = kind[int64]{
	want:  `a size such as "64MiB"`,
	parse: parseSize,
	print: func(v int64) string { return tomlString(shortSize(v)) },
}

var addressKind = kind[string]{
	want:  "host:port with a port of 0 to 65535",
	parse: func(text string) (string, bool) { return text, isAddress(text) },
	print: tomlString,
}

var urlKind = kind[*url.URL]{
	want: `a URL such as "https://example.com"`,
	parse: func(text string) (*url.URL, bool) {
		u, err := url.Parse(text)
		return u, err == nil
	},
	print: func(v *url.URL) string { return tomlString(v.String()) },
	// A password may stand before the at sign, a key in a query.
	hide: func(given string) bool { return strings.ContainsAny(given, "@?#") },
}

var levelKind = kind[slog.Level]{
	want: "one of debug, info, warn, error",
	parse: func(text string) (slog.Level, bool) {
		for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			if text == levelName(l) {
				return l, true
			}
		}
		return 0, false
	},
	print: func(v slog.Level) string { return tomlString(levelName(v)) },
}

// oneOf is the kind of a string that is one of words.
func oneOf(words ...string) kind[string] {
	return kind[string]{
		want: "one of " + strings.Join(words, ", "),
		parse: func(text string) (string, bool) {
			return text, slices.Contains(words, text)
		},
		print: tomlString,
	}
}

// tomlString is a TOML string. The kinds and rules of what it prints let no control character and no invalid UTF-8
// through, so that Go's escapes, which are not all TOML's, never appear.
func tomlString(v string) string {
	if v == "" {
		return ""
	}
	return strconv.Quote(v)
}

func stringArray(v any) ([]string, bool) {
	array, ok := v.([]any)
	all := make([]string, len(array))
	for i := range array {
		s, isString := array[i].(string)
		ok = ok && isString
		all[i] = s
	}
	return all, ok
}

// parseDuration is time.ParseDuration, which lets a zero go without a unit, without that: 0 today is 30 tomorrow.
func parseDuration(text string) (time.Duration, bool) {
	d, err := time.ParseDuration(text)
	return d, err == nil && strings.TrimRight(text, "0123456789") == text
}

// shortDuration is d without the zero units that String ends in: 5m, not 5m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeUnits has the largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"KB", 1e3},
	{"B", 1},
}

// parseSize reads a whole number with a unit. What does not fit becomes the largest size there is, which every upper
// bound refuses.
func parseSize(text string) (int64, bool) {
	name := strings.TrimLeft(text, "0123456789")
	digits := strings.TrimSuffix(text, name)
	for _, unit := range sizeUnits {
		if name != unit.name || digits == "" {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n > math.MaxInt64/unit.bytes {
			return math.MaxInt64, true
		}
		return n * unit.bytes, true
	}
	return 0, false
}

// shortSize writes n in the largest unit that makes it a whole number.
func shortSize(n int64) string {
	for _, unit := range sizeUnits {
		if n != 0 && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// hostPattern is of names and addresses, with IPv6 and its zones; none at all means every interface.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9.:%_-]*$`)

func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	return err == nil && hostPattern.MatchString(host) && portNumber(port) >= 0
}

// portNumber is -1 for what is no port.
func portNumber(text string) int {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

func levelName(l slog.Level) string { return strings.ToLower(l.String()) }

// cutNewline cuts the one newline that a file ends in.
func cutNewline(text string) string {
	line, cut := strings.CutSuffix(text, "\n")
	if cut {
		line = strings.TrimSuffix(line, "\r")
	}
	return line
}
