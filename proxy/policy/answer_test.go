package policy

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

const body = `{"prospectId":"42"}`

// madeTag is the tag that body gets: the first half of its SHA-256.
const madeTag = `"iHjV3swIoNJ8sygu2KmoCw"`

// TestRender: what is kept for everybody, and what only the request that asked may have (RFC 9111, section 3.1).
func TestRender(t *testing.T) {
	date, arrived := dated("Date", -5*time.Second), dated("Date", 0)
	const tag, length, unshared = `ETag: "x"`, "Content-Length: 19", "Cache-Control: private, no-cache"
	for _, test := range []struct {
		name   string
		status int // if zero, 200
		lines  []string
		keeps  []string
		own    []string
		before string
	}{
		{name: "end-to-end headers are kept", lines: []string{date, tag, "Cache-Control: max-age=1", "Content-Type: a/b", "X-A: 1", "X-A: 2", "Via: c", "Location: /x"}, keeps: []string{date, tag, "Cache-Control: max-age=1", "Content-Type: a/b", "X-A: 1", "X-A: 2", "Via: c", "Location: /x", length}},
		{name: "nothing there: all is made", keeps: []string{arrived, "ETag: " + madeTag, unshared, length}},
		{name: "a weak tag is one", lines: []string{date, `ETag: W/"x"`}, keeps: []string{date, `ETag: W/"x"`, unshared, length}},
		{name: "an empty tag is none", lines: []string{date, "ETag:"}, keeps: []string{date, "ETag: " + madeTag, unshared, length}},
		{name: "no tag for another status", status: 404, lines: []string{date}, keeps: []string{date, unshared, length}},
		{name: "no length without a body", status: 204, lines: []string{date, "Content-Length: 19"}, keeps: []string{date, unshared}},
		{name: "a wrong length", lines: []string{date, tag, "Content-Length: 7"}, keeps: []string{date, tag, unshared, length}},
		{name: "an invalid Date", lines: []string{"Date: now", tag}, keeps: []string{arrived, tag, unshared, length}},
		{name: "two Dates", lines: []string{date, date, tag}, keeps: []string{arrived, tag, unshared, length}},
		{name: "Expires alone: no sharing in front of the proxy", lines: []string{date, tag, "Expires: 0"}, keeps: []string{date, tag, "Expires: 0", unshared, length}},
		{name: "cookies, the gateway's ids and Age", lines: []string{date, tag, "Set-Cookie: a=b", "Set-Cookie: c=d", "x-amzn-RequestId: 1", "x-amz-apigw-id: 2", "X-Amz-Cf-Id: 3", "Age: 7", "X-Amaz: 4"}, keeps: []string{date, tag, "X-Amaz: 4", unshared, length}, own: []string{"Set-Cookie: a=b", "Set-Cookie: c=d", "x-amzn-RequestId: 1", "x-amz-apigw-id: 2", "X-Amz-Cf-Id: 3", "Age: 7"}},
		{name: "fields of no-cache and private, 5.2.2.4 and 5.2.2.7", lines: []string{date, tag, `Cache-Control: no-cache="x-a", private="X-B, x-none"`, "X-A: 1", "X-B: 2", "X-C: 3"}, keeps: []string{date, tag, `Cache-Control: no-cache="x-a", private="X-B, x-none"`, "X-C: 3", length}, own: []string{"X-A: 1", "X-B: 2"}},
		{name: "fields of two privates", lines: []string{date, tag, `Cache-Control: private="x-a"`, `Cache-Control: private="x-b"`, "X-A: 1", "X-B: 2"}, keeps: []string{date, tag, `Cache-Control: private="x-a"`, `Cache-Control: private="x-b"`, length}, own: []string{"X-A: 1", "X-B: 2"}},
		{name: "fields of CDN-Cache-Control", lines: []string{date, tag, "Cache-Control: public", `CDN-Cache-Control: private="x-a"`, "X-A: 1"}, keeps: []string{date, tag, "Cache-Control: public", `CDN-Cache-Control: private="x-a"`, length}, own: []string{"X-A: 1"}},
		{name: "a private tag: another is made", lines: []string{date, tag, `Cache-Control: private="etag"`}, keeps: []string{date, "ETag: " + madeTag, `Cache-Control: private="etag"`, length}, own: []string{tag}},
		{name: "the upstream's request id is replaced", lines: []string{date, tag, "X-Request-Id: 1"}, keeps: []string{date, tag, unshared, length}},
		{name: "the upstream's Cache-Status is kept, RFC 9211 2", lines: []string{date, tag, "Cache-Status: origin; hit", "Cache-Status: edge; fwd=miss"}, keeps: []string{date, tag, unshared, length}, before: "origin; hit, edge; fwd=miss"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.status == 0 {
				test.status = http.StatusOK
			}
			a, own := Render(test.status, headerOf(t, test.lines...), []byte(body), received)
			if want := headerOf(t, test.keeps...); !reflect.DeepEqual(a.Header, want) {
				t.Errorf("keeps\n     %v\nwant %v", a.Header, want)
			}
			if want := headerOf(t, test.own...); !reflect.DeepEqual(own, want) {
				t.Errorf("own\n     %v\nwant %v", own, want)
			}
			if a.Status != test.status || string(a.Body) != body || a.Before != test.before {
				t.Errorf("got %d, %s, before: %q", a.Status, a.Body, a.Before)
			}
		})
	}
}

func TestStrongTag(t *testing.T) {
	for _, other := range []string{"", body + " ", strings.ToUpper(body)} {
		if strongTag([]byte(other)) == madeTag {
			t.Errorf("%q has the tag of %q", other, body)
		}
	}
	if got := strongTag([]byte(body)); got != madeTag {
		t.Errorf("got %s, want %s", got, madeTag)
	}
}

func TestSizeCountsWhatIsHeld(t *testing.T) {
	a := &Answer{Header: headerOf(t, "X-A: 1")}
	empty := a.Size()
	a.Body = make([]byte, 1000)
	a.Header.Add("X-A", strings.Repeat("b", 1000))
	a.Before = strings.Repeat("c", 1000)
	if grown := a.Size() - empty; grown < 3000 || grown > 3200 {
		t.Errorf("grown by %d bytes, want 3000 and a little", grown)
	}
}
