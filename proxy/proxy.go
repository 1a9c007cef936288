package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"runtime/debug"
	"strings"
	"time"

	"knockproxy/cache"
	"knockproxy/metrics"
	"knockproxy/proxy/knock"
	"knockproxy/proxy/policy"
)

// Access tells which requests get a log line.
type Access uint8

// The choices of log.access.
const (
	AccessMisses Access = iota // all but plain hits
	AccessAll
	AccessOff
)

// Options of a proxy. Client, Cache and Metrics are required.
type Options struct {
	Client         *knock.Client
	Cache          *cache.Cache[*policy.Answer]
	Caps           policy.Caps
	Secret         string // keys the partitions; if empty, a random one of this process
	Partners       []Partner
	AllowUnlisted  bool          // keys that are no partner's token pass through
	ForwardTimeout time.Duration // to the headers of a forwarded request's answer; if zero, 35 s
	Metrics        *metrics.Metrics
	Log            *slog.Logger // if nil, nothing is logged
	Access         Access
}

// Proxy is the public handler.
type Proxy struct {
	client         *knock.Client
	cache          *cache.Cache[*policy.Answer]
	caps           policy.Caps
	keys           *keyring
	ids            *requestIDs
	forwarder      *httputil.ReverseProxy
	forwardTimeout time.Duration
	metrics        *metrics.Metrics
	log            *slog.Logger
	access         Access
}

// New makes the public handler.
func New(o Options) (*Proxy, error) {
	keys, err := newKeyring(&o)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		client: o.Client, cache: o.Cache, caps: o.Caps, keys: keys, ids: newRequestIDs(),
		forwardTimeout: o.ForwardTimeout, metrics: o.Metrics, log: o.Log, access: o.Access,
	}
	if p.forwardTimeout == 0 {
		p.forwardTimeout = 35 * time.Second
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.forwarder = p.newForwarder()
	return p, nil
}

// outcome is what became of a request: its metrics and its log line.
type outcome struct {
	route   metrics.Route
	result  metrics.Result // of the route prospect
	tier    metrics.Tier
	partner *metrics.Partner
	status  int
	bytes   int64
	id      string // of the prospect, where it is one
	detail  string // our member of Cache-Status; "" for a hit
	fault   error  // why there was no better answer
	broken  bool   // the answer broke off: its connection must end with it
}

// statusLeft is counted where the client left before there was an answer; it is sent to nobody.
const statusLeft = 499

// ServeHTTP routes by the escaped path: %2F is no slash. GET and HEAD of /prospect/{one segment} are read through the
// cache, everything else is forwarded. (No ServeMux: it would redirect // and .. that are the upstream's to judge.)
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	requestID := p.ids.of(r.Header)
	defer p.surviveRoute(r, start)
	id, refused := p.keys.identify(r.Header)
	segment, isProspect := prospectSegment(r)
	var o outcome
	switch {
	case isProspect:
		o = p.prospect(w, r, id, refused, segment, start, requestID)
	case refused != nil:
		o = p.refuse(w, r, refused, requestID)
	case id == nil && !p.keys.allowUnlisted:
		o = p.refuse(w, r, keyMissing, requestID)
	case notForwarded(r):
		o = p.refuse(w, r, notOffered, requestID)
	default:
		o = p.forward(w, r, id, requestID)
	}
	if !isProspect {
		o.route = metrics.Forwarded
	}
	o.partner = p.keys.labels(id, r.Header)
	p.account(r, &o, requestID, time.Since(start))
	if o.broken {
		panic(http.ErrAbortHandler) // so that the client sees a broken answer too
	}
}

// prospectSegment is what follows /prospect/ where that is one segment, of GET and HEAD.
func prospectSegment(r *http.Request) (segment string, ok bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "", false
	}
	path := r.URL.RawPath // as it came, though it be no valid encoding: EscapedPath would make another one then
	if path == "" {
		path = r.URL.EscapedPath()
	}
	segment, ok = strings.CutPrefix(path, "/prospect/")
	return segment, ok && strings.IndexByte(segment, '/') < 0
}

// prospect answers a request of the route prospect: the key is judged first, then the id, then what bypasses the cache.
func (p *Proxy) prospect(w http.ResponseWriter, r *http.Request, id *identity, refused *problem, segment string, now time.Time, requestID []string) outcome {
	if refused == nil && id == nil {
		refused = keyMissing
	}
	if refused != nil {
		return p.refuse(w, r, refused, requestID)
	}
	prospect, form := knock.ParseID(segment)
	switch {
	case form == knock.IDMalformed:
		return p.refuse(w, r, malformedID(segment), requestID)
	case notForwarded(r):
		return p.refuse(w, r, notOffered, requestID)
	case form == knock.IDOdd || bypasses(r):
		o := p.forward(w, r, id, requestID)
		o.id = prospect
		return o
	}
	o := p.read(w, r, id, prospect, now, requestID)
	o.id = prospect
	return o
}

// bypasses tells that a prospect read is none that the cache can answer: it asks for more, or with conditions on what the
// upstream holds.
func bypasses(r *http.Request) bool {
	return r.URL.RawQuery != "" || r.URL.ForceQuery || r.ContentLength != 0 ||
		len(r.Header["If-Match"]) > 0 || len(r.Header["If-Unmodified-Since"]) > 0
}

// account counts a request and writes its line.
func (p *Proxy) account(r *http.Request, o *outcome, requestID []string, took time.Duration) {
	if o.route == metrics.Prospect {
		p.metrics.ProspectRequest(o.partner, o.status, o.result, o.tier, took)
	} else {
		p.metrics.ForwardedRequest(o.partner, o.status, took)
	}
	if p.access == AccessOff || p.access == AccessMisses && o.route == metrics.Prospect && o.result == metrics.Hit {
		return
	}
	p.logRequest(r.Context(), r.Method, o, requestID[0], took)
}

// logRequest writes one line a request. No key, no header, no path and nothing of a body is in it; the id is.
func (p *Proxy) logRequest(ctx context.Context, method string, o *outcome, requestID string, took time.Duration) {
	if !p.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String("method", loggedMethod(method)), slog.String("route", o.route.String()))
	if o.route == metrics.Prospect {
		attrs = append(attrs, slog.String("result", o.result.String()), slog.String("tier", o.tier.String()))
		if o.result != metrics.Rejected {
			attrs = append(attrs, slog.String("prospect", o.id))
		}
	}
	attrs = append(attrs, slog.Int("status", o.status), slog.String("partner", o.partner.Name),
		slog.Float64("seconds", took.Seconds()), slog.Int64("bytes", o.bytes), slog.String("request_id", requestID))
	if o.detail != "" {
		attrs = append(attrs, slog.String("cache_status", o.detail))
	}
	if o.fault != nil {
		attrs = append(attrs, slog.String("fault", o.fault.Error()))
	}
	p.log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
}

// loggedMethod keeps what a client invents out of the log.
func loggedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}

// surviveRoute counts and logs a request whose handling panicked, and ends its connection: half an answer may be out.
func (p *Proxy) surviveRoute(r *http.Request, start time.Time) {
	v := recover()
	if v == nil {
		return
	}
	if v != http.ErrAbortHandler { //nolint:errorlint // this very value, by net/http's documentation
		// The type only: a value may quote what was being handled.
		p.log.Error("panic", "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
		o := outcome{status: http.StatusInternalServerError, result: metrics.Error, tier: metrics.TierNone, partner: p.keys.labels(nil, r.Header)}
		if _, isProspect := prospectSegment(r); !isProspect {
			o.route = metrics.Forwarded
		}
		p.account(r, &o, []string{""}, time.Since(start))
	}
	panic(http.ErrAbortHandler)
}

// PartnerScope is the scope whose purge empties a configured partner's partition; false: there is no such partner.
func (p *Proxy) PartnerScope(name string) (scope string, ok bool) {
	scope, ok = p.keys.byName[name]
	return scope, ok
}
