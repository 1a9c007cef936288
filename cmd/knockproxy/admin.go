package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"knockproxy/cache"
	"knockproxy/proxy/knock"
	"knockproxy/proxy/policy"
)

// scopes finds what a purge of a configured partner empties; false: there is no such partner.
type scopes interface {
	PartnerScope(name string) (string, bool)
}

// newAdmin is the handler of the admin listener.
func newAdmin(c *config, s *state, answers *cache.Cache[*policy.Answer], partners scopes, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", landing)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, status{Status: "alive"}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { s.readyz(w, answers.Redis) })

	protected := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, requireToken(c.Admin.Token, h)) }
	p := purger{answers, partners}
	protected("DELETE /cache/prospects/{id}", p.prospect)
	protected("DELETE /cache/partners/{name}", p.partner)
	protected("DELETE /cache", p.all)
	if c.Admin.Pprof {
		protected("GET /debug/pprof/", pprof.Index)
		protected("GET /debug/pprof/cmdline", pprof.Cmdline)
		protected("GET /debug/pprof/profile", pprof.Profile)
		protected("GET /debug/pprof/symbol", pprof.Symbol)
		protected("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// requireToken lets a request pass that bears the token: 403 where there is none to bear, 401 where it is not the one.
// The comparison takes the same time whatever was sent.
func requireToken(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token == "" {
			replyError(w, http.StatusForbidden, "admin.token is not set: calls that change something are refused")
			return
		}
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(given))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			replyError(w, http.StatusUnauthorized, "the bearer token is missing or wrong")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// purger carries out the purge calls.
type purger struct {
	answers  *cache.Cache[*policy.Answer]
	partners scopes
}

// purged is the answer to a purge. Only a prospect's records are counted.
type purged struct {
	Purged *int   `json:"purged,omitempty"`
	Scope  string `json:"scope"`
}

func (p purger) prospect(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if _, form := knock.ParseID(id); form != knock.IDCanonical {
		replyError(w, http.StatusBadRequest, "a prospect id is a number of 1 to 20 digits without leading zeros")
		return
	}
	n, err := p.answers.Drop(ended(r), cache.Prospect(id), cache.ByPurge)
	p.report(w, &n, err)
}

func (p purger) partner(w http.ResponseWriter, r *http.Request) {
	scope, ok := p.partners.PartnerScope(r.PathValue("name"))
	if !ok {
		replyError(w, http.StatusNotFound, "no partner has this name")
		return
	}
	_, err := p.answers.Drop(ended(r), cache.Scope(scope), cache.ByPurge)
	p.report(w, nil, err)
}

func (p purger) all(w http.ResponseWriter, r *http.Request) {
	_, err := p.answers.Drop(ended(r), cache.Everything(), cache.ByPurge)
	p.report(w, nil, err)
}

// report says what was done: at all replicas, in this process where there is no Redis, or in this process alone though there
// is one.
func (p purger) report(w http.ResponseWriter, n *int, err error) {
	if err != nil {
		replyError(w, http.StatusServiceUnavailable, "purged in this process only: Redis did not acknowledge it, so other replicas, and this one later, may still answer from what Redis holds until it expires; purge again")
		return
	}
	done := purged{Purged: n, Scope: "local"}
	if shared, _ := p.answers.Redis(); shared {
		done.Scope = "cluster"
	}
	reply(w, http.StatusOK, done)
}

// ended is the request's context without its end: a purge that has begun is carried out though its caller leaves.
func ended(r *http.Request) context.Context { return context.WithoutCancel(r.Context()) }

type status struct {
	Status string `json:"status"`
	Redis  string `json:"redis,omitempty"` // up or down, where there is one
}

// readyz says whether requests are welcome. They are without Redis too.
func (s *state) readyz(w http.ResponseWriter, redis func() (configured, up bool)) {
	now, code := status{Status: "ready"}, http.StatusOK
	if configured, up := redis(); up {
		now.Redis = "up"
	} else if configured {
		now.Redis = "down"
	}
	switch {
	case s.draining.Load():
		now.Status, code = "draining", http.StatusServiceUnavailable
	case !s.ready.Load():
		now.Status, code = "starting", http.StatusServiceUnavailable
	}
	reply(w, code, now)
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // an error means that the client is gone
}

func replyError(w http.ResponseWriter, code int, message string) {
	reply(w, code, struct {
		Message string `json:"errorMessage"`
	}{message})
}

// landing tells a person who opens the admin listener in a browser what is there.
func landing(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	fmt.Fprintf(w, `<!doctype html><html lang="en"><meta charset="utf-8"><title>knockproxy</title>
<h1>knockproxy %s</h1>
<ul><li><a href="/metrics">metrics</a></li><li><a href="/readyz">readyz</a></li><li><a href="/healthz">healthz</a></li></ul></html>
`, version())
}
