package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"knockproxy/cache"
	"knockproxy/proxy/knock/knocktest"
)

// raw sends bytes to the proxy and returns all that comes back until it closes the connection.
func (r *rig) raw(request string) string {
	r.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		r.Fatal(err)
	}
	got, _ := io.ReadAll(conn)
	return string(got)
}

// purgePartner empties a partner's partition, as the admin call does.
func (r *rig) purgePartner(name string) {
	r.Helper()
	scope, ok := r.proxy.PartnerScope(name)
	if !ok {
		r.Fatalf("no partner %s", name)
	}
	_, _ = r.cache.Drop(context.Background(), cache.Scope(scope), cache.ByPurge)
}

// over makes a rig's upstream a handler of the test's own.
func over(t *testing.T, upstream http.HandlerFunc) func(*setup) {
	t.Helper()
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	return func(s *setup) { s.client.URL, _ = url.Parse(server.URL) }
}

func TestForwardedIsPassedAsItIs(t *testing.T) {
	var got *http.Request
	var body string
	r := newRig(t, over(t, func(w http.ResponseWriter, req *http.Request) {
		content, _ := io.ReadAll(req.Body)
		got, body = req, string(content)
		w.Header().Set("X-Upstream", "yes")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Cache-Status", "edge; hit")
		w.Header().Set("X-Request-Id", "upstream's")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "short and stout")
		w.Header().Set("X-Sum", "7")
	}))
	a := r.ask(http.MethodPatch, "/a%2Fb/../c?x=1;y&z=%zz", "X-Api-Key: k", "User-Agent: bot", "Cookie: c=d", "Accept-Encoding: br",
		"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil", "X-Forwarded-Prefix: /evil", "Forwarded: for=evil", "", "the body")
	if got.RequestURI != "/a%2Fb/../c?x=1;y&z=%zz" || got.Method != http.MethodPatch || body != "the body" {
		t.Errorf("the upstream saw %s %s %q", got.Method, got.RequestURI, body)
	}
	for name, want := range map[string]string{"X-Api-Key": "k", "User-Agent": "bot", "Cookie": "c=d", "Forwarded": "", "X-Forwarded-Prefix": "", "X-Forwarded-For": "127.0.0.1", "Accept-Encoding": "identity"} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("the upstream saw %s: %q, want %q", name, value, want)
		}
	}
	if a.StatusCode != http.StatusTeapot || a.body != "short and stout" || a.Trailer.Get("X-Sum") != "7" {
		t.Errorf("%d %q %v", a.StatusCode, a.body, a.Trailer)
	}
	for name, want := range map[string]string{"X-Upstream": "yes", "Set-Cookie": "a=b", "X-Hop": "", "Cache-Control": "private, no-cache", "Etag": "", "Age": ""} {
		if value := a.Header.Get(name); value != want {
			t.Errorf("the client saw %s: %q, want %q", name, value, want)
		}
	}
	if status := strings.Join(a.Header["Cache-Status"], ", "); status != "edge; hit, knockproxy; fwd=method; fwd-status=418" {
		t.Error(status)
	}
	if ids := a.Header["X-Request-Id"]; len(ids) != 1 || ids[0] == "upstream's" {
		t.Error(ids)
	}
	r.wantMetric(1, "requests_total", "route=forwarded", "code=4xx", "partner=unlisted")
	r.wantMetric(1, "upstream_requests_total", "code=4xx", "partner=unlisted")
}

// TestForwardedIsStreamed both ways: the answer's first line is read before the request's second line is sent.
func TestForwardedIsStreamed(t *testing.T) {
	r := newRig(t, over(t, func(w http.ResponseWriter, req *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		lines := bufio.NewScanner(req.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "got %s\n", lines.Text())
			_ = http.NewResponseController(w).Flush()
		}
	}))
	body, send := io.Pipe()
	req, _ := http.NewRequest(http.MethodPost, r.url+"/stream", body)
	go func() { _, _ = io.WriteString(send, "one\n") }()
	res, err := r.do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for i, line := range []string{"one", "two", "three"} {
		if i > 0 {
			_, _ = io.WriteString(send, line+"\n")
		}
		if !lines.Scan() || lines.Text() != "got "+line {
			t.Fatalf("line %d: %q %v", i, lines.Text(), lines.Err())
		}
	}
	_ = send.Close()
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("after the end: %q %v", lines.Text(), lines.Err())
	}
}

// TestEarlyAnswer: an upstream that answers without reading the request harms neither this answer nor the next request.
func TestEarlyAnswer(t *testing.T) {
	r := newRig(t, over(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/refused" {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		_, _ = io.Copy(w, req.Body)
	}))
	for range 20 {
		if a, err := r.try(http.MethodPost, "/refused", "", strings.Repeat("x", 10<<20)); err == nil && a.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%d", a.StatusCode) // an error is what a client may see that is still sending
		}
		if a := r.ask(http.MethodPost, "/taken", "", "body"); a.body != "body" || a.Close {
			t.Errorf("%d %q, closed %v", a.StatusCode, a.body, a.Close)
		}
	}
}

// TestClientsOwnFault: a body that breaks off, or is none, is not the upstream's.
func TestClientsOwnFault(t *testing.T) {
	r := newRig(t)
	got := r.raw("POST /prospect HTTP/1.1\r\nHost: a\r\nX-Api-Key: k\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "error=http_request_error") {
		t.Error(got)
	}
	r.wantMetric(0, "upstream_errors_total")
}

// TestRefusalDoesNotWaitForTheBody: who is refused is told so, though the body that it announced never comes.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	r := newRig(t)
	got := r.raw("GET /prospect/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx")
	if !strings.HasPrefix(got, "HTTP/1.1 401 ") {
		t.Error(got)
	}
}

// TestHalfClosedClientGetsNoMadeUpAnswer: net/http takes it for gone, and would say 200 where nothing was said.
func TestHalfClosedClientGetsNoMadeUpAnswer(t *testing.T) {
	for _, request := range []string{"GET /prospect/1", "GET /prospect/1/events", "DELETE /prospect/1"} {
		r := newRig(t)
		gate := r.up.Gate(knocktest.All)
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, request+" HTTP/1.1\r\nHost: a\r\nX-Api-Key: k\r\n\r\n")
		gate.Wait(1)
		_ = conn.(*net.TCPConn).CloseWrite()
		if strings.HasPrefix(request, "DELETE") {
			gate.Open() // a write is carried out, and its answer passes
		}
		got, _ := io.ReadAll(conn)
		if strings.Contains(string(got), "Content-Length: 0") {
			t.Errorf("%s: %s", request, got)
		}
	}
}

// TestServerSentEventsPass though the answer never ends by itself.
func TestServerSentEventsPass(t *testing.T) {
	release := make(chan struct{})
	r := newRig(t, over(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	defer close(release)
	req, _ := http.NewRequest(http.MethodGet, r.url+"/events", nil)
	res, err := r.do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line := make([]byte, len("data: 1\n\n"))
	if _, err := io.ReadFull(res.Body, line); err != nil || string(line) != "data: 1\n\n" {
		t.Errorf("%q %v", line, err)
	}
}

func TestForwardTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.up.Always(knocktest.All, knocktest.Hang())
		began := time.Now()
		r.ask(http.MethodPost, "/prospect", "", "{}").wantOwnError(t, http.StatusGatewayTimeout, "http_response_timeout")
		if took := time.Since(began); took != 35*time.Second {
			t.Errorf("gave up after %v", took)
		}
		r.wantMetric(1, "upstream_errors_total", "reason=timeout")
		r.wantMetric(1, "upstream_requests_total", "code=error")
	})
}

// TestForwardTimeoutSparesSlowBodies: neither a client that uploads slowly nor an answer that takes long is cut off.
func TestForwardTimeoutSparesSlowBodies(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		body, send := io.Pipe()
		go func() {
			_, _ = io.WriteString(send, "{")
			time.Sleep(time.Hour)
			_, _ = io.WriteString(send, "}")
			_ = send.Close()
		}()
		req := httptest.NewRequest(http.MethodPost, "/prospect", body)
		req.Header.Set("x-api-key", "k")
		rec := httptest.NewRecorder()
		r.proxy.ServeHTTP(rec, req)
		if rec.Code != 200 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	})
	inBubble(t, func(t *testing.T, r *rig) {
		r.up.Always(knocktest.All, knocktest.HangBody(5))
		ctx, leave := context.WithCancelCause(t.Context())
		go func() { time.Sleep(time.Hour); leave(errors.New("patience")) }()
		req := httptest.NewRequest(http.MethodGet, "/prospect/1/events", nil).WithContext(ctx)
		req.Header.Set("x-api-key", "k")
		rec := httptest.NewRecorder()
		began := time.Now()
		func() {
			defer func() { _ = recover() }() // the answer broke off
			r.proxy.ServeHTTP(rec, req)
		}()
		if took := time.Since(began); rec.Code != 200 || rec.Body.Len() != 5 || took != time.Hour {
			t.Errorf("%d %q after %v", rec.Code, rec.Body, took)
		}
		synctest.Wait()
	})
}

// TestBrokenAnswerStaysBroken: a client can tell that it has not the whole answer.
func TestBrokenAnswerStaysBroken(t *testing.T) {
	for name, fault := range map[string]knocktest.Fault{"length": knocktest.Truncate(20), "chunked": knocktest.Truncate(20)} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			faults := []knocktest.Fault{fault}
			if name == "chunked" {
				faults = append(faults, knocktest.Chunked())
			}
			r.up.Always(knocktest.All, faults...)
			if a, err := r.try(http.MethodGet, "/prospect/1/events"); err == nil {
				t.Errorf("%d %q, and no error", a.StatusCode, a.body)
			}
			r.wantMetric(1, "requests_total", "route=forwarded", "code=2xx")
		})
	}
}

func TestForwardedWithoutAnUpstream(t *testing.T) {
	r := newRig(t, func(s *setup) { s.client.URL, _ = url.Parse("http://127.0.0.1:1") })
	r.ask(http.MethodGet, "/x").wantOwnError(t, http.StatusBadGateway, "connection_refused")
	r.ask(http.MethodPost, "/prospect", "", `{"prospectId":1}`).wantOwnError(t, http.StatusBadGateway, "connection_refused")
	r.ask(http.MethodGet, "/prospect/01").wantOwnError(t, http.StatusBadGateway, "connection_refused")
	r.wantMetric(1, "cache_requests_total", "result=error")
	r.wantMetric(3, "upstream_errors_total", "reason=connect")
	r.wantMetric(0, "cache_invalidations_total") // nothing was sent
}

// TestInformationalAnswersPass where a request is forwarded.
func TestInformationalAnswersPass(t *testing.T) {
	r := newRig(t, over(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</x>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	}))
	got := r.raw("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 103 ") || !strings.Contains(got, "HTTP/1.1 200 OK") {
		t.Error(got)
	}
}
