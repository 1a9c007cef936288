// Package metrics names every metric of the proxy: its name, help, labels and the closed set of values each label can take.
//
// A rename here breaks dashboards and alerts. No label ever holds an id, a path, a key or anything a client sent.
// All series exist from the start, at zero, so that a rate over them is defined before the first event.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Partner labels for requests that belong to no configured partner. They are reserved: no partner can be named so.
const (
	Unlisted = "unlisted" // a key that is no partner's token
	None     = "none"     // no key at all
)

// Metrics holds every metric, registered.
type Metrics struct {
	reg prometheus.Registerer

	requests        *prometheus.CounterVec
	duration        [nRoutes][nResults]prometheus.Observer
	cacheRequests   [nResults][nTiers]prometheus.Counter
	servedAge       prometheus.Histogram
	uncacheable     *prometheus.CounterVec
	fillsRefused    *prometheus.CounterVec
	invalidations   *prometheus.CounterVec
	upstream        *prometheus.CounterVec
	upstreamErrors  *prometheus.CounterVec
	upstreamSeconds prometheus.Histogram
	upstreamBusy    prometheus.Gauge
	evictions       prometheus.Counter
	unreadable      prometheus.Counter
}

// requestBuckets reach from a memory hit to the time-out of a forwarded request, in seconds.
var requestBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// upstreamBuckets reach from a near upstream to the gateway's own time-out of 29 s, in seconds.
var upstreamBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 3, 5, 8, 15, 30}

// ageBuckets reach over the freshness lifetimes and stale windows that can be configured, in seconds.
var ageBuckets = []float64{.1, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600}

// New registers all metrics of the proxy with reg, and Go's own and the process's.
func New(reg prometheus.Registerer) *Metrics {
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f := promauto.With(reg)
	m := &Metrics{
		reg:             reg,
		requests:        f.NewCounterVec(counter("requests_total", "Requests answered on the public listener."), []string{"route", "code", "partner"}),
		servedAge:       f.NewHistogram(histogram("cache_served_age_seconds", "Age of the answers served from cache.", ageBuckets)),
		uncacheable:     f.NewCounterVec(counter("cache_uncacheable_total", "Upstream answers to prospect reads that were not stored, by the first reason that applied."), []string{"reason"}),
		fillsRefused:    f.NewCounterVec(counter("cache_fills_refused_total", "Answers fetched to be stored that were refused; lost: purged, taken over or overtaken meanwhile."), []string{"reason"}),
		invalidations:   f.NewCounterVec(counter("cache_invalidations_total", "Invalidations, by what caused them; auth: the upstream refused the key."), []string{"cause"}),
		upstream:        f.NewCounterVec(counter("upstream_requests_total", "Requests sent to the upstream, by status class; error: no whole answer came."), []string{"code", "partner"}),
		upstreamErrors:  f.NewCounterVec(counter("upstream_errors_total", "Upstream requests that went wrong, by reason."), []string{"reason"}),
		upstreamSeconds: f.NewHistogram(histogram("upstream_duration_seconds", "Time to the upstream's whole answer (prospect reads) or to its headers (forwarded requests).", upstreamBuckets)),
		upstreamBusy:    f.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "upstream_in_flight_requests", Help: "Upstream requests in flight; a forwarded one counts until its answer's headers."}),
		evictions:       f.NewCounter(counter("cache_memory_evictions_total", "Entries dropped from memory to stay within its bound.")),
		unreadable:      f.NewCounter(counter("cache_records_unreadable_total", "Records found in Redis that did not open or decode.")),
	}
	m.touch(f)
	return m
}

// touch makes every series of a closed label set, so that zeros show.
func (m *Metrics) touch(f promauto.Factory) {
	duration := f.NewHistogramVec(histogram("request_duration_seconds", "Time to answer a request, to the last byte of the answer.", requestBuckets), []string{"route", "result"})
	cacheRequests := f.NewCounterVec(counter("cache_requests_total", "Requests of the route prospect, by how the cache answered them and from which tier."), []string{"result", "tier"})
	for result := range nResults {
		route := Prospect
		if result == resultForwarded {
			route = Forwarded
		}
		m.duration[route][result] = duration.WithLabelValues(route.String(), result.String())
	}
	for result := range resultForwarded {
		for tier := range nTiers {
			m.cacheRequests[result][tier] = cacheRequests.WithLabelValues(result.String(), tier.String())
		}
	}
	for _, v := range []struct {
		vec    *prometheus.CounterVec
		values []string
	}{{m.uncacheable, uncacheableReasons}, {m.fillsRefused, refusedReasons}, {m.invalidations, causes}, {m.upstreamErrors, upstreamReasons}} {
		for _, value := range v.values {
			v.vec.WithLabelValues(value)
		}
	}
}

// Describe exports the constant facts of this process: what was built, and the sha256 of the effective configuration in hex.
func (m *Metrics) Describe(version, revision, goVersion, configSHA256 string) {
	f := promauto.With(m.reg)
	f.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "What was built: always 1."},
		[]string{"version", "revision", "goversion"}).WithLabelValues(version, revision, goVersion).Set(1)
	f.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "config_info", Help: "The sha256 of the effective configuration as the check command prints it: always 1."},
		[]string{"sha256"}).WithLabelValues(configSHA256).Set(1)
}

// Memory exports the size of the memory tier; both functions are called at each scrape.
func (m *Metrics) Memory(entries func() int, bytes func() uint64) {
	f := promauto.With(m.reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: "cache_memory_entries", Help: "Entries held in memory."},
		func() float64 { return float64(entries()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: "cache_memory_bytes", Help: "Bytes held in memory, keys and overhead counted."},
		func() float64 { return float64(bytes()) })
}

const namespace = "knockproxy"

func counter(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}
}

// histogram is classic and native at once: a Prometheus that reads native histograms gets those, any other the buckets.
func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
	}
}
