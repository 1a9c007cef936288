package proxy

import (
	"maps"
	"net/http"
	"time"

	"knockproxy/proxy/policy"
)

// respond renders an answer to a prospect read: the whole of it, or 304 where the client holds it already. own, age are
// nil where there are none. Header values are shared, never appended to.
func respond(w http.ResponseWriter, r *http.Request, a *policy.Answer, own http.Header, age, cacheStatus, requestID []string) (status int, n int64) {
	h := w.Header()
	status = a.Status
	if policy.NotModified(r.Header, a) {
		status = http.StatusNotModified
		maps.Copy(h, a.NotModifiedHeader())
	} else {
		maps.Copy(h, a.Header)
	}
	maps.Copy(h, own)
	if age != nil {
		h["Age"] = age
	}
	h["Cache-Status"] = cacheStatus
	h["X-Request-Id"] = requestID
	w.WriteHeader(status)
	if status == http.StatusNotModified || r.Method == http.MethodHead {
		return status, 0
	}
	written, _ := w.Write(a.Body) // an error means that the client is gone
	return status, int64(written)
}

var (
	jsonType    = []string{"application/json"}
	noStore     = []string{"no-store"}
	closing     = []string{"close"}
	wantsAPIKey = []string{`ApiKey header="x-api-key"`}
)

// unreadBody is how long a connection stays whose request was refused before its body was read.
const unreadBody = time.Second

// respondProblem renders an error of the proxy's own.
func respondProblem(w http.ResponseWriter, r *http.Request, p *problem, requestID []string) (status int, n int64) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = p.length
	h["Cache-Control"] = noStore
	h["Proxy-Status"] = p.proxyStatus
	h["X-Request-Id"] = requestID
	if p.status == http.StatusUnauthorized {
		h["Www-Authenticate"] = wantsAPIKey
	}
	if r.ContentLength != 0 { // do not wait for the rest of a body that nobody wants
		h["Connection"] = closing
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(unreadBody))
	}
	w.WriteHeader(p.status)
	if r.Method == http.MethodHead {
		return p.status, 0
	}
	written, _ := w.Write(p.body) //nolint:gosec // JSON, and said to be
	return p.status, int64(written)
}
