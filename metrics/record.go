package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Route is the value of the label route.
type Route uint8

// The routes: GET and HEAD of /prospect/{one segment}, and everything else.
const (
	Prospect Route = iota
	Forwarded
	nRoutes
)

func (r Route) String() string { return [nRoutes]string{"prospect", "forwarded"}[r] }

// Result is the value of the label result: how the cache answered a request of the route prospect.
type Result uint8

// The results. They add up to the requests of the route prospect.
const (
	Hit         Result = iota // fresh, from a tier
	Stale                     // from a tier, past its freshness
	Revalidated               // the upstream said that the stored answer still holds
	Miss                      // fetched for this request
	Collapsed                 // fetched by a read that another request began
	Bypass                    // forwarded, not cached
	Rejected                  // 400, 401, 501 of our own
	Error                     // 429, 502, 503, 504 of our own
	resultForwarded
	nResults
)

func (r Result) String() string {
	return [nResults]string{"hit", "stale", "revalidated", "miss", "collapsed", "bypass", "rejected", "error", "forwarded"}[r]
}

// Tier is the value of the label tier: where an answer from cache came from.
type Tier uint8

// The tiers.
const (
	TierMemory Tier = iota
	TierRedis
	TierNone
	nTiers
)

func (t Tier) String() string { return [nTiers]string{"memory", "redis", "none"}[t] }

// Why a fetched answer that could be stored was not.
const (
	RefusedLost   = "lost"   // purged, taken over, evicted, or overtaken by a newer one
	RefusedLapsed = "lapsed" // it came after its lease
	RefusedEpoch  = "epoch"  // the partner, or all, were purged meanwhile
)

var (
	uncacheableReasons = []string{"status", "id_mismatch", "no_store", "private", "vary", "encoded", "authorization", "set_cookie", "not_json", "no_freshness"}
	refusedReasons     = []string{RefusedLost, RefusedLapsed, RefusedEpoch}
	causes             = []string{"purge", "write", "auth"}
	upstreamReasons    = []string{"timeout", "connect", "tls", "status_5xx", "status_429", "too_large", "malformed"}
	statusClasses      = [...]string{"2xx", "3xx", "4xx", "5xx"}
)

// class is the index of a status in statusClasses.
func class(status int) int { return min(max(status/100-2, 0), len(statusClasses)-1) }

// Partner holds the counters that bear one partner's name, resolved once.
type Partner struct {
	Name     string
	requests [nRoutes][len(statusClasses)]prometheus.Counter
	upstream [len(statusClasses) + 1]prometheus.Counter // the last: error
}

// Partner resolves the counters of one partner: a configured name, Unlisted or None. Call it once for each, not per request.
func (m *Metrics) Partner(name string) *Partner {
	p := &Partner{Name: name}
	for i, code := range statusClasses {
		for route := range nRoutes {
			p.requests[route][i] = m.requests.WithLabelValues(route.String(), code, name)
		}
		p.upstream[i] = m.upstream.WithLabelValues(code, name)
	}
	p.upstream[len(statusClasses)] = m.upstream.WithLabelValues("error", name)
	return p
}

// ProspectRequest counts one answered request of the route prospect.
func (m *Metrics) ProspectRequest(p *Partner, status int, result Result, tier Tier, took time.Duration) {
	p.requests[Prospect][class(status)].Inc()
	m.cacheRequests[result][tier].Inc()
	m.duration[Prospect][result].Observe(took.Seconds())
}

// ForwardedRequest counts one answered request of the route forwarded.
func (m *Metrics) ForwardedRequest(p *Partner, status int, took time.Duration) {
	p.requests[Forwarded][class(status)].Inc()
	m.duration[Forwarded][resultForwarded].Observe(took.Seconds())
}

// ServedAge records the age of an answer served from cache.
func (m *Metrics) ServedAge(age time.Duration) { m.servedAge.Observe(age.Seconds()) }

// Uncacheable counts an upstream answer that was not stored; reason is one of the closed set.
func (m *Metrics) Uncacheable(reason string) { m.uncacheable.WithLabelValues(reason).Inc() }

// FillRefused counts an answer that was refused when it came to be stored.
func (m *Metrics) FillRefused(reason string) { m.fillsRefused.WithLabelValues(reason).Inc() }

// Invalidated counts one invalidation; cause is purge, write or auth.
func (m *Metrics) Invalidated(cause string) { m.invalidations.WithLabelValues(cause).Inc() }

// Unreadable counts one record that did not open or decode.
func (m *Metrics) Unreadable() { m.unreadable.Inc() }

// Evicted counts one entry dropped from memory to stay within its bound.
func (m *Metrics) Evicted() { m.evictions.Inc() }

// UpstreamBegin counts an upstream request as in flight until the function it returns is called, once,
// with the status that came (0: no whole answer) and the reason for which it counts as an error ("": none).
func (m *Metrics) UpstreamBegin(p *Partner) (end func(status int, reason string)) {
	began := time.Now()
	m.upstreamBusy.Inc()
	return func(status int, reason string) {
		m.upstreamBusy.Dec()
		m.upstreamSeconds.Observe(time.Since(began).Seconds())
		if status == 0 {
			p.upstream[len(statusClasses)].Inc()
		} else {
			p.upstream[class(status)].Inc()
		}
		if reason != "" {
			m.upstreamErrors.WithLabelValues(reason).Inc()
		}
	}
}
