package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"testing"
	"time"

	"knockproxy/cache"
	"knockproxy/proxy/knock/knocktest"
)

// nullWriter is a ResponseWriter that keeps its header map, as net/http's would be new, and throws bodies away.
type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) WriteHeader(int)             {}
func (w *nullWriter) Write(b []byte) (int, error) { return len(b), nil }

// bare is a handler that writes what a hit writes, and looks nothing up.
func bare(header http.Header, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, values := range header {
			h[name] = values
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(body)
	})
}

func benchRig(b testing.TB) *rig {
	return newRig(b, func(s *setup) {
		s.knock = knocktest.Options{History: -1}
		s.proxy.Caps.TTL, s.proxy.Caps.TTLWithConsent = 5*time.Minute, 5*time.Minute
	})
}

func benchRequest(path string) *http.Request {
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.Header.Set("X-Api-Key", knocktest.TestKey)
	return req
}

// warm returns the rig, a request that hits, and a bare handler of the same answer.
func warm(b testing.TB) (r *rig, req *http.Request, constant http.Handler) {
	r, req = benchRig(b), benchRequest("/prospect/"+knocktest.ArticleID)
	rec := httptest.NewRecorder()
	r.proxy.ServeHTTP(rec, req)
	rec = httptest.NewRecorder()
	r.proxy.ServeHTTP(rec, req)
	if !isHit(answer{Response: rec.Result()}) {
		b.Fatal("no hit")
	}
	return r, req, bare(rec.Header(), rec.Body.Bytes())
}

func serveNull(h http.Handler, w *nullWriter, req *http.Request) {
	clear(w.h)
	h.ServeHTTP(w, req)
}

// TestHitAllocations: a hit allocates the request's id, and nothing else that a handler which writes the same would not.
func TestHitAllocations(t *testing.T) {
	const most = 2
	r, req, constant := warm(t)
	w := &nullWriter{http.Header{}}
	base := testing.AllocsPerRun(1000, func() { serveNull(constant, w, req) })
	hit := testing.AllocsPerRun(1000, func() { serveNull(r.proxy, w, req) })
	if hit-base > most {
		t.Errorf("a hit makes %v allocations, the bare handler %v: more than %v over it", hit, base, most)
	}
}

func BenchmarkHit(b *testing.B) {
	r, req, constant := warm(b)
	for _, bench := range []struct {
		name    string
		handler http.Handler
	}{{"bare", constant}, {"proxy", r.proxy}} {
		b.Run(bench.name, func(b *testing.B) {
			w := &nullWriter{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				serveNull(bench.handler, w, req)
			}
		})
	}
}

// BenchmarkHitMany spreads hits over 20,000 entries.
func BenchmarkHitMany(b *testing.B) {
	r := benchRig(b)
	reqs := make([]*http.Request, 20_000)
	w := &nullWriter{http.Header{}}
	for i := range reqs {
		reqs[i] = benchRequest("/prospect/" + strconv.Itoa(i+1))
		serveNull(r.proxy, w, reqs[i])
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		serveNull(r.proxy, w, reqs[i%len(reqs)])
		i += 7919
	}
}

// BenchmarkMiss drops the prospect each time; the upstream is on loopback. Beside it a plain reverse proxy.
func BenchmarkMiss(b *testing.B) {
	r, req, _ := warm(b)
	upstream(b, r, req, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = r.cache.Drop(req.Context(), cache.Prospect(knocktest.ArticleID), cache.ByWrite)
		r.proxy.ServeHTTP(w, req)
	}))
}

// BenchmarkForward passes a read of events through. Beside it a plain reverse proxy.
func BenchmarkForward(b *testing.B) {
	r := benchRig(b)
	upstream(b, r, benchRequest("/prospect/"+knocktest.ArticleID+"/events?first=1"), r.proxy)
}

// upstream compares the proxy with a plain reverse proxy over the same upstream.
func upstream(b *testing.B, r *rig, req *http.Request, proxy http.Handler) {
	b.Helper()
	target, _ := url.Parse(r.up.URL)
	plain := httputil.NewSingleHostReverseProxy(target) //nolint:staticcheck // as plain as it comes
	transport := &http.Transport{}
	b.Cleanup(transport.CloseIdleConnections)
	plain.Transport = transport
	for _, bench := range []struct {
		name    string
		handler http.Handler
	}{{"plain", plain}, {"proxy", proxy}} {
		b.Run(bench.name, func(b *testing.B) {
			w := &nullWriter{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				serveNull(bench.handler, w, req)
			}
		})
	}
}
