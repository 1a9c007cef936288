package knock

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"knockproxy/metrics"
	"knockproxy/proxy/knock/knocktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a client and what it counts.
type rig struct {
	*Client
	reg     *prometheus.Registry
	partner *metrics.Partner
}

func newRig(t testing.TB, base string, o Options) *rig {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	o.URL, o.Metrics = u, metrics.New(reg)
	r := &rig{Client: NewClient(o), reg: reg, partner: o.Metrics.Partner("acme")}
	t.Cleanup(r.Close)
	return r
}

func (r *rig) read(ctx context.Context, id string) (*Answer, error) {
	return r.Prospect(ctx, Query{ID: id, Key: "upstream-key", Partner: r.partner})
}

// mustRead is an answer that came whole.
func (r *rig) mustRead(t testing.TB, id string) *Answer {
	t.Helper()
	a, err := r.read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// counted is all that was counted of the upstream and is not zero: "2xx=1 status_429=1", reasons last. Every exchange must
// have been timed, and none may be left in flight.
func (r *rig) counted(t testing.TB) string {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var requests, reasons []string
	var began, timed float64
	for _, family := range families {
		for _, m := range family.GetMetric() {
			n := m.GetCounter().GetValue()
			labels := make(map[string]string)
			for _, label := range m.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			switch family.GetName() {
			case "knockproxy_upstream_requests_total":
				if began += n; n > 0 {
					requests = append(requests, fmt.Sprintf("%s=%v", labels["code"], n))
				}
			case "knockproxy_upstream_errors_total":
				if n > 0 {
					reasons = append(reasons, fmt.Sprintf("%s=%v", labels["reason"], n))
				}
			case "knockproxy_upstream_duration_seconds":
				timed += float64(m.GetHistogram().GetSampleCount())
			case "knockproxy_upstream_in_flight_requests":
				if inFlight := m.GetGauge().GetValue(); inFlight != 0 {
					t.Errorf("%v requests are still in flight", inFlight)
				}
			}
		}
	}
	if began != timed {
		t.Errorf("%v requests, but %v durations", began, timed)
	}
	return strings.Join(append(requests, reasons...), " ")
}

func (r *rig) wantCounted(t testing.TB, want string) {
	t.Helper()
	if got := r.counted(t); got != want {
		t.Errorf("counted %q, want %q", got, want)
	}
}

func wantFault(t testing.TB, err error, want Fault) {
	t.Helper()
	var failed *Error
	if !errors.As(err, &failed) || failed.Fault != want {
		t.Fatalf("got %T %v, want %s", err, err, want)
	}
}

func TestProspect(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	r := newRig(t, up.URL, Options{})
	before := time.Now()
	a := r.mustRead(t, knocktest.ArticleID)
	if a.Status != 200 || a.Class != Answered || a.Fields != (Fields{Object: true, NoConsent: true, IDs: IDSame}) {
		t.Errorf("got %d, class %d, %+v", a.Status, a.Class, a.Fields)
	}
	if !bytes.Contains(a.Body, []byte(`"prospectId":"`+knocktest.ArticleID+`"`)) || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s, %v", a.Body, a.Header)
	}
	if a.Sent.Before(before) || a.Received.Before(a.Sent) || time.Now().Before(a.Received) {
		t.Errorf("sent %s, received %s", a.Sent, a.Received)
	}
	r.wantCounted(t, "2xx=1")
}

// TestWhatTheUpstreamSees: a GET of the id with our key, of nobody in particular.
func TestWhatTheUpstreamSees(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	r := newRig(t, up.URL+"/v1/", Options{})
	header := headerOf(t, "x-api-key: token", "Cookie: a=b", `If-None-Match: "a"`, "Range: bytes=0-1", "X-Forwarded-For: x", "Accept-Encoding: gzip", "Content-Length: 5", "X-Trace: 1")
	if _, err := r.Prospect(t.Context(), Query{ID: "42", Key: "upstream-key", Header: header, Partner: r.partner}); err != nil {
		t.Fatal(err)
	}
	got := up.Last()
	if got.Method != http.MethodGet || got.Path != "/v1/prospect/42" || len(got.Body) != 0 {
		t.Errorf("got %s %s with %q", got.Method, got.Path, got.Body)
	}
	want := headerOf(t, "x-api-key: upstream-key", "Accept-Encoding: identity", "X-Trace: 1")
	for name, values := range got.Header {
		if !slices.Equal(values, want[name]) {
			t.Errorf("%s: %q, want %q", name, values, want[name])
		}
	}
	if len(got.Header) != len(want) {
		t.Errorf("got %v, want %v", got.Header, want)
	}
}

// TestAnswersAreRelayed: nothing is followed, decoded or taken for a failure that came whole.
func TestAnswersAreRelayed(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte("{}"))
	_ = z.Close()
	for _, test := range []struct {
		name    string
		fault   knocktest.Fault
		status  int
		body    string // if empty, any
		class   Class
		counted string
	}{
		{"a redirect is not followed", knocktest.Raw(knocktest.Answer{Status: 302, Header: http.Header{"Location": {"/prospect/43"}}, Body: []byte("moved")}), 302, "moved", Answered, "3xx=1"},
		{"a permanent one neither", knocktest.Raw(knocktest.Answer{Status: 308, Header: http.Header{"Location": {"/prospect/43"}}}), 308, "", Answered, "3xx=1"},
		{"gzip is not decoded", knocktest.Raw(knocktest.Answer{Status: 200, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: zipped.Bytes()}), 200, zipped.String(), Answered, "2xx=1"},
		{"204", knocktest.Raw(knocktest.Answer{Status: 204}), 204, "", Answered, "2xx=1"},
		{"304, unasked", knocktest.Raw(knocktest.Answer{Status: 304}), 304, "", Answered, "3xx=1"},
		{"broken JSON", knocktest.InvalidJSON(), 200, "", Answered, "2xx=1"},
		{"404 of a server", knocktest.Raw(knocktest.Answer{Status: 404, Body: []byte("nope")}), 404, "nope", Answered, "4xx=1"},
		{"does not exist", knocktest.DoesNotExist(404), 404, "", NotExist, "4xx=1"},
		{"does not exist, as a 500, is no error", knocktest.DoesNotExist(500), 500, "", NotExist, "5xx=1"},
		{"the gateway's 403", knocktest.Forbidden(), 403, `{"message":"Forbidden"}`, KeyRefused, "4xx=1"},
		{"another 403", knocktest.Status(403), 403, "", ProspectDenied, "4xx=1"},
		{"401", knocktest.Status(401), 401, "", KeyRefused, "4xx=1"},
		{"429", knocktest.TooManyRequests(0), 429, "", Throttled, "4xx=1 status_429=1"},
		{"a quota", knocktest.LimitExceeded(), 429, "", Throttled, "4xx=1 status_429=1"},
		{"500", knocktest.Status(500), 500, "", Failed, "5xx=1 status_5xx=1"},
		{"503", knocktest.Status(503), 503, "", Failed, "5xx=1 status_5xx=1"},
		{"the gateway's 504", knocktest.GatewayTimeout(), 504, "", Failed, "5xx=1 status_5xx=1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := knocktest.Start(t, knocktest.Options{})
			up.Always("42", test.fault)
			r := newRig(t, up.URL, Options{})
			a := r.mustRead(t, "42")
			if a.Status != test.status || a.Class != test.class || test.body != "" && string(a.Body) != test.body {
				t.Errorf("got %d, class %d, %q", a.Status, a.Class, a.Body)
			}
			r.wantCounted(t, test.counted)
			if n := up.Count(); n != 1 {
				t.Errorf("the upstream was asked %d times", n)
			}
		})
	}
}

func TestHopByHopHeadersAreRemoved(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	up.Always("42", knocktest.Header("Connection", "x-hop"), knocktest.Header("X-Hop", "1"), knocktest.Header("Keep-Alive", "timeout=5"), knocktest.Header("X-End", "1"))
	h := newRig(t, up.URL, Options{}).mustRead(t, "42").Header
	if h["Connection"] != nil || h["X-Hop"] != nil || h["Keep-Alive"] != nil || h["X-End"] == nil {
		t.Errorf("got %v", h)
	}
}

// TestMaxBody: the bound is inclusive, whether the upstream tells the length or not.
func TestMaxBody(t *testing.T) {
	const bound = 2000
	for _, test := range []struct {
		name   string
		length int
		faults []knocktest.Fault
		large  bool
	}{
		{"as large as allowed", bound, nil, false},
		{"as large as allowed, length not told", bound, []knocktest.Fault{knocktest.Chunked()}, false},
		{"one byte more", bound + 1, nil, true},
		{"one byte more, length not told", bound + 1, []knocktest.Fault{knocktest.Chunked()}, true},
		{"far more", 1 << 20, nil, true},
		{"far more, length not told", 1 << 20, []knocktest.Fault{knocktest.Chunked()}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := knocktest.Start(t, knocktest.Options{})
			up.Always("42", append(test.faults, knocktest.LongBody(test.length))...)
			r := newRig(t, up.URL, Options{MaxBody: bound})
			if !test.large {
				if a := r.mustRead(t, "42"); len(a.Body) != test.length || cap(a.Body) > test.length+test.length/4 {
					t.Errorf("got %d bytes in %d", len(a.Body), cap(a.Body))
				}
				return
			}
			_, err := r.read(t.Context(), "42")
			wantFault(t, err, FaultTooLarge)
			r.wantCounted(t, "error=1 too_large=1")
		})
	}
}

// TestCallerLeaves: what a caller gives up is no error of the upstream's, whatever it waited for.
func TestCallerLeaves(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		leave()
		r := newRig(t, knocktest.Start(t, knocktest.Options{}).URL, Options{})
		_, err := r.read(ctx, "42")
		wantFault(t, err, FaultAbandoned)
		r.wantCounted(t, "error=1")
	})
	t.Run("while the upstream thinks", func(t *testing.T) {
		up := knocktest.Start(t, knocktest.Options{})
		gate := up.Gate("42")
		ctx, leave := context.WithCancel(t.Context())
		go func() { gate.Wait(1); leave() }()
		r := newRig(t, up.URL, Options{})
		_, err := r.read(ctx, "42")
		wantFault(t, err, FaultAbandoned)
		r.wantCounted(t, "error=1")
	})
	t.Run("in the body", func(t *testing.T) {
		up := knocktest.Start(t, knocktest.Options{})
		up.Always("42", knocktest.HangBody(5))
		ctx, leave := context.WithCancel(t.Context())
		r := newRig(t, up.URL, Options{})
		_, err := r.read(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: leave}), "42")
		wantFault(t, err, FaultAbandoned)
		r.wantCounted(t, "error=1")
	})
	t.Run("out of time", func(t *testing.T) { // its patience is the configured one: that is the upstream's fault
		up := knocktest.Start(t, knocktest.Options{})
		up.Always("42", knocktest.Hang())
		ctx, leave := context.WithTimeout(t.Context(), brief)
		defer leave()
		r := newRig(t, up.URL, Options{})
		_, err := r.read(ctx, "42")
		wantFault(t, err, FaultResponseTimeout)
		r.wantCounted(t, "error=1 timeout=1")
	})
}

// TestConnectionsAreKept: an answer is read to its end, so that the next request finds the connection idle.
func TestConnectionsAreKept(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	r := newRig(t, up.URL, Options{})
	reused := make([]bool, 0, 4)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { reused = append(reused, got.Reused) }})
	for _, fault := range []knocktest.Fault{{}, knocktest.Status(503), knocktest.Chunked(), knocktest.Status(204)} {
		up.Next("42", fault)
		if _, err := r.read(ctx, "42"); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(reused, []bool{false, true, true, true}) {
		t.Errorf("reused: %v", reused)
	}
}

func (r *rig) forward(t testing.TB, method, path, body string) (*http.Response, error) {
	t.Helper()
	in, err := url.ParseRequestURI(path)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.Target(in).String(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(KeyHeader, "upstream-key")
	return r.Forward(req, r.partner)
}

// TestForward: a forwarded request goes on as it is, and counts when its answer's headers are there.
func TestForward(t *testing.T) {
	t.Run("a write", func(t *testing.T) {
		up := knocktest.Start(t, knocktest.Options{})
		r := newRig(t, up.URL, Options{MaxBody: 1})
		res, err := r.forward(t, http.MethodPost, "/prospect/", `{"firstName":"A"}`)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if _ = res.Body.Close(); err != nil || res.StatusCode != 200 || len(body) == 0 {
			t.Errorf("got %d %q %v", res.StatusCode, body, err)
		}
		if got := up.Last(); got.Method != http.MethodPost || got.Path != "/prospect/" || string(got.Body) != `{"firstName":"A"}` {
			t.Errorf("the upstream saw %s %s %s", got.Method, got.Path, got.Body)
		}
		r.wantCounted(t, "2xx=1")
	})
	t.Run("a redirect is not followed", func(t *testing.T) {
		up := knocktest.Start(t, knocktest.Options{})
		up.Always(knocktest.All, knocktest.Raw(knocktest.Answer{Status: 307, Header: http.Header{"Location": {"/prospect/43"}}}))
		r := newRig(t, up.URL, Options{})
		res, err := r.forward(t, http.MethodGet, "/x?y=1", "")
		if err != nil || res.StatusCode != 307 || up.Count() != 1 {
			t.Fatalf("got %v %v, asked %d times", res, err, up.Count())
		}
		_ = res.Body.Close()
		r.wantCounted(t, "3xx=1")
	})
	t.Run("does not exist counts by its status", func(t *testing.T) { // the body is the caller's
		up := knocktest.Start(t, knocktest.Options{})
		up.Always(knocktest.All, knocktest.DoesNotExist(500))
		r := newRig(t, up.URL, Options{})
		res, err := r.forward(t, http.MethodGet, "/prospect/42/events", "")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		r.wantCounted(t, "5xx=1 status_5xx=1")
	})
	t.Run("a reset", func(t *testing.T) {
		up := knocktest.Start(t, knocktest.Options{})
		up.Always(knocktest.All, knocktest.ConnectionReset())
		r := newRig(t, up.URL, Options{})
		_, err := r.forward(t, http.MethodPost, "/prospect", "{}")
		wantFault(t, err, FaultTerminated)
		r.wantCounted(t, "error=1 connect=1")
	})
}
