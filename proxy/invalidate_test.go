package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"knockproxy/cache"
	"knockproxy/proxy/knock/knocktest"
)

// TestWritesInvalidate: what a write names is not served from cache afterwards, to anybody.
func TestWritesInvalidate(t *testing.T) {
	reply := func(status int, body string) knocktest.Fault {
		return knocktest.Raw(knocktest.Answer{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)}).When(knocktest.Not(knocktest.IsRead))
	}
	for _, tc := range []struct {
		name, method, path, body string
		fault                    knocktest.Fault
		dropped                  string // of 1, 2 and 3
	}{
		{name: "id in the path", method: "PUT", path: "/prospect/1", body: "{}", dropped: "1"},
		{name: "below an id", method: "POST", path: "/prospect/1/notes", fault: reply(200, "{}"), dropped: "1"},
		{name: "id in the path, with zeros and a slash", method: "PATCH", path: "/prospect/001/", fault: reply(200, ""), dropped: "1"},
		{name: "id in an encoded path", method: "PUT", path: "/%70rospect/%31", fault: reply(204, ""), dropped: "1"},
		{name: "DELETE", method: "DELETE", path: "/prospect/1", dropped: "1"},
		{name: "an unknown method", method: "M-SEARCH", path: "/prospect/1", fault: reply(200, ""), dropped: "1"},
		{name: "prospectId in the request", method: "POST", path: "/prospect", body: `{"prospectId":"1"}`, dropped: "1"},
		{name: "as a number", method: "POST", path: "/prospect/", body: `{"prospectId":1}`, dropped: "1"},
		{name: "deep, and several", method: "POST", path: "/x", body: `{"a":[{"b":{"prospectId":"2"}},{"prospectId":3}],"id":1}`, fault: reply(200, "{}"), dropped: "2 3"},
		{name: "in an array", method: "POST", path: "/x", body: `[{"prospectId":"2"},["prospectId","3"]]`, fault: reply(200, "{}"), dropped: "2"},
		{name: "behind a byte order mark, with escapes", method: "POST", path: "/x", body: "\ufeff{\"prospect\\u0049d\":\"\\u0031\"}", fault: reply(200, "{}"), dropped: "1"},
		{name: "in an array of ids", method: "POST", path: "/x", body: `{"prospectId":["1",{"x":2},3],"y":[2]}`, fault: reply(200, "{}"), dropped: "1 3"},
		{name: "as a float", method: "POST", path: "/x", body: `{"prospectId":1.0,"x":{"prospectId":"2e0"}}`, fault: reply(200, `{"id":0.3E1}`), dropped: "1 2 3"},
		{name: "as no integer", method: "POST", path: "/x", body: `{"prospectId":1.5,"x":{"prospectId":1e999}}`, fault: reply(200, `{}`), dropped: ""},
		{name: "dots in the path", method: "PUT", path: "/prospect/x/../1;a=b", fault: reply(200, ""), dropped: "1"},
		{name: "cut-off JSON", method: "POST", path: "/x", body: `{"prospectId":"1","x":`, fault: reply(200, "{}"), dropped: "1"},
		{name: "prospectId in the answer", method: "POST", path: "/appointment/request", fault: reply(200, `{"ok":{"prospectId":"2"}}`), dropped: "2"},
		{name: "id of the answer", method: "POST", path: "/prospect", body: `{}`, fault: reply(200, `{"x":{"id":"1"},"id":3}`), dropped: "3"},
		{name: "Location of the answer", method: "POST", path: "/x", fault: knocktest.Raw(knocktest.Answer{Status: 201, Header: http.Header{"Location": {"/prospect/2"}}}).When(knocktest.IsWrite), dropped: "2"},
		{name: "a redirect", method: "PUT", path: "/prospect/1", fault: reply(307, ""), dropped: "1"},
		{name: "400", method: "PUT", path: "/prospect/1", body: `{"prospectId":"2"}`, fault: reply(400, `{"prospectId":"3"}`), dropped: ""},
		{name: "500", method: "PUT", path: "/prospect/1", fault: reply(500, `{}`), dropped: ""},
		{name: "502: unknown outcome", method: "PUT", path: "/prospect/1", body: `{"prospectId":"2"}`, fault: reply(502, `{}`), dropped: "1 2"},
		{name: "503", method: "PUT", path: "/prospect/1", fault: reply(503, `{}`), dropped: "1"},
		{name: "504", method: "PUT", path: "/prospect/1", fault: knocktest.GatewayTimeout().When(knocktest.IsWrite), dropped: "1"},
		{name: "reset", method: "PUT", path: "/prospect/1", body: `{"prospectId":"2"}`, fault: knocktest.ConnectionReset().When(knocktest.IsWrite), dropped: "1 2"},
		{name: "truncated", method: "PUT", path: "/prospect/1", body: "{}", fault: knocktest.Truncate(3).When(knocktest.IsWrite), dropped: "1"},
		{name: "GET", method: "GET", path: "/prospect/1/events", dropped: ""},
		{name: "OPTIONS", method: "OPTIONS", path: "/prospect/1", fault: reply(200, ""), dropped: ""},
		{name: "GET that says it is a write", method: "GET", path: "/prospect/1/", fault: reply(200, ""), dropped: "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			for _, id := range []string{"1", "2", "3"} {
				r.get(id)
				r.get(id, "x-api-key: another")
			}
			r.up.Always(knocktest.All, tc.fault)
			lines := []string{"X-Api-Key: writer"}
			if strings.Contains(tc.name, "says") {
				lines = append(lines, "X-HTTP-Method-Override: PUT")
			}
			_, _ = r.try(tc.method, tc.path, append(lines, "", tc.body)...) // a broken answer is an error
			var dropped []string
			for _, id := range []string{"1", "2", "3"} {
				hit, other := isHit(r.get(id)), isHit(r.get(id, "x-api-key: another"))
				if hit != other {
					t.Errorf("%s: hit is %v for one partner, %v for another", id, hit, other)
				}
				if !hit {
					dropped = append(dropped, id)
				}
			}
			if got := strings.Join(dropped, " "); got != tc.dropped {
				t.Errorf("dropped %q, want %q", got, tc.dropped)
			}
			want := len(strings.Fields(tc.dropped))
			r.wantMetric(float64(want), "cache_invalidations_total", "cause=write")
		})
	}
}

// TestOldAnswerInFlightIsNotServedAfterwards: a slow read of the old answer is under way when a purge, or a write, comes.
// Who asks afterwards gets the new one, while the old one is still on its way and after it came.
func TestOldAnswerInFlightIsNotServedAfterwards(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"purge of the prospect": func(r *rig) { _, _ = r.cache.Drop(context.Background(), cache.Prospect("42"), cache.ByPurge) },
		"purge of all":          func(r *rig) { _, _ = r.cache.Drop(context.Background(), cache.Everything(), cache.ByPurge) },
		"write":                 func(r *rig) { r.ask(http.MethodPut, "/prospect/42", "X-Api-Key: writer", "", `{"smsConsent":false}`) },
		"write, answered late":  func(r *rig) { r.ask(http.MethodPost, "/prospect", "", `{"prospectId":42,"smsConsent":false}`) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				for round := range 1000 {
					r.TB = t
					oldAnswerInFlight(t, r, fmt.Sprint(round), change)
					if t.Failed() {
						return
					}
				}
			}, func(s *setup) { s.knock.History = -1 })
		})
	}
}

func oldAnswerInFlight(t *testing.T, r *rig, round string, change func(*rig)) {
	t.Helper()
	r.up.ClearFaults()
	_, _ = r.cache.Drop(t.Context(), cache.Everything(), cache.ByPurge)
	r.up.Edit("42", func(p *knocktest.Prospect) { p.SMSConsent, p.LastName = true, "old"+round })
	gate := r.up.NewGate()
	r.up.Next("42", gate.Hold().When(knocktest.IsRead))
	early := make(chan answer)
	go func() { early <- r.get("42") }()
	synctest.Wait() // the old answer is made, and held
	r.up.Edit("42", func(p *knocktest.Prospect) { p.SMSConsent, p.LastName = false, "new"+round })
	change(r)
	isNew := func(a answer) bool { return strings.Contains(a.body, `"lastName":"new`+round+`"`) }
	if a := r.get("42"); !isNew(a) {
		t.Fatalf("round %s, while the old answer is on its way: %s %s", round, a.cacheStatus(), a.body)
	}
	gate.Open()
	if a := <-early; isNew(a) {
		t.Fatalf("round %s: the early caller was not in flight", round)
	}
	if a := r.get("42"); !isNew(a) || !isHit(a) {
		t.Fatalf("round %s, afterwards: %s %s", round, a.cacheStatus(), a.body)
	}
}

// TestWriteInvalidatesBeforeItsLastByte: a client that reads the prospect as soon as it has the whole answer of its write
// gets the new one, also where only the answer names the prospect.
func TestWriteInvalidatesBeforeItsLastByte(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		t.Run(fmt.Sprintf("chunked=%v", chunked), func(t *testing.T) {
			const body = `{"note":"…","prospectId":"1"}`
			release := make(chan struct{})
			r := newRig(t, over(t, func(w http.ResponseWriter, req *http.Request) {
				if req.Method == http.MethodGet {
					w.Header().Set("Content-Type", "application/json")
					fmt.Fprint(w, `{"prospectId":"1"}`)
					return
				}
				if !chunked {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				}
				_, _ = io.WriteString(w, body)
				_ = http.NewResponseController(w).Flush()
				<-release // the client has all it needs, and the connection stays
			}))
			t.Cleanup(func() { close(release) })
			r.get("1")
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/prospect", strings.NewReader("{}"))
			res, err := r.do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if _, err := io.ReadFull(res.Body, make([]byte, len(body))); err != nil {
				t.Fatal(err)
			}
			if a := r.get("1"); isHit(a) {
				t.Errorf("%s after the write's last byte", a.cacheStatus())
			}
		})
	}
}

// TestWriteThatEndsLate: an upstream that carries a write out between its answer's first byte and its last is not outrun by
// a read in between.
func TestWriteThatEndsLate(t *testing.T) {
	for _, tc := range []struct{ name, path, first, last string }{
		{"id in the path", "/prospect/1", "{", "}"},
		{"id in the answer's first part", "/prospect", `{"prospectId":"1",`, `"x":1}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var withdrawn atomic.Bool
			commit := make(chan struct{})
			r := newRig(t, over(t, func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if req.Method == http.MethodGet {
					fmt.Fprintf(w, `{"prospectId":"1","smsConsent":%v}`, !withdrawn.Load())
					return
				}
				_, _ = io.WriteString(w, tc.first)
				_ = http.NewResponseController(w).Flush()
				<-commit
				withdrawn.Store(true)
				_, _ = io.WriteString(w, tc.last)
			}))
			req, _ := http.NewRequest(http.MethodPost, r.url+tc.path, strings.NewReader("{}"))
			req.Header.Set("x-api-key", "k")
			res, err := r.do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if a := r.get("1"); !strings.Contains(a.body, "true") {
				t.Fatal(a.body)
			}
			close(commit)
			_, _ = io.Copy(io.Discard, res.Body)
			if a := r.get("1"); !strings.Contains(a.body, "false") {
				t.Errorf("after the write's answer: %s %s", a.cacheStatus(), a.body)
			}
			r.wantMetric(1, "cache_invalidations_total", "cause=write")
		})
	}
}

// TestWriteWhoseClientLeftBeforeItsAnswer: the id is in the answer alone, which is read all the same.
func TestWriteWhoseClientLeftBeforeItsAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.get("1")
		gate := r.up.Gate(knocktest.All, knocktest.IsWrite)
		r.up.Always(knocktest.All, knocktest.Body(`{"id":"1"}`).When(knocktest.IsWrite))
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = r.tryContext(ctx, http.MethodPost, "/prospect", "", `{"phone":"+1"}`)
		}()
		synctest.Wait()
		leave()
		synctest.Wait()
		gate.Open()
		<-done
		if a := r.get("1"); isHit(a) {
			t.Error(a.cacheStatus())
		}
	})
}

// TestUnknownOutcomeOfATimeout: the write may have been done, or may yet be.
func TestUnknownOutcomeOfATimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.get("1")
		r.up.Next("1", knocktest.Hang().Late().When(knocktest.IsWrite))
		r.ask(http.MethodPut, "/prospect/1", "", `{"smsConsent":false}`).wantOwnError(t, 504, "http_response_timeout")
		if a := r.get("1"); isHit(a) {
			t.Error(a.cacheStatus())
		}
	}, func(s *setup) { s.proxy.ForwardTimeout, s.proxy.Caps.TTLWithConsent = time.Second, time.Hour })
}

// TestWriteWhoseClientLeft is one of unknown outcome too.
func TestWriteWhoseClientLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.get("1")
		gate := r.up.Gate("1", knocktest.IsWrite)
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			req := httptest.NewRequest(http.MethodPut, "/prospect/1", strings.NewReader(`{"smsConsent":false}`)).WithContext(ctx)
			req.Header.Set("x-api-key", "k")
			_ = serveOnce(r.proxy, httptest.NewRecorder(), req)
		}()
		synctest.Wait()
		leave()
		gate.Open()
		<-done
		if a := r.get("1"); isHit(a) {
			t.Error(a.cacheStatus())
		}
	})
}
