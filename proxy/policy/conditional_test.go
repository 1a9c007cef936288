package policy

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestNotModified: RFC 9110, section 13.2.2, and RFC 9111, section 4.3.2.
func TestNotModified(t *testing.T) {
	before, at, after := dated("If-Modified-Since", -time.Second), dated("If-Modified-Since", 0), dated("If-Modified-Since", time.Second)
	const strong, weak = `"a"`, `W/"a"`
	for _, test := range []struct {
		name    string
		tag     string
		request []string
		want    bool
	}{
		{"no condition", strong, nil, false},
		{"the tag", strong, []string{`If-None-Match: "a"`}, true},
		{"another tag", strong, []string{`If-None-Match: "b"`}, false},
		{"in a list", strong, []string{`If-None-Match: "x", "a" , "y"`}, true},
		{"in a list without spaces", strong, []string{`If-None-Match: "x","a","y"`}, true},
		{"in a list with empty members", strong, []string{`If-None-Match: ,, "x",,"a",`}, true},
		{"in a second line", strong, []string{`If-None-Match: "x"`, `If-None-Match: "a"`}, true},
		{"not in a list", strong, []string{`If-None-Match: "x", "y"`}, false},
		{"any, 13.1.2", strong, []string{"If-None-Match: *"}, true},
		{"any, with space about", strong, []string{"If-None-Match:  * "}, true},
		{"a quoted star is a tag", strong, []string{`If-None-Match: "*"`}, false},
		{"weak here, 8.8.3.2", strong, []string{`If-None-Match: W/"a"`}, true},
		{"weak there", weak, []string{`If-None-Match: "a"`}, true},
		{"weak both", weak, []string{`If-None-Match: "x", W/"a"`}, true},
		{"a small w is no weak tag", strong, []string{`If-None-Match: w/"a"`}, false},
		{"the case of a tag counts", strong, []string{`If-None-Match: "A"`}, false},
		{"a comma within quotes", `"a,b"`, []string{`If-None-Match: "x", "a,b"`}, true},
		{"a part of a tag with a comma", strong, []string{`If-None-Match: "x,"a",y"`}, false},
		{"a part of a quoted tag", strong, []string{`If-None-Match: "x, a"`}, false},
		{"a backslash escapes nothing, 8.8.3", `"a\"`, []string{`If-None-Match: "a\", "b"`}, true},
		{"no quotes", strong, []string{"If-None-Match: a"}, false},
		{"no quotes, then the tag", strong, []string{`If-None-Match: a, "a"`}, true},
		{"no end", strong, []string{`If-None-Match: "a`}, false},
		{"empty tags", `""`, []string{`If-None-Match: ""`}, true},
		{"an empty tag is not none", `""`, []string{"If-None-Match: "}, false},
		{"modified at that time, 13.1.3", strong, []string{at}, true},
		{"modified before that time", strong, []string{after}, true},
		{"modified after that time", strong, []string{before}, false},
		{"a bad time", strong, []string{"If-Modified-Since: yesterday"}, false},
		{"two times", strong, []string{after, after}, false},
		{"a tag takes precedence, and does not match", strong, []string{`If-None-Match: "b"`, after}, false},
		{"a tag takes precedence, and matches", strong, []string{`If-None-Match: "a"`, before}, true},
		{"a bad tag takes precedence too", strong, []string{"If-None-Match: b", after}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := &Answer{Status: http.StatusOK, Header: headerOf(t, "ETag: "+test.tag, dated("Last-Modified", 0))}
			request := headerOf(t, test.request...)
			if got := NotModified(request, a); got != test.want {
				t.Errorf("%q for %s: %t", test.request, test.tag, got)
			}
			a.Status = http.StatusNotFound
			if NotModified(request, a) {
				t.Error("a 404 is answered by 304")
			}
		})
	}
}

func TestNotModifiedWithoutLastModified(t *testing.T) {
	request := headerOf(t, dated("If-Modified-Since", time.Hour))
	for _, lines := range [][]string{nil, {"Last-Modified: yesterday"}} {
		a := &Answer{Status: http.StatusOK, Header: headerOf(t, append(lines, `ETag: "a"`, dated("Date", 0))...)}
		if NotModified(request, a) {
			t.Errorf("%q: answered by 304", lines)
		}
	}
}

// TestNotModifiedHeader: RFC 9110, section 15.4.5.
func TestNotModifiedHeader(t *testing.T) {
	repeated := []string{`ETag: "a"`, dated("Date", 0), "Cache-Control: max-age=60", "Content-Location: /x", "Vary: accept-encoding", dated("Expires", time.Hour)}
	a := &Answer{Header: headerOf(t, append(repeated, "Content-Type: application/json", "Content-Length: 2", "X-A: 1")...)}
	if got, want := a.NotModifiedHeader(), headerOf(t, repeated...); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzNotModified(f *testing.F) {
	for _, seed := range [][4]string{
		{`"a", W/"b"`, `"b"`, "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"},
		{"*", `W/""`, "", ""},
		{`W/"a,b" "c", , "`, `"a,b"`, "0", "Sunday, 06-Nov-94 08:49:37 GMT"},
		{"", "a", "Sun Nov  6 08:49:37 1994", "Sun Nov  6 08:49:36 1994"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, list, tag, since, modified string) {
		a := &Answer{Status: http.StatusOK, Header: http.Header{"Etag": {tag}, "Last-Modified": {modified}}}
		byTag := NotModified(http.Header{"If-None-Match": {list}}, a)
		if with := NotModified(http.Header{"If-None-Match": {list}, "If-Modified-Since": {since}}, a); with != byTag {
			t.Errorf("If-Modified-Since %q changes what If-None-Match %q says of %q to %t", since, list, tag, with)
		}
		opaque := strings.TrimPrefix(tag, "W/")
		if byTag && strings.TrimSpace(list) != "*" && (opaque == "" || !strings.Contains(list, opaque)) {
			t.Errorf("%q does not list %q", list, tag)
		}
		if within := strings.Trim(opaque, `"`); opaque == `"`+within+`"` && !strings.Contains(within, `"`) {
			for _, listing := range []string{opaque, "W/" + opaque, `"x,", ` + opaque, opaque + ", " + list} {
				if !NotModified(http.Header{"If-None-Match": {listing}}, a) {
					t.Errorf("%q lists %q", listing, tag)
				}
			}
		}
		byTime := NotModified(http.Header{"If-Modified-Since": {since}}, a)
		asked, ok := ParseDate(since)
		if stored, known := ParseDate(modified); byTime != (ok && known && !stored.After(asked)) {
			t.Errorf("modified %q since %q: not modified %t", modified, since, byTime)
		}
	})
}
