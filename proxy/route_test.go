package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"knockproxy/proxy"
	"knockproxy/proxy/knock/knocktest"
)

// TestRoutes is the table of requests of the contract: what is read through the cache, what is refused, what is forwarded.
func TestRoutes(t *testing.T) {
	const long = "123456789012345678901"
	r := newRig(t)
	for _, tc := range []struct {
		name, method, path string
		lines              []string
		want               string // "read", "fwd=…", or status and kind of an own error
		id                 string // as Knock's words quote it
	}{
		{name: "an id", path: "/prospect/1", want: "read"},
		{name: "0", path: "/prospect/0", want: "read"},
		{name: "20 digits", path: "/prospect/" + long[:20], want: "read"},
		{name: "HEAD", method: "HEAD", path: "/prospect/2", want: "read"},
		{name: "a content type", path: "/prospect/3", lines: []string{"Content-Type: application/json"}, want: "read"},
		{name: "h2c", path: "/prospect/4", lines: []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x"}, want: "read"},
		{name: "Upgrade that Connection does not list", path: "/prospect/5", lines: []string{"Upgrade: websocket"}, want: "read"},

		{name: "no key", path: "/prospect/1", lines: []string{"x-api-key: none"}, want: "401 http_request_denied"},
		{name: "no key, no id", path: "/prospect/x", lines: []string{"x-api-key: none"}, want: "401 http_request_denied"},
		{name: "two keys", path: "/prospect/1", lines: []string{"x-api-key: a", "x-api-key: b"}, want: "400 http_request_error"},
		{name: "the same key twice", path: "/prospect/1", lines: []string{"x-api-key: a", "x-api-key: a"}, want: "400 http_request_error"},
		{name: "256 bytes of key", path: "/prospect/6", lines: []string{"x-api-key: " + strings.Repeat("k", 256)}, want: "read"},
		{name: "257 bytes of key", path: "/prospect/6", lines: []string{"x-api-key: " + strings.Repeat("k", 257)}, want: "400 http_request_error"},

		{name: "letters", path: "/prospect/abc", want: "400 http_request_error", id: "abc"},
		{name: "no id", path: "/prospect/", want: "400 http_request_error", id: ""},
		{name: "21 digits", path: "/prospect/" + long, want: "400 http_request_error", id: long},
		{name: "negative", path: "/prospect/-1", want: "400 http_request_error", id: "-1"},
		{name: "a slash that is none", path: "/prospect/1%2F2", want: "400 http_request_error", id: "1/2"},
		{name: "a quote", path: "/prospect/%22%3C", want: "400 http_request_error", id: `\"\u003c`},
		{name: "letters and a query", path: "/prospect/abc?x=1", want: "400 http_request_error", id: "abc"},
		{name: "other digits", path: "/prospect/%D9%A1", want: "400 http_request_error", id: "١"},
		{name: "cut", path: "/prospect/" + strings.Repeat("x", 100), want: "400 http_request_error", id: strings.Repeat("x", 64)},

		{name: "an upgrade", path: "/prospect/1", lines: []string{"Connection: upgrade", "Upgrade: websocket"}, want: "501 http_request_denied"},
		{name: "an upgrade elsewhere", path: "/x", lines: []string{"Connection: upgrade", "Upgrade: h2c, websocket"}, want: "501 http_request_denied"},
		{name: "TRACE", method: "TRACE", path: "/prospect/1", want: "501 http_request_denied"},

		{name: "leading zeros", path: "/prospect/01", want: "fwd=bypass"},
		{name: "percent-encoded", path: "/prospect/%31", want: "fwd=bypass"},
		{name: "a slash at the end", path: "/prospect/1/", want: "fwd=bypass"},
		{name: "a slash at the end, letters, no key", path: "/prospect/x/", lines: []string{"x-api-key: none"}, want: "fwd=bypass"},
		{name: "a query", path: "/prospect/1?a=b", want: "fwd=bypass"},
		{name: "a bare ?", path: "/prospect/1?", want: "fwd=bypass"},
		{name: "a body", path: "/prospect/1", lines: []string{"", "{}"}, want: "fwd=bypass"},
		{name: "If-Match", path: "/prospect/1", lines: []string{`If-Match: "x"`}, want: "fwd=bypass"},
		{name: "If-Unmodified-Since", path: "/prospect/1", lines: []string{"If-Unmodified-Since: x"}, want: "fwd=bypass"},

		{name: "events", path: "/prospect/1/events", want: "fwd=bypass"},
		{name: "no key elsewhere", path: "/prospect/1/events", lines: []string{"x-api-key: none"}, want: "fwd=bypass"},
		{name: "another path", path: "/", want: "fwd=bypass"},
		{name: "another case", path: "/Prospect/1", want: "fwd=bypass"},
		{name: "doubled slash", path: "//prospect/1", want: "fwd=bypass"},
		{name: "dots", path: "/x/../prospect/1", want: "fwd=bypass"},
		{name: "POST", method: "POST", path: "/prospect", lines: []string{"", "{}"}, want: "fwd=method"},
		{name: "POST to an id", method: "POST", path: "/prospect/1", lines: []string{"", "{}"}, want: "fwd=method"},
		{name: "OPTIONS", method: "OPTIONS", path: "/prospect/1", want: "fwd=method"},
		{name: "an unknown method", method: "M-SEARCH", path: "/prospect/1", want: "fwd=method"},
		{name: "two keys elsewhere", path: "/x", lines: []string{"x-api-key: a", "x-api-key: b"}, want: "400 http_request_error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			method := tc.method
			if method == "" {
				method = http.MethodGet
			}
			r.TB = t
			before := r.up.Totals().Requests
			a := r.ask(method, tc.path, tc.lines...)
			asked := r.up.Totals().Requests - before
			switch {
			case tc.want == "read":
				if !strings.HasPrefix(a.cacheStatus(), "knockproxy; fwd=uri-miss; fwd-status=") && !isHit(a) {
					t.Errorf("%d %s", a.StatusCode, a.cacheStatus())
				}
				return
			case strings.HasPrefix(tc.want, "fwd="):
				if !strings.HasPrefix(a.cacheStatus(), "knockproxy; "+tc.want+"; fwd-status=") || asked != 1 {
					t.Errorf("%d %s, %d upstream requests", a.StatusCode, a.cacheStatus(), asked)
				}
				if got := r.up.Last().URI; got != tc.path {
					t.Errorf("forwarded as %s", got)
				}
				return
			}
			kind := tc.want[4:]
			a.wantOwnError(t, map[string]int{"400": 400, "401": 401, "501": 501}[tc.want[:3]], kind)
			if asked != 0 {
				t.Errorf("%d upstream requests", asked)
			}
			if want := `{"errorMessage":"Id ` + tc.id + ` is not a valid prospect id. Id must be a number."}`; strings.HasPrefix(tc.want, "400") && strings.HasPrefix(tc.path, "/prospect/") && strings.Contains(a.body, "valid") && a.body != want {
				t.Errorf("%s, want %s", a.body, want)
			}
		})
	}
}

// TestMalformedIDsUseKnocksWords to the letter.
func TestMalformedIDsUseKnocksWords(t *testing.T) {
	r := newRig(t)
	if a := r.get("xxx"); a.body != `{"errorMessage":"Id xxx is not a valid prospect id. Id must be a number."}` {
		t.Error(a.body)
	}
}

// TestBadlyEncodedPathIsRoutedAsItCame: what would be encoded otherwise does not make %2F a slash.
func TestBadlyEncodedPathIsRoutedAsItCame(t *testing.T) {
	r := newRig(t)
	got := r.raw("GET /prospect/4%2F\" HTTP/1.1\r\nHost: a\r\nX-Api-Key: k\r\nConnection: close\r\n\r\n")
	if want := `{"errorMessage":"Id 4/\" is not a valid prospect id. Id must be a number."}`; !strings.HasSuffix(got, want) {
		t.Error(got)
	}
}

func TestPartners(t *testing.T) {
	partners := []proxy.Partner{
		{Name: "acme", APIKey: "acme-key", Tokens: []string{"acme-1", "acme-2"}},
		{Name: "bot", APIKey: "bot-key", Tokens: []string{"bot-1"}},
	}
	t.Run("a token is swapped for the key", func(t *testing.T) {
		r := newRig(t, func(s *setup) { s.proxy.Partners, s.proxy.AllowUnlisted = partners, false })
		for _, path := range []string{"/prospect/1", "/prospect/1/events"} {
			r.ask(http.MethodGet, path, "x-api-key: acme-1")
			if got := r.up.Last().Header["X-Api-Key"]; len(got) != 1 || got[0] != "acme-key" {
				t.Errorf("%s was asked with %v", path, got)
			}
		}
		r.wantMetric(1, "requests_total", "route=prospect", "partner=acme")
		r.wantMetric(1, "requests_total", "route=forwarded", "partner=acme")
	})
	t.Run("the tokens of one partner share, those of two do not", func(t *testing.T) {
		r := newRig(t, func(s *setup) { s.proxy.Partners = partners })
		r.get("1", "x-api-key: acme-1")
		if a := r.get("1", "x-api-key: acme-2"); !isHit(a) {
			t.Errorf("the other token: %s", a.cacheStatus())
		}
		if a := r.get("1", "x-api-key: acme-key"); !isHit(a) {
			t.Errorf("the key itself: %s", a.cacheStatus())
		}
		if a := r.get("1", "x-api-key: bot-1"); isHit(a) {
			t.Errorf("the other partner: %s", a.cacheStatus())
		}
	})
	t.Run("unlisted keys are refused on every route", func(t *testing.T) {
		r := newRig(t, func(s *setup) { s.proxy.Partners, s.proxy.AllowUnlisted = partners, false })
		for _, path := range []string{"/prospect/1", "/prospect/x", "/prospect/1/events", "/"} {
			for _, key := range []string{"stranger", "acme-key", "none"} {
				r.ask(http.MethodGet, path, "x-api-key: "+key).wantOwnError(t, http.StatusUnauthorized, "http_request_denied")
			}
		}
		r.ask(http.MethodPost, "/prospect", "x-api-key: stranger", "", "{}").wantOwnError(t, http.StatusUnauthorized, "http_request_denied")
		if got := r.up.Totals().Requests; got != 0 {
			t.Errorf("%d upstream requests", got)
		}
	})
	t.Run("a partner's purge empties what the key fetched, by token or not", func(t *testing.T) {
		r := newRig(t, func(s *setup) { s.proxy.Partners = partners; s.proxy.AllowUnlisted = true })
		r.get("1", "x-api-key: acme-key")
		r.get("2", "x-api-key: acme-1")
		r.get("1", "x-api-key: bot-1")
		r.purgePartner("acme")
		for _, ask := range []struct {
			id, key string
			hit     bool
		}{{"1", "acme-1", false}, {"2", "acme-key", false}, {"1", "bot-key", true}} {
			if got := isHit(r.get(ask.id, "x-api-key: "+ask.key)); got != ask.hit {
				t.Errorf("%s with %s: hit is %v", ask.id, ask.key, got)
			}
		}
	})
	t.Run("partners that share a key share its data", func(t *testing.T) {
		shared := append(partners, proxy.Partner{Name: "acme-again", APIKey: "acme-key", Tokens: []string{"again-1"}}) //nolint:gocritic // a longer copy
		r := newRig(t, func(s *setup) { s.proxy.Partners = shared })
		r.get("1", "x-api-key: acme-1")
		if !isHit(r.get("1", "x-api-key: again-1")) {
			t.Error("no hit")
		}
		r.purgePartner("acme-again")
		if isHit(r.get("1", "x-api-key: acme-1")) {
			t.Error("still a hit")
		}
		r.wantMetric(1, "requests_total", "partner=acme-again")
	})
}

// TestUpstreamIsAlwaysTheConfiguredOne, whatever Host or an absolute-form target says.
func TestUpstreamIsAlwaysTheConfiguredOne(t *testing.T) {
	r := newRig(t)
	upstreamHost := strings.TrimPrefix(r.up.URL, "http://")
	for _, target := range []string{"http://evil.example/prospect/1", "http://evil.example/prospect/1/events", "/prospect/2", "//evil.example/prospect/1"} {
		raw := "GET " + target + " HTTP/1.1\r\nHost: evil.example\r\nX-Api-Key: k\r\nConnection: close\r\n\r\n"
		if got := r.raw(raw); !strings.HasPrefix(got, "HTTP/1.1 ") {
			t.Fatalf("%s: %s", target, got)
		}
		if got := r.up.Last(); got.Host != upstreamHost {
			t.Errorf("%s: asked with Host %s", target, got.Host)
		}
	}
	if got := r.up.Totals().Requests; got != 4 {
		t.Errorf("%d upstream requests, want 4", got)
	}
}

func TestBaseURL(t *testing.T) {
	for _, base := range []string{"", "/", "/v1/api", "/v1/api/"} {
		t.Run(base, func(t *testing.T) {
			r := newRig(t, func(s *setup) { s.base = base })
			r.up.Always(knocktest.All, knocktest.Raw(knocktest.Answer{Status: 302, Header: http.Header{"Location": {r.up.URL + strings.TrimSuffix(base, "/") + "/prospect/9?x=1"}}}))
			for _, path := range []string{"/prospect/1", "/prospect/1/events?first=10&after=%2F", "/a//b/../c%2Fd;x?"} {
				a := r.ask(http.MethodGet, path)
				if got := r.up.Last().URI; got != strings.TrimSuffix(base, "/")+path {
					t.Errorf("%s was forwarded as %s", path, got)
				}
				if got := a.Header.Get("Location"); a.StatusCode != 302 || got != "/prospect/9?x=1" {
					t.Errorf("%d to %s", a.StatusCode, got)
				}
			}
		})
	}
}
