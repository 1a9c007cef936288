package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"knockproxy/metrics"
	"knockproxy/proxy/knock"
	"knockproxy/proxy/policy"
)

// notForwarded tells that a request is of a kind that no HTTP intermediary can pass on as one request and one answer.
// An upgrade to h2c is not asked for in earnest by anybody: it is ignored.
func notForwarded(r *http.Request) bool {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		return true
	}
	if len(r.Header["Upgrade"]) == 0 || !listed(r.Header["Connection"], "upgrade") {
		return false
	}
	for _, line := range r.Header["Upgrade"] {
		for protocol := range strings.SplitSeq(line, ",") {
			if protocol = strings.TrimSpace(protocol); protocol != "" && !strings.EqualFold(protocol, "h2c") {
				return true
			}
		}
	}
	return false
}

func listed(lines []string, token string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(member), token) {
				return true
			}
		}
	}
	return false
}

// forwarding is one forwarded request, from its start to the last byte of its answer.
type forwarding struct {
	id        *identity // nil without a key
	partner   *metrics.Partner
	requestID []string
	patience  *patience
	body      *patientBody // nil without one
	control   *http.ResponseController
	write     *write // nil for a safe method
	status    policy.Status
	fault     error
}

type forwardingKey struct{}

// forward passes a request on as it is, streamed both ways, with the partner's key in place of its token.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, id *identity, requestID []string) outcome {
	f := &forwarding{id: id, partner: p.keys.labels(id, r.Header), requestID: requestID, status: policy.Status{Fwd: policy.FwdBypass}}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		f.status.Fwd = policy.FwdMethod
	}
	ctx := r.Context()
	if !safe(r) {
		ctx = context.WithoutCancel(ctx) // the upstream may carry a write out though its client leaves: its answer is needed
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, forwardingKey{}, f))
	defer cancel(nil)
	f.patience = newPatience(p.forwardTimeout, func() { cancel(errNoHeaders) })
	defer f.patience.end()
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		f.body = &patientBody{ReadCloser: r.Body, patience: f.patience}
		r.Body = f.body
	}
	if !safe(r) {
		f.write = p.newWrite(r, func() { cancel(errClientLeft) })
	}
	rec := &recorder{ResponseWriter: w}
	f.control = http.NewResponseController(rec)
	broken := p.serveForward(rec, r)
	o := outcome{result: metrics.Bypass, tier: metrics.TierNone, status: rec.status, bytes: rec.bytes, detail: f.status.String(), fault: f.fault, broken: broken}
	switch {
	case o.status == 0:
		o.status, o.broken = statusLeft, true // or net/http would make up a 200
	case f.fault != nil:
		o.result, o.detail = metrics.Error, ""
	}
	return o
}

// serveForward tells whether the answer broke off, for which ReverseProxy panics.
func (p *Proxy) serveForward(w http.ResponseWriter, r *http.Request) (broken bool) {
	defer func() {
		if v := recover(); v == http.ErrAbortHandler { //nolint:errorlint // this very value, by net/http's documentation
			broken = true
		} else if v != nil {
			panic(v)
		}
	}()
	p.forwarder.ServeHTTP(w, r)
	return false
}

func (p *Proxy) newForwarder() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      forwardTransport{p.client},
		FlushInterval:  -1, // as it comes
		BufferPool:     newBuffers(),
		ModifyResponse: p.modifyResponse,
		ErrorHandler:   p.forwardFailed,
		ErrorLog:       log.New(io.Discard, "", 0), // it quotes answers
	}
}

// rewrite makes the outgoing request. ReverseProxy has removed hop-by-hop headers, Forwarded and the usual X-Forwarded-*.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	f := forwardingOf(pr.In)
	pr.Out.URL = p.client.Target(pr.In.URL)
	pr.Out.Host = ""
	for name := range pr.Out.Header {
		if strings.HasPrefix(name, "X-Forwarded-") {
			delete(pr.Out.Header, name)
		}
	}
	pr.SetXForwarded()
	for _, name := range []string{"Upgrade", "Connection", "Http2-Settings"} { // of h2c
		pr.Out.Header.Del(name)
	}
	// The client is told to go on as soon as its body is read, here. Left to the upstream, a client that leaves before its
	// body was asked for goes unnoticed, and the request hangs as long as the upstream does.
	pr.Out.Header.Del("Expect")
	delete(pr.Out.Trailer, knock.KeyHeader)
	if f.id != nil {
		pr.Out.Header[knock.KeyHeader] = f.id.key
	}
	if f.write != nil {
		pr.Out.Header["Accept-Encoding"] = []string{"identity"} // so that the ids in the answer can be read
	}
}

func forwardingOf(r *http.Request) *forwarding {
	f, _ := r.Context().Value(forwardingKey{}).(*forwarding)
	return f
}

// modifyResponse makes the answer's headers what a client of the proxy expects, and has a write invalidate what it names.
func (p *Proxy) modifyResponse(res *http.Response) error {
	f := forwardingOf(res.Request)
	h := res.Header
	p.relativeLocation(h)
	h["X-Request-Id"] = f.requestID
	f.status.FwdStatus = res.StatusCode
	h.Add("Cache-Status", f.status.String())
	if h.Get("Cache-Control") == "" {
		h["Cache-Control"] = []string{"private, no-cache"}
	}
	if f.body != nil && !f.body.ended.Load() {
		f.answerMeanwhile(h)
	}
	if f.write != nil {
		f.write.answered(res)
	}
	return nil
}

// answerMeanwhile lets an answer out before the request is read to its end: without it net/http reads an HTTP/1 request
// first. The connection must end with it, for net/http cannot take up another request where some of this one is left.
func (f *forwarding) answerMeanwhile(h http.Header) {
	if f.control.EnableFullDuplex() == nil {
		h["Connection"] = []string{"close"}
	}
}

// forwardFailed answers where the upstream did not.
func (p *Proxy) forwardFailed(w http.ResponseWriter, r *http.Request, err error) {
	f := forwardingOf(r)
	f.fault = err
	if f.write != nil {
		f.write.failed()
	}
	if cause := context.Cause(r.Context()); errors.Is(cause, errNoHeaders) {
		err = cause
	} else if cause != nil {
		return // the client has left
	}
	failed := knock.AsError(err)
	f.fault = failed
	respondProblem(w, r, problemOf(failed), f.requestID)
}

// forwardTransport asks the upstream and counts the exchange.
type forwardTransport struct{ client *knock.Client }

func (t forwardTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	f := forwardingOf(req)
	if f.write != nil {
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { f.write.sent.Store(true) },
		}))
	}
	res, err := t.client.Forward(req, f.partner)
	f.patience.end() // bodies have no limit
	return res, err
}

// errClientLeft ends the reading of an answer that nobody waits for.
var errClientLeft = errors.New("the client has left")

// errNoHeaders is a time-out, to those who ask.
var errNoHeaders = fmt.Errorf("no response headers in upstream.forward_timeout: %w", os.ErrDeadlineExceeded)

// patience runs out when the upstream has had a time without answering. The time that the client takes to send its body
// does not count: bodies have no limit.
type patience struct {
	mu    sync.Mutex
	timer *time.Timer // guarded by mu
	ended bool        // guarded by mu
	limit time.Duration
}

func newPatience(limit time.Duration, out func()) *patience {
	return &patience{timer: time.AfterFunc(limit, out), limit: limit}
}

func (p *patience) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
}

func (p *patience) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.timer.Reset(p.limit)
	}
}

func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
}

// patientBody stops the clock while the client is waited for.
type patientBody struct {
	io.ReadCloser
	patience *patience
	ended    atomic.Bool
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.patience.pause()
	defer b.patience.resume()
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended.Store(true)
	}
	if err != nil && err != io.EOF {
		err = &knock.BodyError{Err: err}
	}
	return n, err
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if status >= 200 && r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// FlushError passes on what there is, unless that is all there will be: net/http does so when the handler has returned, and
// then the request is counted and in the log by the time its client has the answer.
func (r *recorder) FlushError() error {
	if r.Header().Get("Content-Length") == strconv.FormatInt(r.bytes, 10) {
		return nil
	}
	return http.NewResponseController(r.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController reach the rest.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// buffers are those that bodies pass through.
type buffers struct{ pool sync.Pool }

const bufferBytes = 32 << 10

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { return new([bufferBytes]byte) }}}
}

func (b *buffers) Get() []byte {
	buf, _ := b.pool.Get().(*[bufferBytes]byte)
	return buf[:]
}

func (b *buffers) Put(buf []byte) { b.pool.Put((*[bufferBytes]byte)(buf)) }
