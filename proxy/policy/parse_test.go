package policy

import (
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

func seconds(n int) Seconds { return Seconds{Given: true, Value: time.Duration(n) * time.Second} }

// invalid is a lifetime that was given and is stale: RFC 9111, section 4.2.1.
var invalid = Seconds{Given: true}

func TestParseCacheControl(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		want  CacheControl
	}{
		{"no line", nil, CacheControl{}},
		{"an empty line", []string{""}, CacheControl{}},
		{"only commas", []string{" , ,,"}, CacheControl{}},
		{"all unqualified directives, 5.2.2", []string{"no-store, no-cache, private, public, must-revalidate, proxy-revalidate, must-understand"}, CacheControl{
			NoStore: true, NoCache: true, Private: true, Public: true, MustRevalidate: true, ProxyRevalidate: true, MustUnderstand: true,
		}},
		{"lifetimes, 5.2.2.1 and 5.2.2.10", []string{"max-age=60, s-maxage=30"}, CacheControl{MaxAge: seconds(60), SMaxAge: seconds(30)}},
		{"several lines, RFC 9110 5.3", []string{"max-age=60", "s-maxage=30", "no-store"}, CacheControl{MaxAge: seconds(60), SMaxAge: seconds(30), NoStore: true}},
		{"no space after a comma", []string{"max-age=60,no-store"}, CacheControl{MaxAge: seconds(60), NoStore: true}},
		{"tabs and spaces about commas", []string{"\tmax-age=60 \t,\t no-store "}, CacheControl{MaxAge: seconds(60), NoStore: true}},
		{"odd case, 5.2", []string{"No-StORE, MAX-age=60, Private=\"X-A\""}, CacheControl{NoStore: true, MaxAge: seconds(60), Fields: []string{"X-A"}}},
		{"unknown directives, 5.2.3", []string{"immutable, foo, bar=1, baz=\"qux\", max-age=60"}, CacheControl{MaxAge: seconds(60)}},
		{"a longer name is another", []string{"xmax-age=60, max-agex=60, no-stores, private-x"}, CacheControl{}},
		{"a quoted string hides its commas, RFC 9110 5.6.4", []string{`foo="a, no-store, max-age=1", max-age=60`}, CacheControl{MaxAge: seconds(60)}},
		{"a quoted quote hides them too", []string{`foo="a\", no-store, \"", max-age=60`}, CacheControl{MaxAge: seconds(60)}},
		{"a quoted string without its end takes its line", []string{`foo="a, max-age=60`, "no-store"}, CacheControl{NoStore: true}},
		{"a backslash at the end", []string{`foo="a\`, "no-store"}, CacheControl{NoStore: true}},
		{"of duplicates the first wins, 4.2.1", []string{"max-age=60, max-age=1", "max-age=2"}, CacheControl{MaxAge: seconds(60)}},
		{"of duplicates the first wins, bad as it is", []string{"max-age=x, max-age=60"}, CacheControl{MaxAge: invalid}},
		{"of duplicates the first wins, in any case", []string{"max-age=1, MAX-AGE=60"}, CacheControl{MaxAge: seconds(1)}},
		{"an unqualified restriction is not undone", []string{`private="x-a", private, no-cache="x-b"`, "no-cache"}, CacheControl{Private: true, NoCache: true, Fields: []string{"X-A", "X-B"}}},
		{"an unqualified restriction is not undone afterwards", []string{`private, private="x-a"`}, CacheControl{Private: true, Fields: []string{"X-A"}}},
		{"qualified restrictions add up", []string{`private="x-a"`, `private="x-b"`}, CacheControl{Fields: []string{"X-A", "X-B"}}},
		{"leading zeros, 1.2.2", []string{"max-age=0060"}, CacheControl{MaxAge: seconds(60)}},
		{"zero", []string{"max-age=0"}, CacheControl{MaxAge: seconds(0)}},
		{"quoted seconds, 5.2", []string{`max-age="60"`}, CacheControl{MaxAge: seconds(60)}},
		{"seconds in single quotes", []string{`max-age='60'`}, CacheControl{MaxAge: invalid}},
		{"a fraction", []string{"max-age=1.5"}, CacheControl{MaxAge: invalid}},
		{"a negative number", []string{"max-age=-1"}, CacheControl{MaxAge: invalid}},
		{"a signed number", []string{"max-age=+60"}, CacheControl{MaxAge: invalid}},
		{"letters", []string{"max-age=60s"}, CacheControl{MaxAge: invalid}},
		{"other digits", []string{"max-age=６０"}, CacheControl{MaxAge: invalid}},
		{"two numbers", []string{"max-age=60 70"}, CacheControl{MaxAge: invalid}},
		{"empty seconds", []string{"max-age="}, CacheControl{MaxAge: invalid}},
		{"empty quoted seconds", []string{`max-age=""`}, CacheControl{MaxAge: invalid}},
		{"no argument", []string{"s-maxage, max-age=60"}, CacheControl{SMaxAge: invalid, MaxAge: seconds(60)}},
		{"clamped at 2^31-1, 1.2.2", []string{"max-age=2147483648"}, CacheControl{MaxAge: seconds(math.MaxInt32)}},
		{"clamped where it overflows 64 bits", []string{"max-age=99999999999999999999999999"}, CacheControl{MaxAge: seconds(math.MaxInt32)}},
		{"not clamped below", []string{"max-age=2147483647"}, CacheControl{MaxAge: seconds(math.MaxInt32)}},
		{"qualified no-cache, 5.2.2.4", []string{`no-cache="x-a, Set-Cookie"`}, CacheControl{Fields: []string{"X-A", "Set-Cookie"}}},
		{"qualified private, 5.2.2.7", []string{`private="x-a"`}, CacheControl{Fields: []string{"X-A"}}},
		{"qualified by a token", []string{"private=x-a"}, CacheControl{Fields: []string{"X-A"}}},
		{"qualified by nothing means all", []string{`private="", no-cache=" , "`}, CacheControl{Private: true, NoCache: true}},
		{"an argument does not weaken no-store", []string{"no-store=x"}, CacheControl{NoStore: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, targeted := ParseCacheControl(http.Header{"Cache-Control": test.lines})
			if targeted || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%q\n got %+v (targeted %t)\nwant %+v", test.lines, got, targeted, test.want)
			}
		})
	}
}

// TestTargetedCacheControl: a CDN-Cache-Control replaces Cache-Control if it is a valid, non-empty dictionary, and is as if
// it were not there otherwise (RFC 9213, section 2.1).
func TestTargetedCacheControl(t *testing.T) {
	const ignored = "ignored"
	for _, test := range []struct {
		name  string
		lines []string
		want  any // CacheControl, or ignored
	}{
		{"valid", []string{"max-age=60"}, CacheControl{MaxAge: seconds(60)}},
		{"several lines", []string{"max-age=60", "s-maxage=30, public"}, CacheControl{MaxAge: seconds(60), SMaxAge: seconds(30), Public: true}},
		{"it says nothing of storing", []string{"foo"}, CacheControl{}},
		{"all of it", []string{"no-store, no-cache, private, must-revalidate, proxy-revalidate, must-understand"}, CacheControl{
			NoStore: true, NoCache: true, Private: true, MustRevalidate: true, ProxyRevalidate: true, MustUnderstand: true,
		}},
		{"parameters do not count", []string{"max-age=60;foo=1"}, CacheControl{MaxAge: seconds(60)}},
		{"of duplicates the last wins, RFC 9651 4.2.2", []string{"max-age=60, max-age=30"}, CacheControl{MaxAge: seconds(30)}},
		{"clamped", []string{"max-age=999999999999999"}, CacheControl{MaxAge: seconds(math.MaxInt32)}},
		{"a list of fields", []string{`private="x-a,x-b"`}, CacheControl{Fields: []string{"X-A", "X-B"}}},
		{"false", []string{"no-store=?0, private=?0, no-cache=?0"}, CacheControl{}},
		{"empty", []string{""}, ignored},
		{"several empty lines", []string{"", " "}, ignored},
		{"upper case is no key", []string{"MAX-AGE=60"}, ignored},
		{"a comma at the end", []string{"max-age=60,"}, ignored},
		{"a space before the argument", []string{"max-age= 60"}, ignored},
		{"single quotes", []string{"max-age='60'"}, ignored},
		{"a number too long", []string{"max-age=9999999999999999"}, ignored},
		{"one line malformed", []string{"max-age=60", "no-store;;"}, ignored},
		// Where a value is of a wrong type a lifetime is invalid, hence stale, and a restriction holds for the whole answer.
		{"a lifetime that is a string", []string{`max-age="60"`}, CacheControl{MaxAge: invalid}},
		{"a lifetime that is a fraction", []string{"s-maxage=1.5"}, CacheControl{SMaxAge: invalid}},
		{"a lifetime that is a token", []string{"max-age=abc"}, CacheControl{MaxAge: invalid}},
		{"a lifetime that is true", []string{"max-age"}, CacheControl{MaxAge: invalid}},
		{"a lifetime that is false", []string{"max-age=?0"}, CacheControl{MaxAge: invalid}},
		{"a lifetime that is a list", []string{"max-age=(60)"}, CacheControl{MaxAge: invalid}},
		{"a lifetime that is bytes", []string{"max-age=:NjA=:"}, CacheControl{MaxAge: invalid}},
		{"a negative lifetime", []string{"max-age=-60"}, CacheControl{MaxAge: invalid}},
		{"restrictions that are numbers", []string{"no-store=1, private=1, no-cache=1"}, CacheControl{NoStore: true, Private: true, NoCache: true}},
		{"restrictions that are tokens", []string{"no-store=a, private=a, no-cache=a"}, CacheControl{NoStore: true, Private: true, NoCache: true}},
		{"restrictions that are lists", []string{`no-store=("a"), private=("a"), no-cache=("a")`}, CacheControl{NoStore: true, Private: true, NoCache: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"Cdn-Cache-Control": test.lines, "Cache-Control": {"max-age=5, public"}}
			want, targeted := test.want.(CacheControl)
			if !targeted {
				want = CacheControl{MaxAge: seconds(5), Public: true}
			}
			got, gotTargeted := ParseCacheControl(h)
			if gotTargeted != targeted || !reflect.DeepEqual(got, want) {
				t.Errorf("%q\n got %+v (targeted %t)\nwant %+v", test.lines, got, gotTargeted, want)
			}
		})
	}
}

// TestParseAge: RFC 9111, section 5.1. The first member of the first line counts, and nothing if that is no number.
func TestParseAge(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		want  int
	}{
		{"none", nil, 0},
		{"empty", []string{""}, 0},
		{"zero", []string{"0"}, 0},
		{"seconds", []string{"7200"}, 7200},
		{"space about", []string{" 7200\t"}, 7200},
		{"leading zeros", []string{"007200"}, 7200},
		{"the first member", []string{"7200, 0"}, 7200},
		{"the first member, though the second is older", []string{"0, 7200"}, 0},
		{"the first line", []string{"7200", "0"}, 7200},
		{"the first line, bad as it is", []string{"x", "7200"}, 0},
		{"the first member, empty as it is", []string{", 7200"}, 0},
		{"a fraction", []string{"7200.0"}, 0},
		{"negative", []string{"-7200"}, 0},
		{"signed", []string{"+7200"}, 0},
		{"quoted", []string{`"7200"`}, 0},
		{"a suffix", []string{"7200s"}, 0},
		{"a parameter", []string{"7200;foo=bar"}, 0},
		{"two numbers", []string{"7200 0"}, 0},
		{"overflow", []string{"99999999999999999999"}, math.MaxInt32},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := parseAge(http.Header{"Age": test.lines}); got != time.Duration(test.want)*time.Second {
				t.Errorf("Age %q is %s, want %d s", test.lines, got, test.want)
			}
		})
	}
}

func FuzzParseCacheControl(f *testing.F) {
	for _, seed := range [][3]string{
		{"max-age=60, no-store", `private="a,b"`, ""},
		{`foo="a\", no-store`, "s-maxage=1", "max-age=60"},
		{"max-age=99999999999999999999,,=,", "no-cache=\"", `private="a,b", max-age=1.5, no-cache=(a b);c`},
		{"private=\"\", must-understand", "MAX-AGE=\"6\\0\"", "max-age=?0, s-maxage=:AA==:"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, first, second, cdn string) {
		one := parseLines([]string{first})
		checkCacheControl(t, one)
		both := parseLines([]string{first, second})
		checkCacheControl(t, both)
		if !includes(both, one) {
			t.Errorf("%q alone is %+v, but with %q after it %+v", first, one, second, both)
		}
		if !includes(both, restrictions(parseLines([]string{second}))) {
			t.Errorf("%q before %q undoes what the latter restricts: %+v", first, second, both)
		}
		if again := parseLines([]string{"x-unknown, " + first}); !reflect.DeepEqual(again, one) {
			t.Errorf("an unknown directive before %q makes it %+v, not %+v", first, again, one)
		}
		targeted, ok := ParseCacheControl(http.Header{"Cdn-Cache-Control": {cdn}})
		checkCacheControl(t, targeted)
		dict, err := httpsfv.UnmarshalDictionary([]string{cdn})
		if ok != (err == nil && len(dict.Names()) > 0) {
			t.Errorf("CDN-Cache-Control %q counts: %t", cdn, ok)
		}
	})
}

func checkCacheControl(t *testing.T, cc CacheControl) {
	t.Helper()
	for _, s := range []Seconds{cc.MaxAge, cc.SMaxAge} {
		if s.Value < 0 || s.Value > maxSeconds*time.Second || s.Value%time.Second != 0 || !s.Given && s.Value != 0 {
			t.Errorf("no whole seconds within bounds: %+v", s)
		}
	}
	for _, name := range cc.Fields {
		if name == "" || name != http.CanonicalHeaderKey(name) || strings.Contains(name, ",") {
			t.Errorf("no field name as headers have it: %q", name)
		}
	}
}

// includes tells that all which part says is said by whole too.
func includes(whole, part CacheControl) bool {
	for _, name := range part.Fields {
		if !slices.Contains(whole.Fields, name) {
			return false
		}
	}
	implies := func(a, b bool) bool { return !a || b }
	return implies(part.MaxAge.Given, part.MaxAge == whole.MaxAge) && implies(part.SMaxAge.Given, part.SMaxAge == whole.SMaxAge) &&
		implies(part.NoStore, whole.NoStore) && implies(part.NoCache, whole.NoCache) && implies(part.Private, whole.Private) &&
		implies(part.Public, whole.Public) && implies(part.MustUnderstand, whole.MustUnderstand) &&
		implies(part.MustRevalidate, whole.MustRevalidate) && implies(part.ProxyRevalidate, whole.ProxyRevalidate)
}

// restrictions is what no first occurrence overrules.
func restrictions(cc CacheControl) CacheControl {
	return CacheControl{NoStore: cc.NoStore, NoCache: cc.NoCache, Private: cc.Private, Fields: cc.Fields}
}

func ExampleParseCacheControl() {
	cc, targeted := ParseCacheControl(http.Header{
		"Cache-Control":     {"no-store"},
		"Cdn-Cache-Control": {"max-age=60"},
	})
	fmt.Println(cc.NoStore, cc.MaxAge.Value, targeted)
	// Output: false 1m0s true
}
