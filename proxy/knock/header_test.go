package knock

import (
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// headerOf is a header of lines as they would arrive.
func headerOf(t testing.TB, lines ...string) http.Header {
	t.Helper()
	h := make(http.Header)
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("no header line: %q", line)
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

// TestReadHeader: what a prospect read passes on. One answer serves many clients, so nothing of one client's may go.
func TestReadHeader(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		want  []string // beside x-api-key: upstream-key, Accept-Encoding: identity and an empty User-Agent
	}{
		{"nothing", nil, nil},
		{"what Knock's clients send", []string{"Content-Type: application/json", "x-api-key: token"}, []string{"Content-Type: application/json"}},
		{"end-to-end headers, each line", []string{"Accept: a/b", "Accept-Language: en", "X-A: 1", "X-A: 2", "Authorization: Bearer x", "Traceparent: t"}, []string{"Accept: a/b", "Accept-Language: en", "X-A: 1", "X-A: 2", "Authorization: Bearer x", "Traceparent: t"}},
		{"conditions", []string{`If-Match: "a"`, `If-None-Match: "a"`, "If-Modified-Since: x", "If-Unmodified-Since: x"}, nil},
		{"ranges", []string{"Range: bytes=0-1", `If-Range: "a"`}, nil},
		{"cookies", []string{"Cookie: a=b"}, nil},
		{"whom it is for", []string{"Forwarded: for=x", "X-Forwarded-For: x", "X-Forwarded-Host: x", "X-Forwarded-Proto: x", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /x", "X-Forwarded-Anything: x", "X-Real-Ip: x"}, nil},
		{"overrides of the method", []string{"X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "X-Original-Method: DELETE"}, nil},
		{"overrides of the URL", []string{"X-Original-URL: /x", "X-Rewrite-URL: /x", "X-Original-URI: /x"}, nil},
		{"encodings", []string{"Accept-Encoding: gzip, br"}, nil},
		{"a body that is none", []string{"Content-Length: 0", "Expect: 100-continue"}, nil},
		{"hop-by-hop", []string{"Connection: keep-alive", "Keep-Alive: timeout=5", "Proxy-Connection: x", "TE: trailers", "Trailer: x", "Transfer-Encoding: chunked", "Upgrade: h2c", "HTTP2-Settings: x", "Proxy-Authorization: x", "Proxy-Authenticate: x", "Proxy-Authentication-Info: x"}, nil},
		{"what Connection lists", []string{"Connection: close, x-a", "Connection: , X-B ,", "X-A: 1", "X-B: 2", "X-C: 3"}, []string{"X-C: 3"}},
		{"Connection cannot take away what we add", []string{"Connection: x-api-key, accept-encoding, user-agent", "x-api-key: token", "User-Agent: bot"}, nil},
		{"User-Agent", []string{"User-Agent: bot/1"}, []string{"User-Agent: bot/1"}},
		{"an empty User-Agent", []string{"User-Agent:"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := headerOf(t, test.lines...)
			before := maps.Clone(in)
			want := headerOf(t, append(test.want, "x-api-key: upstream-key", "Accept-Encoding: identity")...)
			if want["User-Agent"] == nil {
				want["User-Agent"] = []string{""} // so that net/http sends none
			}
			if got := readHeader(in, "upstream-key"); !reflect.DeepEqual(got, want) {
				t.Errorf("\n got %v\nwant %v", got, want)
			}
			if !reflect.DeepEqual(in, before) {
				t.Errorf("the client's header became %v", in)
			}
		})
	}
}

// TestRemoveHopByHop: RFC 9110, section 7.6.1, and RFC 9111, section 3.1.
func TestRemoveHopByHop(t *testing.T) {
	h := headerOf(t, "Connection: close, X-Secret", "X-Secret: 1", "Proxy-Authenticate: x", "Proxy-Authentication-Info: x", "Keep-Alive: x", "Cache-Control: max-age=1", "Content-Type: a/b")
	RemoveHopByHop(h)
	if want := headerOf(t, "Cache-Control: max-age=1", "Content-Type: a/b"); !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}
}
