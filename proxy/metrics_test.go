package proxy_test

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"knockproxy/proxy"
	"knockproxy/proxy/knock/knocktest"
	"knockproxy/proxy/policy"
)

// TestEveryRequestMovesItsCounters runs one request after the other, and names all that each of them moves.
func TestEveryRequestMovesItsCounters(t *testing.T) {
	r := newRig(t, func(s *setup) {
		s.proxy.Partners = []proxy.Partner{{Name: "acme", APIKey: "acme-key", Tokens: []string{"t"}}}
		s.proxy.AllowUnlisted = true
		s.client.MaxBody = 2000
	})
	r.up.Edit("1", func(p *knocktest.Prospect) { p.SMSConsent = false })
	r.up.Always("9", knocktest.Header("Cache-Control", "no-store"))
	r.up.Always("10", knocktest.Status(500))
	r.up.Always("11", knocktest.Truncate(5))
	r.up.Always("12", knocktest.LongBody(3000))
	r.up.Always("13", knocktest.TooManyRequests(0))
	r.up.Always("14", knocktest.Status(401))
	const read, fwd = "requests_total{route=prospect ", "requests_total{route=forwarded "
	for _, step := range []struct {
		name, method, path string
		lines              []string
		moves              []string
	}{
		{"a miss", "GET", "/prospect/1", []string{"x-api-key: t"}, []string{read + "code=2xx partner=acme}", "cache_requests_total{result=miss tier=none}", "upstream_requests_total{code=2xx partner=acme}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=miss}"}},
		{"a hit", "GET", "/prospect/1", []string{"x-api-key: t"}, []string{read + "code=2xx partner=acme}", "cache_requests_total{result=hit tier=memory}", "cache_served_age_seconds{}", "request_duration_seconds{route=prospect result=hit}"}},
		{"a hit that is not modified", "GET", "/prospect/1", []string{"x-api-key: t", "If-None-Match: *"}, []string{read + "code=3xx partner=acme}", "cache_requests_total{result=hit tier=memory}", "cache_served_age_seconds{}", "request_duration_seconds{route=prospect result=hit}"}},
		{"another key's miss", "HEAD", "/prospect/1", nil, []string{read + "code=2xx partner=unlisted}", "cache_requests_total{result=miss tier=none}", "upstream_requests_total{code=2xx partner=unlisted}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=miss}"}},
		{"does not exist", "GET", "/prospect/0", nil, []string{read + "code=4xx partner=unlisted}", "cache_requests_total{result=miss tier=none}", "upstream_requests_total{code=4xx partner=unlisted}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=miss}"}},
		{"no key", "GET", "/prospect/1", []string{"x-api-key: none"}, []string{read + "code=4xx partner=none}", "cache_requests_total{result=rejected tier=none}", "request_duration_seconds{route=prospect result=rejected}"}},
		{"no id", "GET", "/prospect/x", nil, []string{read + "code=4xx partner=unlisted}", "cache_requests_total{result=rejected tier=none}", "request_duration_seconds{route=prospect result=rejected}"}},
		{"an upgrade", "GET", "/prospect/1", []string{"Connection: upgrade", "Upgrade: x"}, []string{read + "code=5xx partner=unlisted}", "cache_requests_total{result=rejected tier=none}", "request_duration_seconds{route=prospect result=rejected}"}},
		{"a query", "GET", "/prospect/1?x", nil, []string{read + "code=2xx partner=unlisted}", "cache_requests_total{result=bypass tier=none}", "upstream_requests_total{code=2xx partner=unlisted}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=bypass}"}},
		{"no-store", "GET", "/prospect/9", nil, []string{read + "code=2xx partner=unlisted}", "cache_requests_total{result=miss tier=none}", "cache_uncacheable_total{reason=no_store}", "upstream_requests_total{code=2xx partner=unlisted}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=miss}"}},
		{"500", "GET", "/prospect/10", nil, []string{read + "code=5xx partner=unlisted}", "cache_requests_total{result=miss tier=none}", "cache_uncacheable_total{reason=status}", "upstream_requests_total{code=5xx partner=unlisted}", "upstream_errors_total{reason=status_5xx}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=miss}"}},
		{"truncated", "GET", "/prospect/11", nil, []string{read + "code=5xx partner=unlisted}", "cache_requests_total{result=error tier=none}", "upstream_requests_total{code=error partner=unlisted}", "upstream_errors_total{reason=malformed}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=error}"}},
		{"over-long", "GET", "/prospect/12", nil, []string{read + "code=5xx partner=unlisted}", "cache_requests_total{result=error tier=none}", "upstream_requests_total{code=error partner=unlisted}", "upstream_errors_total{reason=too_large}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=error}"}},
		{"429", "GET", "/prospect/13", nil, []string{read + "code=4xx partner=unlisted}", "cache_requests_total{result=miss tier=none}", "cache_uncacheable_total{reason=status}", "upstream_requests_total{code=4xx partner=unlisted}", "upstream_errors_total{reason=status_429}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=miss}"}},
		{"401", "GET", "/prospect/14", nil, []string{read + "code=4xx partner=unlisted}", "cache_requests_total{result=miss tier=none}", "cache_uncacheable_total{reason=status}", "cache_invalidations_total{cause=auth}", "upstream_requests_total{code=4xx partner=unlisted}", "upstream_duration_seconds{}", "request_duration_seconds{route=prospect result=miss}"}},
		{"a write", "PUT", "/prospect/1", []string{"x-api-key: t", "", "{}"}, []string{fwd + "code=2xx partner=acme}", "cache_invalidations_total{cause=write}", "upstream_requests_total{code=2xx partner=acme}", "upstream_duration_seconds{}", "request_duration_seconds{route=forwarded result=forwarded}"}},
		{"events without a key", "GET", "/prospect/1/events", []string{"x-api-key: none"}, []string{fwd + "code=4xx partner=none}", "upstream_requests_total{code=4xx partner=none}", "upstream_duration_seconds{}", "request_duration_seconds{route=forwarded result=forwarded}"}},
	} {
		t.Run(step.name, func(t *testing.T) {
			before := r.samples(t)
			_, _ = r.try(step.method, step.path, step.lines...)
			var moved []string
			for name, value := range r.samples(t) {
				for range int(value - before[name]) {
					moved = append(moved, name)
				}
			}
			slices.Sort(moved)
			slices.Sort(step.moves)
			if !slices.Equal(moved, step.moves) {
				t.Errorf("moved\n  %s\nwant\n  %s", strings.Join(moved, "\n  "), strings.Join(step.moves, "\n  "))
			}
		})
	}
	if all, route := r.metric("knockproxy_cache_requests_total"), r.metric("knockproxy_requests_total", "route=prospect"); all != route || all == 0 {
		t.Errorf("the results add up to %v of %v requests", all, route)
	}
}

// samples are all counters, and the counts of all histograms, of the proxy's own.
func (r *rig) samples(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "knockproxy_")
		for _, m := range f.GetMetric() {
			var labels []string
			for _, order := range []string{"route", "result", "tier", "code", "partner", "reason", "cause"} {
				for _, l := range m.GetLabel() {
					if l.GetName() == order {
						labels = append(labels, order+"="+l.GetValue())
					}
				}
			}
			if ours && m.GetGauge() == nil {
				all[name+"{"+strings.Join(labels, " ")+"}"] += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return all
}

// TestEveryReasonHasItsSeries: the metric's closed set is the policy's.
func TestEveryReasonHasItsSeries(t *testing.T) {
	series := newRig(t).samples(t)
	for _, reason := range policy.Reasons {
		if _, ok := series["cache_uncacheable_total{reason="+string(reason)+"}"]; !ok {
			t.Errorf("no series for %s", reason)
		}
	}
}

func TestLog(t *testing.T) {
	for _, tc := range []struct {
		access proxy.Access
		lines  int
	}{{proxy.AccessAll, 6}, {proxy.AccessMisses, 5}, {proxy.AccessOff, 0}} {
		var log bytes.Buffer
		r := newBubbleless(t, &log, tc.access)
		r.get("47569637", "X-Api-Key: MARKER")
		r.get("47569637", "X-Api-Key: MARKER")
		r.get("MARKER", "X-Api-Key: MARKER")
		r.ask("MARKER", "/MARKER?MARKER=MARKER", "X-Api-Key: MARKER", "X-Other: MARKER", "", `{"email":"MARKER"}`)
		r.up.Next("2", knocktest.Body("MARKER"))
		r.get("2", "X-Request-Id: MARKER!")
		r.up.Next("3", knocktest.Truncate(5))
		r.get("3")
		text := log.String()
		if strings.Contains(text, "MARKER") || strings.Contains(text, "+10551234567") {
			t.Errorf("the log holds what it should not:\n%s", text)
		}
		if got := strings.Count(text, `"msg":"request"`); got != tc.lines {
			t.Errorf("%d lines, want %d:\n%s", got, tc.lines, text)
		}
		if tc.access == proxy.AccessAll && (!strings.Contains(text, `"prospect":"47569637"`) || !strings.Contains(text, `"fault":"asking the upstream: http_response_incomplete"`)) {
			t.Errorf("the log lacks what helps:\n%s", text)
		}
	}
}

// newBubbleless is a rig whose requests go straight to the handler, so that a line is written when its request returns.
func newBubbleless(t *testing.T, log *bytes.Buffer, access proxy.Access) *rig {
	t.Helper()
	return newBubble(t, func(s *setup) {
		s.proxy.Log, s.proxy.Access = slog.New(slog.NewJSONHandler(log, nil)), access
	})
}

// TestPanicEndsTheRequestOnly: the process goes on, and the log has the stack without what was being handled.
func TestPanicEndsTheRequestOnly(t *testing.T) {
	var log bytes.Buffer
	r := newBubbleless(t, &log, proxy.AccessAll)
	for _, path := range []string{"/prospect/1", "/x"} {
		func() {
			defer func() {
				if v := recover(); v != http.ErrAbortHandler {
					t.Errorf("%s: recovered %v", path, v)
				}
			}()
			req, _ := http.NewRequest(http.MethodGet, path, nil)
			req.Header.Set("x-api-key", "MARKER")
			r.proxy.ServeHTTP(panicker{}, req)
		}()
	}
	r.wantMetric(1, "requests_total", "route=prospect", "code=5xx")
	r.wantMetric(1, "requests_total", "route=forwarded", "code=5xx")
	if text := log.String(); strings.Count(text, `"msg":"panic"`) != 2 || !strings.Contains(text, "goroutine") || strings.Contains(text, "MARKER") {
		t.Errorf("log:\n%s", text)
	}
}

// panicker panics at the first use.
type panicker struct{}

func (panicker) Header() http.Header         { panic("MARKER") }
func (panicker) WriteHeader(int)             { panic("MARKER") }
func (panicker) Write(b []byte) (int, error) { panic("MARKER") }

// TestDebugLogQuotesNoAnswer: what the library says of a broken answer may hold a part of it.
func TestDebugLogQuotesNoAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{\"phone\" \"MARKER\"}\r\n\r\n")
	}()
	var log bytes.Buffer
	r := newBubble(t, func(s *setup) {
		s.client.URL = &url.URL{Scheme: "http", Host: l.Addr().String()}
		s.client.Dial = new(net.Dialer).DialContext
		s.proxy.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	_, _ = r.try(http.MethodGet, "/prospect/1/events")
	<-served
	if strings.Contains(log.String(), "MARKER") || !strings.Contains(log.String(), `"msg":"request"`) {
		t.Error(log.String())
	}
}
