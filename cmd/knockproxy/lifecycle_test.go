package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"knockproxy/proxy/knock/knocktest"
)

// served is a proxy that serves in this process until it is told to end, before a stand-in of the Knock API.
type served struct {
	*testing.T
	up            *knocktest.Server
	listen, admin string
	signals       chan os.Signal
	ended         chan int // the exit code
	log           logBuffer
}

// startServe starts one. When the test ends it must have ended too, and left nothing running.
func startServe(t *testing.T, change ...func(*config)) *served {
	t.Helper()
	ignored := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignored) }) // after all other cleaning up
	s := &served{T: t, signals: make(chan os.Signal, 2), ended: make(chan int, 1), up: knocktest.Start(t, knocktest.Options{})}
	c := defaultConfig()
	c.Server.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Upstream.URL, _ = url.Parse(s.up.URL)
	for _, f := range change {
		f(c)
	}
	ready := make(chan struct{})
	go func() {
		s.ended <- serve(c, slog.New(slog.NewJSONHandler(&s.log, nil)), s.signals, func(listen, admin string) {
			s.listen, s.admin = listen, admin
			close(ready)
		})
	}()
	select {
	case <-ready:
	case code := <-s.ended:
		t.Fatalf("ended with %d before it was ready: %s", code, s.log.String())
	}
	t.Cleanup(func() { close(s.signals) }) // ends it, should the test have failed before
	return s
}

// logBuffer may be written and read at once.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// ask sends a request to an address; the answer, or the word error and why there was none, comes later.
func ask(method, address, path string) <-chan string {
	got := make(chan string, 1)
	go func() {
		r := request{method: method, url: "http://" + address + path, headers: []string{"x-api-key: k"}}
		text, err := r.do(nil)
		if err != nil {
			text = fmt.Sprintf("error: %v", err)
		}
		got <- text
	}()
	return got
}

// wantAnswer takes an answer, which must begin with a status.
func (s *served) wantAnswer(got <-chan string, status string) {
	s.Helper()
	if text := <-got; !strings.HasPrefix(text, status) {
		s.Errorf("got %s\nwant %s", text, status)
	}
}

// wantExit waits for the end. Each of lines must be in the log.
func (s *served) wantExit(want int, lines ...string) {
	s.Helper()
	select {
	case code := <-s.ended:
		if code != want {
			s.Errorf("exit code %d, want %d", code, want)
		}
	case <-time.After(patience):
		s.Fatalf("has not ended: %s", s.log.String())
	}
	for _, line := range lines {
		if !strings.Contains(s.log.String(), line) {
			s.Errorf("no %q in %s", line, s.log.String())
		}
	}
}

// awaitNotReady waits until readiness is off.
func (s *served) awaitNotReady() {
	s.Helper()
	if err := eventually("readiness to go off", func() (bool, error) {
		return strings.HasPrefix(<-ask(http.MethodGet, s.admin, "/readyz"), "503 "), nil
	}); err != nil {
		s.Fatal(err)
	}
}

// awaitRefused waits until an address takes no connections any more.
func awaitRefused(t *testing.T, address string) {
	t.Helper()
	if err := eventually("connections to be refused", func() (bool, error) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close() // that was the listener still, or its backlog
		}
		return errors.Is(err, syscall.ECONNREFUSED), nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Readiness goes off with the signal, and all requests are served for drain_delay, so that load balancers take their time.
func TestDrainDelay(t *testing.T) {
	s := startServe(t, func(c *config) { c.Server.DrainDelay = time.Hour })
	s.wantAnswer(ask(http.MethodGet, s.admin, "/readyz"), "200 ")
	s.signals <- syscall.SIGTERM
	s.awaitNotReady()

	s.wantAnswer(ask(http.MethodGet, s.listen, "/prospect/42"), "200 ")
	s.wantAnswer(ask(http.MethodGet, s.listen, "/prospect/42"), "200 ")
	s.wantAnswer(ask(http.MethodPut, s.listen, "/prospect/42"), "400 ") // Knock's, of the empty body
	s.wantAnswer(ask(http.MethodGet, s.admin, "/healthz"), "200 ")
	s.wantAnswer(ask(http.MethodGet, s.admin, "/metrics"), "200 ")

	s.signals <- syscall.SIGTERM // enough waited
	s.wantExit(exitFailed, `"msg":"draining"`, "a second signal: terminated")
	awaitRefused(t, s.listen)
	awaitRefused(t, s.admin)
}

// After drain_delay new connections are refused, and what is in flight is answered, however it came.
func TestDrainAnswersWhatIsInFlight(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(sig.String(), func(t *testing.T) {
			s := startServe(t, func(c *config) { c.Server.DrainDelay = 10 * time.Millisecond })
			idle, err := net.Dial("tcp", s.listen) // a connection without a request does not hold the drain up
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			if _, err := fmt.Fprint(idle, "GET /prospect/1 HTTP/1.1\r\nHost: x\r\nx-api-key: k\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if line, _ := bufio.NewReader(idle).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 200 ") {
				t.Fatalf("answered %q", line)
			}
			gate := s.up.Gate(knocktest.All)
			read := ask(http.MethodGet, s.listen, "/prospect/42")
			forwarded := ask(http.MethodGet, s.listen, "/prospect/42/events")
			write := ask(http.MethodDelete, s.listen, "/prospect/7")
			gate.Wait(3)

			s.signals <- sig
			awaitRefused(t, s.listen)
			s.wantAnswer(ask(http.MethodGet, s.admin, "/readyz"), "503 ")
			gate.Open()
			s.wantAnswer(read, "200 ")
			s.wantAnswer(forwarded, "200 ")
			s.wantAnswer(write, "200 ")
			s.wantExit(exitDone, fmt.Sprintf(`"msg":"draining","signal":%q`, sig), `"msg":"drained"`)
			awaitRefused(t, s.admin)
			if p, _ := s.up.Prospect("7"); !p.IsDeleted {
				t.Error("the write in flight was lost")
			}
		})
	}
}

// server.drain running out ends with 1, and cuts what is in flight off: nobody is told 503.
func TestDrainRunsOut(t *testing.T) {
	s := startServe(t, func(c *config) { c.Server.Drain = 20 * time.Millisecond })
	gate := s.up.Gate(knocktest.All)
	read, forwarded := ask(http.MethodGet, s.listen, "/prospect/42"), ask(http.MethodGet, s.listen, "/prospect/42/events")
	gate.Wait(2)
	s.signals <- syscall.SIGTERM
	s.wantExit(exitFailed, "server.drain of 20ms ran out")
	s.wantAnswer(read, "error: ")
	s.wantAnswer(forwarded, "error: ")
}

// A second signal ends it while requests are waited for. (TestDrainDelay: while drain_delay is.)
func TestSecondSignal(t *testing.T) {
	s := startServe(t, func(c *config) { c.Server.Drain = time.Hour })
	gate := s.up.Gate(knocktest.All)
	read := ask(http.MethodGet, s.listen, "/prospect/42")
	gate.Wait(1)
	s.signals <- os.Interrupt
	awaitRefused(t, s.listen)
	s.signals <- syscall.SIGTERM
	s.wantExit(exitFailed, "a second signal: terminated")
	s.wantAnswer(read, "error: ")
}

// Before anything listens nobody is told that it is ready.
func TestNotReadyBeforeListening(t *testing.T) {
	rec := httptest.NewRecorder()
	new(state).readyz(rec, func() (configured, up bool) { return false, false })
	if rec.Code != http.StatusServiceUnavailable {
		t.Errorf("answered %d", rec.Code)
	}
}

// raw sends a request as it is written and returns the status line of the answer, or "" where the connection is cut.
func raw(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	go func() { _, _ = conn.Write([]byte(text)) }() // fails where it is answered before it was read
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

func TestRequestHeaderLimits(t *testing.T) {
	s := startServe(t)
	// ofSize is a request whose line and headers are so many bytes.
	ofSize := func(size int) string {
		text := "GET /prospect/42 HTTP/1.1\r\nHost: x\r\nx-api-key: k\r\nConnection: close\r\nX-Fill: %s\r\n\r\n"
		return fmt.Sprintf(text, strings.Repeat("a", size-len(text)+2))
	}
	for size, want := range map[int]string{
		63 << 10:      "HTTP/1.1 200 OK",
		64<<10 - 1:    "HTTP/1.1 200 OK",
		64<<10 + 1:    "HTTP/1.1 431 Request Header Fields Too Large",
		1<<20 + 1<<10: "HTTP/1.1 431 Request Header Fields Too Large",
	} {
		if got := raw(t, s.listen, ofSize(size)); got != want {
			t.Errorf("%d bytes: %q, want %q", size, got, want)
		}
	}
	s.signals <- syscall.SIGTERM
	s.wantExit(exitDone)
}

// Headers must arrive within 10 s. Bodies may take any time.
func TestServerTimeouts(t *testing.T) {
	server := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if server.ReadHeaderTimeout != 10*time.Second {
		t.Errorf("waits %s for headers, want 10s", server.ReadHeaderTimeout)
	}
	if server.ReadTimeout != 0 || server.WriteTimeout != 0 {
		t.Errorf("limits bodies: %s, %s", server.ReadTimeout, server.WriteTimeout)
	}
}

// OPTIONS * asks about the server, which is the upstream.
func TestOptionsOfTheServer(t *testing.T) {
	var seen atomic.Pointer[http.Request]
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r)
		w.WriteHeader(http.StatusTeapot)
	}))
	up.Config.DisableGeneralOptionsHandler = true // or net/http would answer
	up.Start()
	t.Cleanup(up.Close)
	s := startServe(t, func(c *config) { c.Upstream.URL, _ = url.Parse(up.URL) })
	if got := raw(t, s.listen, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); got != "HTTP/1.1 418 I'm a teapot" {
		t.Errorf("answered %q, want what the upstream did", got)
	}
	if r := seen.Load(); r == nil || r.Method != http.MethodOptions || r.RequestURI != "*" {
		t.Errorf("the upstream saw %+v", r)
	}
	s.signals <- syscall.SIGTERM
	s.wantExit(exitDone)
}
