package knock

import (
	"bufio"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// clientOf is a client of a base URL that nobody asks.
func clientOf(t testing.TB, base string) *Client {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return &Client{base: u}
}

// TestTarget: the upstream sees the request line that it would have seen without the proxy, below the base.
func TestTarget(t *testing.T) {
	for _, test := range []struct{ name, base, in, want string }{
		{"plain", "http://up", "/prospect/42", "/prospect/42"},
		{"a base with a slash", "http://up/", "/prospect/42", "/prospect/42"},
		{"a base with a path", "http://up/v1", "/prospect/42", "/v1/prospect/42"},
		{"a base with a path and a slash", "http://up/v1/", "/prospect/42", "/v1/prospect/42"},
		{"a base with an encoded path", "http://up/a%2Fb/", "/prospect/42", "/a%2Fb/prospect/42"},
		{"the root", "http://up", "/", "/"},
		{"the root below a path", "http://up/v1", "/", "/v1/"},
		{"a slash at the end", "http://up", "/prospect/42/", "/prospect/42/"},
		{"two slashes", "http://up", "//evil/x", "//evil/x"},
		{"two slashes below a path", "http://up/v1/", "//evil/x", "/v1//evil/x"},
		{"two slashes inside", "http://up", "/a//b", "/a//b"},
		{"an encoded slash", "http://up", "/a%2Fb", "/a%2Fb"},
		{"an encoded slash below a path", "http://up/v1", "/a%2Fb%2fc", "/v1/a%2Fb%2fc"},
		{"an encoded digit", "http://up", "/prospect/%34%32", "/prospect/%34%32"},
		{"an encoded percent", "http://up", "/a%252Fb", "/a%252Fb"},
		{"dots are the upstream's to judge", "http://up/v1", "/../x/./y", "/v1/../x/./y"},
		{"encoded dots", "http://up/v1", "/%2e%2e/x", "/v1/%2e%2e/x"},
		{"a path parameter", "http://up", "/prospect/42;v=1", "/prospect/42;v=1"},
		{"characters allowed in a path", "http://up", "/a!$&'()*+,;=:@b", "/a!$&'()*+,;=:@b"},
		{"characters not allowed in a path", "http://up", `/a"b|cé`, "/a%22b%7Cc%C3%A9"},
		{"an encoded slash beside them", "http://up/v1", `/a%2Fb"c%2fé`, "/v1/a%2Fb%22c%2f%C3%A9"},
		{"a query", "http://up/v1", "/x?a=b%2Fc&d", "/v1/x?a=b%2Fc&d"},
		{"a query with a question mark", "http://up", "/x??a", "/x??a"},
		{"a query that does not decode", "http://up", "/x?%zz;", "/x?%zz;"},
		{"a bare question mark", "http://up", "/prospect/42?", "/prospect/42?"},
		{"the asterisk form, RFC 9110 7.1", "http://up/v1", "*", "*"},
		{"an absolute form names no other upstream", "http://up/v1", "http://evil/x?y", "/v1/x?y"},
		{"an absolute form with userinfo", "http://up", "http://a:b@evil/x", "/x"},
		{"an absolute form without a path", "http://up/v1", "http://evil", "/v1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in, err := url.ParseRequestURI(test.in)
			if test.in == "*" {
				in, err = &url.URL{Path: "*"}, nil // as net/http has it
			}
			if err != nil {
				t.Fatal(err)
			}
			out := clientOf(t, test.base).Target(in)
			if out.Scheme != "http" || out.Host != "up" || out.User != nil || out.Fragment != "" {
				t.Errorf("it goes to %s", out)
			}
			if got := out.RequestURI(); got != test.want {
				t.Errorf("%s is asked for as %s, want %s", test.in, got, test.want)
			}
		})
	}
}

func TestTargetOfAnID(t *testing.T) {
	c := clientOf(t, "https://up:8443/v1/")
	if got := c.Target(&url.URL{Path: "/prospect/42"}).String(); got != "https://up:8443/v1/prospect/42" {
		t.Errorf("got %s", got)
	}
}

// TestRelative: a Location on the upstream's own origin holds at the proxy, any other is as it was.
func TestRelative(t *testing.T) {
	const same = "" // unchanged
	for _, test := range []struct{ name, base, location, want string }{
		{"absolute", "http://up", "http://up/prospect/43", "/prospect/43"},
		{"absolute, a base with a slash", "http://up/", "http://up/prospect/43", "/prospect/43"},
		{"absolute, the upstream's default port", "http://up", "http://up:80/x", "/x"},
		{"absolute, without that port", "http://up:80", "http://up/x", "/x"},
		{"absolute, an empty port, RFC 3986 6.2.3", "http://up", "http://up:/x", "/x"},
		{"absolute, TLS and its port", "https://up", "https://up:443/x", "/x"},
		{"absolute, a port of its own", "https://up:8443", "https://up:8443/x", "/x"},
		{"absolute, IPv6", "http://[::1]", "http://[::1]:80/x", "/x"},
		{"absolute, in odd case", "http://up", "HTTP://UP/X", "/X"},
		{"absolute, a query and a fragment", "http://up", "http://up/x?a=%2F&b#c%20d", "/x?a=%2F&b#c%20d"},
		{"absolute, a bare question mark", "http://up", "http://up/x?", "/x?"},
		{"absolute, encoded", "http://up", "http://up/a%2Fb", "/a%2Fb"},
		{"absolute, without a path", "http://up", "http://up", "/"},
		{"absolute, a query without a path", "http://up", "http://up?a=b", "/?a=b"},
		{"scheme-relative", "https://up", "//up/x", "/x"},
		{"scheme-relative, another host", "https://up", "//evil/x", same},
		{"another host", "http://up", "http://evil/x", same},
		{"a host that begins so", "http://up", "http://up.evil/x", same},
		{"a host that ends so", "http://up", "http://evil.up/x", same},
		{"another port", "http://up", "http://up:81/x", same},
		{"another scheme", "http://up", "https://up/x", same},
		{"another scheme with our port", "http://up", "https://up:80/x", same},
		{"no HTTP", "http://up", "mailto:up", same},
		{"userinfo", "http://up", "http://a:b@up/x", same},
		{"userinfo that looks like the host", "http://up", "http://up@evil/x", same},
		{"a path that would read as a host", "http://up", "http://up//evil/x", same},
		{"a backslash would not", "http://up", `http://up/\evil/x`, "/%5Cevil/x"},
		{"a path", "http://up", "/x?a#b", same},
		{"a relative path", "http://up", "43", same},
		{"a query only", "http://up", "?a", same},
		{"empty", "http://up", "", same},
		{"broken", "http://up", "http://up/%zz", same},
		{"a base path is cut off", "http://up/v1", "http://up/v1/prospect/43", "/prospect/43"},
		{"a base path with a slash is cut off", "http://up/v1/", "http://up/v1/prospect/43", "/prospect/43"},
		{"the base path itself", "http://up/v1", "http://up/v1", "/"},
		{"the base path itself, with a query", "http://up/v1", "http://up/v1?a", "/?a"},
		{"elsewhere on that origin", "http://up/v1", "http://up/v2/x", same},
		{"elsewhere on that origin, the root", "http://up/v1", "http://up/", same},
		{"a path that only begins so", "http://up/v1", "http://up/v10/x", same},
		{"a path below the base", "http://up/v1", "/v1/prospect/43", "/prospect/43"},
		{"a path elsewhere", "http://up/v1", "/v2/x", same},
		{"a relative path with a base", "http://up/v1", "v1/x", same},
		{"below the base it would read as a host", "http://up/v1", "http://up/v1//evil/x", same},
		{"a path that would read as a host below the base", "http://up/v1", "/v1//evil/x", same},
		{"a base path that is encoded", "http://up/a%2Fb", "http://up/a%2Fb/x", "/x"},
		{"a base path that is encoded is not the same decoded", "http://up/a%2Fb", "http://up/a/b/x", same},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			if want == same {
				want = test.location
			}
			if got := clientOf(t, test.base).Relative(test.location); got != want {
				t.Errorf("%s at %s is %q, want %q", test.location, test.base, got, want)
			}
		})
	}
}

// FuzzRelative: whatever an upstream says, what we make of it leads to the proxy and to the same resource.
func FuzzRelative(f *testing.F) {
	for _, seed := range []string{"http://up/x", "http://up//evil", "//up//evil", `http://up/\evil`, "http://up/v1//evil", "http://up/v1/..//evil", "/v1//x", "HTTP://UP:80?#", "http:up"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, location string) {
		for _, base := range []string{"http://up", "http://up/v1/"} {
			got := clientOf(t, base).Relative(location)
			if got == location {
				continue
			}
			u, err := url.Parse(got)
			if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.Contains(got, `\`) {
				t.Errorf("%q at %s is %q", location, base, got)
			}
		}
	})
}

func TestOrigin(t *testing.T) {
	for _, test := range []struct{ base, want string }{
		{"http://up", "http://up:80"},
		{"http://UP/", "http://up:80"},
		{"http://up:/", "http://up:80"},
		{"https://up/v1/", "https://up:443/v1"},
		{"https://up:8443/V1", "https://up:8443/V1"},
		{"http://[::1]", "http://[::1]:80"},
	} {
		t.Run(test.base, func(t *testing.T) {
			if got := clientOf(t, test.base).Origin(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestTargetOfRequestLines has net/http itself read what a client may send.
func TestTargetOfRequestLines(t *testing.T) {
	for line, want := range map[string]string{
		"GET //evil/x HTTP/1.1":            "/v1//evil/x",
		"GET /prospect/42? HTTP/1.1":       "/v1/prospect/42?",
		"GET http://evil:81/x HTTP/1.1":    "/v1/x",
		"OPTIONS * HTTP/1.1":               "*",
		"GET /a%2f..%2Fb HTTP/1.1":         "/v1/a%2f..%2Fb",
		"GET /?x=http://evil#y HTTP/1.1":   "/v1/?x=http://evil#y",
		"GET /prospect/42#frag?x HTTP/1.1": "/v1/prospect/42%23frag?x",
	} {
		t.Run(line, func(t *testing.T) {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + "\r\nHost: proxy\r\n\r\n")))
			if err != nil {
				t.Fatal(err)
			}
			out := clientOf(t, "http://up/v1").Target(r.URL)
			if got := out.RequestURI(); got != want || out.Host != "up" {
				t.Errorf("%s is asked for as %s at %s, want %s", line, got, out.Host, want)
			}
		})
	}
}
