package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Redis holds the metrics of the tier that replicas share: they exist only where there is one.
type Redis struct {
	f        promauto.Factory
	up       prometheus.Gauge
	breaker  prometheus.Gauge
	errors   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	waits    *prometheus.CounterVec
	waited   prometheus.Histogram
}

// PoolStats are those of the client's connections.
type PoolStats struct{ Hits, Misses, Timeouts, Total, Idle, Stale uint32 }

// How a wait for another replica's fetch ended.
const (
	WaitFilled   = "filled"   // with its answer
	WaitTakeover = "takeover" // its lease lapsed, and this replica took it
	WaitGaveUp   = "gave_up"  // the time was up, and this replica asked alone
	WaitFailed   = "failed"   // with its failure
)

var (
	redisOps  = []string{"get", "epochs", "acquire", "renew", "put", "fail", "drop", "probe"}
	waitEnds  = []string{WaitFilled, WaitTakeover, WaitGaveUp, WaitFailed}
	redisTime = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1}
)

// WithRedis registers the metrics of the shared tier.
func (m *Metrics) WithRedis() *Redis {
	f := promauto.With(m.reg)
	r := &Redis{
		f:        f,
		up:       f.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "redis_up", Help: "Whether Redis is in use (1) or left alone because it failed (0)."}),
		errors:   f.NewCounterVec(counter("redis_errors_total", "Redis operations that failed."), []string{"op"}),
		duration: f.NewHistogramVec(histogram("redis_duration_seconds", "Time of a Redis operation.", redisTime), []string{"op"}),
		waits:    f.NewCounterVec(counter("lease_waits_total", "Waits for a fetch that another replica had begun, by how they ended."), []string{"outcome"}),
		waited:   f.NewHistogram(histogram("lease_wait_seconds", "Time of a wait for another replica's fetch.", upstreamBuckets)),
	}
	r.breaker = f.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "breaker_state", Help: "0 closed, 1 half-open, 2 open."},
		[]string{"target"}).WithLabelValues("redis")
	for _, op := range redisOps {
		r.errors.WithLabelValues(op)
		r.duration.WithLabelValues(op)
	}
	for _, end := range waitEnds {
		r.waits.WithLabelValues(end)
	}
	return r
}

// Up tells whether Redis is in use.
func (r *Redis) Up(up bool) {
	r.up.Set(0)
	if up {
		r.up.Set(1)
	}
}

// Breaker sets the state of the breaker: 0 closed, 1 half-open, 2 open.
func (r *Redis) Breaker(state int) { r.breaker.Set(float64(state)) }

// Operation records one operation's time.
func (r *Redis) Operation(op string, took time.Duration) {
	r.duration.WithLabelValues(op).Observe(took.Seconds())
}

// Failed counts one operation that failed.
func (r *Redis) Failed(op string) { r.errors.WithLabelValues(op).Inc() }

// Waited records the end of a wait for another replica.
func (r *Redis) Waited(outcome string, took time.Duration) {
	r.waits.WithLabelValues(outcome).Inc()
	r.waited.Observe(took.Seconds())
}

// Clock exports how far Redis's clock is ahead of this process's; the function is called at each scrape.
func (r *Redis) Clock(ahead func() time.Duration) {
	r.f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: "redis_clock_offset_seconds", Help: "How far Redis's clock is ahead of this process's, as last measured."},
		func() float64 { return ahead().Seconds() })
}

// Pool exports the client's connections; the function is called at each scrape.
func (r *Redis) Pool(stats func() PoolStats) {
	for _, c := range []struct {
		name, help string
		of         func(PoolStats) uint32
	}{
		{"redis_pool_hits_total", "Times a connection was found in the pool.", func(s PoolStats) uint32 { return s.Hits }},
		{"redis_pool_misses_total", "Times a connection had to be made.", func(s PoolStats) uint32 { return s.Misses }},
		{"redis_pool_timeouts_total", "Times no connection was to be had in time.", func(s PoolStats) uint32 { return s.Timeouts }},
		{"redis_pool_stale_connections_total", "Connections removed since they were stale.", func(s PoolStats) uint32 { return s.Stale }},
	} {
		r.f.NewCounterFunc(counter(c.name, c.help), func() float64 { return float64(c.of(stats())) })
	}
	r.f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: "redis_pool_connections", Help: "Connections in the pool."},
		func() float64 { return float64(stats().Total) })
	r.f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: "redis_pool_idle_connections", Help: "Idle connections in the pool."},
		func() float64 { return float64(stats().Idle) })
}
