package policy

import (
	"math"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// Seconds is a delta-seconds directive (RFC 9111, section 1.2.2). One that is given but invalid counts as zero: stale,
// never as if nothing had been said (section 4.2.1).
type Seconds struct {
	Given bool
	Value time.Duration
}

// CacheControl is a parsed Cache-Control (RFC 9111, section 5.2). Of a directive that is given twice the first counts, but
// what no-cache and private restrict adds up: private="x", private forbids both.
type CacheControl struct {
	MaxAge, SMaxAge                 Seconds
	NoStore, NoCache, Private       bool // unqualified
	Public                          bool
	MustRevalidate, ProxyRevalidate bool
	MustUnderstand                  bool
	// Fields are the header fields named by no-cache="…" and private="…", which a shared cache does not store.
	Fields []string
}

// ParseCacheControl reads all lines of Cache-Control in h, or what replaces them: a valid CDN-Cache-Control (RFC 9213).
func ParseCacheControl(h http.Header) (cc CacheControl, targeted bool) {
	if cc, ok := parseTargeted(h["Cdn-Cache-Control"]); ok {
		return cc, true
	}
	return parseLines(h["Cache-Control"]), false
}

func parseLines(lines []string) CacheControl {
	var cc CacheControl
	seen := make(map[string]bool)
	for _, line := range lines {
		for line != "" {
			var name, value string
			name, value, line = nextDirective(line)
			if name != "" && (!seen[name] || name == "no-cache" || name == "private") {
				seen[name] = true
				cc.set(name, value)
			}
		}
	}
	return cc
}

// nextDirective cuts the first directive off a Cache-Control line, minding commas inside quotes.
func nextDirective(line string) (name, value, rest string) {
	line = strings.TrimLeft(line, " \t,")
	end := strings.IndexAny(line, ",=")
	if end < 0 {
		return directiveName(line), "", ""
	}
	name, rest = directiveName(line[:end]), line[end+1:]
	if line[end] == ',' {
		return name, "", rest
	}
	rest = strings.TrimLeft(rest, " \t")
	if strings.HasPrefix(rest, `"`) {
		value, rest = unquote(rest[1:])
		_, rest, _ = strings.Cut(rest, ",")
		return name, value, rest
	}
	value, rest, _ = strings.Cut(rest, ",")
	return name, textproto.TrimString(value), rest
}

func directiveName(s string) string { return strings.ToLower(textproto.TrimString(s)) }

// unquote reads a quoted-string whose opening quote is gone (RFC 9110, section 5.6.4).
func unquote(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

func (cc *CacheControl) set(name, value string) {
	switch name {
	case "max-age":
		cc.MaxAge = parseSeconds(value)
	case "s-maxage":
		cc.SMaxAge = parseSeconds(value)
	case "no-store":
		cc.NoStore = true
	case "public":
		cc.Public = true
	case "must-revalidate":
		cc.MustRevalidate = true
	case "proxy-revalidate":
		cc.ProxyRevalidate = true
	case "must-understand":
		cc.MustUnderstand = true
	case "no-cache":
		cc.NoCache = !cc.qualify(value) || cc.NoCache
	case "private":
		cc.Private = !cc.qualify(value) || cc.Private
	}
}

// qualify notes the fields that a qualified directive names; false: it names none, and means the whole answer.
func (cc *CacheControl) qualify(value string) bool {
	named := false
	for field := range strings.SplitSeq(value, ",") {
		if field = textproto.TrimString(field); field != "" {
			cc.Fields = append(cc.Fields, textproto.CanonicalMIMEHeaderKey(field))
			named = true
		}
	}
	return named
}

// maxSeconds is where delta-seconds are clamped (RFC 9111, section 1.2.2).
const maxSeconds = math.MaxInt32

func parseSeconds(s string) Seconds {
	n, ok := digits(s)
	if !ok {
		return Seconds{Given: true}
	}
	return Seconds{Given: true, Value: n}
}

// digits reads a decimal number of seconds: digits only, clamped.
func digits(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), maxSeconds)
	}
	return time.Duration(n) * time.Second, true
}

// parseTargeted reads a CDN-Cache-Control. One that is malformed or empty is ignored whole (RFC 9213, section 2.1).
func parseTargeted(lines []string) (CacheControl, bool) {
	var cc CacheControl
	if len(lines) == 0 {
		return cc, false
	}
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return cc, false
	}
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		cc.setTargeted(name, member)
	}
	return cc, true
}

// setTargeted takes a member's value for what its type is. One of a wrong type tells nothing that would loosen a directive:
// a lifetime is invalid without its integer, and a restriction holds for the whole answer.
func (cc *CacheControl) setTargeted(name string, member httpsfv.Member) {
	lifetime := name == "max-age" || name == "s-maxage"
	value := ""
	if item, ok := member.(httpsfv.Item); ok {
		switch v := item.Value.(type) {
		case bool:
			if !v && !lifetime {
				return
			}
		case int64:
			if lifetime {
				value = strconv.FormatInt(v, 10)
			}
		case string:
			if !lifetime {
				value = v
			}
		}
	}
	cc.set(name, value)
}

// parseAge reads the first member of the first Age line; what is no number of seconds is ignored (RFC 9111, section 5.1).
func parseAge(h http.Header) time.Duration {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	age, _ := digits(textproto.TrimString(first))
	return age
}
