package knock

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockproxy/proxy/knock/knocktest"
)

// marker stands for personal data in a broken answer: no error may quote it.
const marker = "jane.doe@example.com"

// answering is the base URL of a listener that says the same to every request and then, unless it hangs, closes.
func answering(t testing.TB, said string, hang bool) string {
	t.Helper()
	return "http://" + listen(t, func(conn net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil { // read whole, or closing would reset
			_, _ = io.Copy(io.Discard, req.Body)
		}
		_, _ = io.WriteString(conn, said)
		if hang {
			_, _ = io.Copy(io.Discard, conn) // until the client closes
		}
	})
}

// greeting is the address of a listener that does not wait for a request.
func greeting(t testing.TB, said string) string {
	t.Helper()
	return listen(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, said)
		_, _ = io.Copy(io.Discard, conn)
	})
}

// listen is the address of a listener that serves one connection after the other until the test ends.
func listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// silent is the address of a listener that accepts and says nothing.
func silent(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// vacant is an address where nobody listens.
func vacant(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}

func tlsServer(t testing.TB, config *tls.Config) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func faulty(t testing.TB, faults ...knocktest.Fault) string {
	t.Helper()
	up := knocktest.Start(t, knocktest.Options{})
	up.Always(knocktest.All, faults...)
	return up.URL
}

// brief is a try's time-out: short to wait for, but long enough to connect in on a busy machine.
const brief = 300 * time.Millisecond

// TestFaults: every way in which no whole answer comes, over real sockets: its RFC 9209 name and its metric.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name    string
		base    func(t testing.TB) string
		options Options
		fault   Fault
		reason  string
	}{
		{"nobody listens", func(t testing.TB) string { return "http://" + vacant(t) }, Options{}, FaultRefused, "connect"},
		{"reset", func(t testing.TB) string { return faulty(t, knocktest.ConnectionReset()) }, Options{}, FaultTerminated, "connect"},
		{"closed without a word", func(t testing.TB) string { return answering(t, "", false) }, Options{}, FaultTerminated, "connect"},
		{"closed in the headers", func(t testing.TB) string { return answering(t, "HTTP/1.1 200 OK\r\nX-A: "+marker, false) }, Options{}, FaultTerminated, "connect"},
		{"hangs before the headers", func(t testing.TB) string { return faulty(t, knocktest.Hang()) }, Options{Timeout: brief}, FaultResponseTimeout, "timeout"},
		{"hangs in the headers", func(t testing.TB) string { return answering(t, "HTTP/1.1 200 OK\r\nX-A: "+marker, true) }, Options{Timeout: brief}, FaultResponseTimeout, "timeout"},
		{"hangs before the body", func(t testing.TB) string { return faulty(t, knocktest.HangBody(0)) }, Options{Timeout: brief}, FaultResponseTimeout, "timeout"},
		{"hangs in the body", func(t testing.TB) string { return faulty(t, knocktest.HangBody(5)) }, Options{Timeout: brief}, FaultResponseTimeout, "timeout"},
		{"hangs in the body, length not told", func(t testing.TB) string { return faulty(t, knocktest.HangBody(5), knocktest.Chunked()) }, Options{Timeout: brief}, FaultResponseTimeout, "timeout"},
		{"truncated", func(t testing.TB) string { return faulty(t, knocktest.Truncate(5)) }, Options{}, FaultIncomplete, "malformed"},
		{"truncated, length not told", func(t testing.TB) string { return faulty(t, knocktest.Truncate(5), knocktest.Chunked()) }, Options{}, FaultIncomplete, "malformed"},
		{"a chunk that is none", func(t testing.TB) string {
			return answering(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+marker+"\r\n", false)
		}, Options{}, FaultIncomplete, "malformed"},
		{"too large by its length, unread", func(t testing.TB) string {
			return answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"+marker, true)
		}, Options{}, FaultTooLarge, "too_large"},
		{"another protocol", func(t testing.TB) string { return answering(t, "SSH-2.0-"+marker+"\r\n", false) }, Options{}, FaultProtocol, "malformed"},
		{"a malformed status line", func(t testing.TB) string { return answering(t, "HTTP/1.1 "+marker+"\r\n\r\n", false) }, Options{}, FaultProtocol, "malformed"},
		{"a malformed header line", func(t testing.TB) string { return answering(t, "HTTP/1.1 200 OK\r\n"+marker+"\r\n\r\n", false) }, Options{}, FaultProtocol, "malformed"},
		{"a malformed length", func(t testing.TB) string {
			return answering(t, "HTTP/1.1 200 OK\r\nContent-Length: "+marker+"\r\n\r\n", false)
		}, Options{}, FaultProtocol, "malformed"},
		{"two lengths", func(t testing.TB) string {
			return answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false)
		}, Options{}, FaultProtocol, "malformed"},
		{"an unknown transfer coding", func(t testing.TB) string {
			return answering(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+marker+"\r\n\r\n", false)
		}, Options{}, FaultProtocol, "malformed"},
		{"headers without end", func(t testing.TB) string {
			return answering(t, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-A: "+marker+"\r\n", 20000), true)
		}, Options{}, FaultProtocol, "malformed"},
		{"a status that is none", func(t testing.TB) string { return answering(t, "HTTP/1.1 042 "+marker+"\r\n\r\n", false) }, Options{}, FaultProtocol, "malformed"},
		{"101, unasked", func(t testing.TB) string { return answering(t, "HTTP/1.1 101 x\r\n\r\n", false) }, Options{}, FaultProtocol, "malformed"},
		// net/http hands over the connection itself here, whose reading no context ends.
		{"101, unasked, with an Upgrade, then silence", func(t testing.TB) string {
			return answering(t, "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"+marker, true)
		}, Options{Timeout: brief}, FaultProtocol, "malformed"},
		{"100 and then silence", func(t testing.TB) string { return answering(t, "HTTP/1.1 100 Continue\r\n\r\n", true) }, Options{Timeout: brief}, FaultResponseTimeout, "timeout"},
		{"TLS asked of a plain server", func(t testing.TB) string { return strings.Replace(faulty(t), "http:", "https:", 1) }, Options{}, FaultTLSProtocol, "tls"},
		{"TLS asked of something else", func(t testing.TB) string {
			return "https://" + greeting(t, "SSH-2.0-"+marker+"\r\n")
		}, Options{}, FaultTLSProtocol, "tls"},
		{"TLS too old", func(t testing.TB) string { return tlsServer(t, &tls.Config{MaxVersion: tls.VersionTLS11}) }, Options{}, FaultTLSProtocol, "tls"},
		{"a certificate of an unknown authority", func(t testing.TB) string { return tlsServer(t, nil) }, Options{}, FaultTLSCertificate, "tls"},
		{"TLS that never begins", func(t testing.TB) string { return "https://" + silent(t) }, Options{Timeout: brief}, FaultConnectTimeout, "timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // most of them wait
			r := newRig(t, test.base(t), test.options)
			_, err := r.read(t.Context(), "42")
			wantFault(t, err, test.fault)
			wantNoQuote(t, err)
			r.wantCounted(t, "error=1 "+test.reason+"=1")
		})
	}
}

func wantNoQuote(t testing.TB, err error) {
	t.Helper()
	for _, text := range []string{err.Error(), fmt.Sprint(err), fmt.Sprintf("%v", err), fmt.Errorf("x: %w", err).Error()} {
		if strings.Contains(text, marker) {
			t.Errorf("the error quotes the answer: %s", text)
		}
	}
}

// TestConnectFaults: those that no listener can make: the dialer is a stand-in.
func TestConnectFaults(t *testing.T) {
	noResolver := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no resolver")
	}}}
	t.Run("a name that does not resolve", func(t *testing.T) {
		r := newRig(t, "http://upstream.invalid", Options{})
		r.transport.Proxy, r.transport.DialContext = nil, noResolver.DialContext
		_, err := r.read(t.Context(), "42")
		wantFault(t, err, FaultDNS)
		r.wantCounted(t, "error=1 connect=1")
		if !strings.Contains(err.Error(), "upstream.invalid") {
			t.Errorf("it does not say which: %v", err)
		}
	})
	t.Run("no route", func(t *testing.T) {
		r := newRig(t, "http://127.0.0.1:1", Options{})
		r.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
		}
		_, err := r.read(t.Context(), "42")
		wantFault(t, err, FaultUnreachable)
		r.wantCounted(t, "error=1 connect=1")
	})
	t.Run("no answer to a connect", func(t *testing.T) {
		r := newRig(t, "http://127.0.0.1:1", Options{Timeout: brief})
		release := make(chan struct{})
		defer close(release)
		r.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			<-release
			return nil, net.ErrClosed
		}
		_, err := r.read(t.Context(), "42")
		wantFault(t, err, FaultConnectTimeout)
		r.wantCounted(t, "error=1 timeout=1")
	})
}

// TestForwardRefusesWhatIsNoAnswer: the body of a 101 would be the connection itself.
func TestForwardRefusesWhatIsNoAnswer(t *testing.T) {
	for name, said := range map[string]string{
		"101":                     "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
		"000":                     "HTTP/1.1 000 x\r\n\r\n",
		"a malformed status line": "HTTP/1.1 " + marker + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, answering(t, said, true), Options{})
			_, err := r.forward(t, http.MethodPost, "/prospect", "{}")
			wantFault(t, err, FaultProtocol)
			wantNoQuote(t, err)
			r.wantCounted(t, "error=1 malformed=1")
		})
	}
}

// TestRoundTripError: what is hard to bring about on a socket.
func TestRoundTripError(t *testing.T) {
	opError := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	for _, test := range []struct {
		name                 string
		err                  error
		connected, tlsFailed bool
		want                 Fault
	}{
		{"the dialer's own time-out", opError("dial", os.ErrDeadlineExceeded), false, false, FaultConnectTimeout},
		{"a resolver's time-out", opError("dial", &net.DNSError{IsTimeout: true}), false, false, FaultConnectTimeout},
		{"no such host", opError("dial", &net.DNSError{IsNotFound: true}), false, false, FaultDNS},
		{"a reset connect", opError("dial", syscall.ECONNRESET), false, false, FaultUnreachable},
		{"no network", opError("dial", syscall.ENETUNREACH), false, false, FaultUnreachable},
		{"no proxy to the upstream", opError("proxyconnect", opError("dial", syscall.ECONNREFUSED)), false, false, FaultRefused},
		{"no route to that proxy", opError("proxyconnect", opError("dial", syscall.EHOSTUNREACH)), false, false, FaultUnreachable},
		{"a time-out of a read", opError("read", os.ErrDeadlineExceeded), true, false, FaultResponseTimeout},
		{"the context's time-out", context.DeadlineExceeded, true, false, FaultResponseTimeout},
		{"the context's time-out before a connection", context.DeadlineExceeded, false, false, FaultConnectTimeout},
		{"closed while written to", opError("write", syscall.EPIPE), true, false, FaultTerminated},
		{"closed by us", opError("read", net.ErrClosed), true, false, FaultTerminated},
		{"closed in the handshake", io.EOF, false, true, FaultTerminated},
		{"TLS of any other kind", errors.New("tls: x"), false, true, FaultTLSProtocol},
		{"an alert after the handshake", opError("remote error", errors.New("tls: certificate required")), true, false, FaultTLSProtocol},
		{"the caller left, whatever broke then", fmt.Errorf("%w: %w", context.Canceled, syscall.ECONNRESET), true, false, FaultAbandoned},
		{"anything else", errors.New(marker), true, false, FaultProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got progress
			got.connected.Store(test.connected)
			got.tlsFailed.Store(test.tlsFailed)
			err := roundTripError(test.err, &got)
			wantFault(t, err, test.want)
			wantNoQuote(t, err)
			if !errors.Is(err, test.err) {
				t.Error("the cause is gone")
			}
		})
	}
}

func TestProgressIsOfItsOwnRequest(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	r := newRig(t, up.URL, Options{})
	r.mustRead(t, "42")
	r.timeout = brief
	up.Always("42", knocktest.Hang())
	got := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got++ }})
	_, err := r.read(ctx, "42") // over the connection that is there
	wantFault(t, err, FaultResponseTimeout)
	if got != 1 {
		t.Errorf("the caller's own trace was told of %d connections", got)
	}
}

func TestAsError(t *testing.T) {
	known := &Error{Fault: FaultRefused, err: syscall.ECONNREFUSED}
	for _, test := range []struct {
		name string
		err  error
		want Fault
	}{
		{"one of ours", known, FaultRefused},
		{"one of ours, wrapped", fmt.Errorf("reading: %w", known), FaultRefused},
		{"a time-out", fmt.Errorf("waiting: %w", context.DeadlineExceeded), FaultResponseTimeout},
		{"a time-out of another kind", os.ErrDeadlineExceeded, FaultResponseTimeout},
		{"anything else", errors.New(marker), FaultInternal},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := AsError(test.err)
			wantFault(t, got, test.want)
			wantNoQuote(t, got)
		})
	}
}
