package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"knockproxy/cache"
	"knockproxy/metrics"
	"knockproxy/proxy"
	"knockproxy/proxy/knock"
	"knockproxy/proxy/knock/knocktest"
	"knockproxy/proxy/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// defaults are those of the configuration.
var defaults = policy.Caps{TTL: 30 * time.Second, TTLWithConsent: 10 * time.Second, NegativeTTL: 5 * time.Second, MaxTTL: 5 * time.Minute}

// rig is a proxy between a client and a stand-in of Knock.
type rig struct {
	testing.TB
	up       *knocktest.Server
	cache    *cache.Cache[*policy.Answer]
	proxy    *proxy.Proxy
	url      string
	do       func(*http.Request) (*http.Response, error) // reaches the proxy
	registry *prometheus.Registry
}

// setup is what a test changes of a rig's making.
type setup struct {
	knock    knocktest.Options
	client   knock.Options
	deadline time.Duration
	proxy    proxy.Options
	base     string // path of the upstream's base URL
}

// newRig starts a stand-in of Knock and a proxy in front of it, both on loopback.
func newRig(t testing.TB, change ...func(*setup)) *rig {
	t.Helper()
	r := &rig{TB: t}
	s := newSetup(change)
	r.up = knocktest.Start(t, s.knock)
	r.wire(s, r.up.URL)
	front := httptest.NewServer(r.proxy)
	t.Cleanup(front.Close)
	r.url = front.URL
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1000}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r.do = client.Do
	return r
}

// newBubble makes a rig inside a synctest bubble: requests go straight to the handler, the upstream is at the other end of
// a pipe, and time passes when everything waits.
func newBubble(t testing.TB, change ...func(*setup)) *rig {
	t.Helper()
	r := &rig{TB: t}
	s := newSetup(change)
	r.up = knocktest.New(s.knock)
	pipes := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: r.up}
	served := make(chan error)
	go func() { served <- server.Serve(pipes) }()
	if s.client.Dial == nil {
		s.client.Dial = pipes.dial
	}
	r.wire(s, "http://knock.test")
	t.Cleanup(func() {
		_ = r.up.Close()
		_ = server.Close()
		<-served
	})
	r.do = func(req *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		if req.Body == nil {
			req.Body = http.NoBody // as a server would
		}
		if err := serveOnce(r.proxy, rec, req); err != nil {
			return nil, err
		}
		res := rec.Result()
		res.Request = req
		return res, nil
	}
	return r
}

// serveOnce is what a server does: a handler that gives up breaks the connection.
func serveOnce(h http.Handler, w http.ResponseWriter, req *http.Request) (err error) {
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			err = http.ErrAbortHandler
		} else if v != nil {
			panic(v)
		}
	}()
	h.ServeHTTP(w, req)
	return nil
}

// inBubble runs a test on fake time: synctest.Wait returns when all that can happen without time passing has happened.
func inBubble(t *testing.T, test func(t *testing.T, r *rig), change ...func(*setup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newBubble(t, change...)) })
}

func newSetup(change []func(*setup)) *setup {
	s := &setup{proxy: proxy.Options{Caps: defaults, AllowUnlisted: true}}
	for _, f := range change {
		f(s)
	}
	return s
}

// wire makes the proxy in front of an upstream at a URL.
func (r *rig) wire(s *setup, upstream string) {
	r.Helper()
	r.registry = prometheus.NewRegistry()
	m := metrics.New(r.registry)
	var err error
	if s.client.URL == nil {
		if s.client.URL, err = url.Parse(upstream + s.base); err != nil {
			r.Fatal(err)
		}
	}
	s.client.Metrics, s.proxy.Metrics = m, m
	s.proxy.Client = knock.NewClient(s.client)
	r.Cleanup(s.proxy.Client.Close)
	r.cache, err = cache.New(cache.Options[*policy.Answer]{Size: (*policy.Answer).Size, Deadline: s.deadline, Metrics: m})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(r.cache.Close)
	s.proxy.Cache = r.cache
	if r.proxy, err = proxy.New(s.proxy); err != nil {
		r.Fatal(err)
	}
}

// pipeListener accepts connections that are made in memory.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// answer is what a client got, read to its end.
type answer struct {
	*http.Response
	body string
}

// cacheStatus is our member of Cache-Status.
func (a answer) cacheStatus() string { return a.Header.Get("Cache-Status") }

// ask sends a request with the key "k", unless header lines ("Name: value") say another. A body goes after an empty line.
func (r *rig) ask(method, path string, lines ...string) answer {
	r.Helper()
	a, err := r.try(method, path, lines...)
	if err != nil {
		r.Fatal(err)
	}
	return a
}

func (r *rig) try(method, path string, lines ...string) (answer, error) {
	return r.tryContext(context.Background(), method, path, lines...)
}

func (r *rig) tryContext(ctx context.Context, method, path string, lines ...string) (answer, error) {
	var body io.Reader
	header := http.Header{}
	for i, line := range lines {
		if line == "" {
			body = strings.NewReader(strings.Join(lines[i+1:], "\n"))
			break
		}
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, body)
	if err != nil {
		return answer{}, err
	}
	req.Header = header
	if _, ok := header["X-Api-Key"]; !ok {
		req.Header.Set("X-Api-Key", "k")
	}
	if header.Get("X-Api-Key") == "none" {
		req.Header.Del("X-Api-Key")
	}
	res, err := r.do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	return answer{res, string(content)}, err
}

// get reads a prospect.
func (r *rig) get(id string, lines ...string) answer {
	r.Helper()
	return r.ask(http.MethodGet, "/prospect/"+id, lines...)
}

// metric is the value of a counter or gauge, or the count of a histogram: metric("knockproxy_x_total", "label=value").
func (r *rig) metric(name string, labels ...string) float64 {
	r.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		sum := 0.0
		for _, m := range family.GetMetric() {
			if labelled(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		return sum
	}
	r.Fatalf("no metric %s", name)
	return 0
}

func labelled(m *dto.Metric, labels []string) bool {
	for _, want := range labels {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetName()+"="+l.GetValue() == want
		}
		if !found {
			return false
		}
	}
	return true
}

// wantMetric compares a metric's value.
func (r *rig) wantMetric(want float64, name string, labels ...string) {
	r.Helper()
	if got := r.metric("knockproxy_"+name, labels...); got != want {
		r.Errorf("%s%v is %v, want %v", name, labels, got, want)
	}
}

// wantReads compares how often the upstream was asked for a prospect.
func (r *rig) wantReads(id string, want int) {
	r.Helper()
	if got := r.up.Reads(id); got != want {
		r.Errorf("%d upstream reads of %s, want %d", got, id, want)
	}
}

// wantOwnError checks the shape of every error that the proxy makes itself.
func (a answer) wantOwnError(t testing.TB, status int, kind string) {
	t.Helper()
	h := a.Header
	if a.StatusCode != status || h.Get("Proxy-Status") != "knockproxy; error="+kind {
		t.Errorf("%d %q, want %d %s", a.StatusCode, h.Get("Proxy-Status"), status, kind)
	}
	if h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || h.Get("Cache-Status") != "" || h.Get("X-Request-Id") == "" {
		t.Errorf("headers of an own error: %v", h)
	}
	if a.Request.Method != http.MethodHead && !strings.HasPrefix(a.body, `{"errorMessage":"`) {
		t.Errorf("body of an own error: %s", a.body)
	}
}
