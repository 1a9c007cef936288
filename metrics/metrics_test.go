package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

var update = flag.Bool("update", false, "write testdata/names.golden anew")

// all is a registry with everything in it, and something counted in each.
func all() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	m := New(reg)
	m.Describe("1.2.3", "abc", "go1", "00ff")
	r := m.WithRedis()
	r.Up(true)
	r.Breaker(0)
	r.Clock(func() time.Duration { return time.Second })
	r.Pool(func() PoolStats { return PoolStats{Hits: 1} })
	r.Operation("get", time.Millisecond)
	r.Failed("get")
	r.Waited(WaitFilled, time.Second)
	m.Unreadable()
	m.Memory(func() int { return 1 }, func() uint64 { return 900 })
	for _, name := range []string{"acme", Unlisted, None} {
		p := m.Partner(name)
		m.ProspectRequest(p, 200, Hit, TierMemory, time.Millisecond)
		m.ForwardedRequest(p, 599, time.Millisecond)
		m.UpstreamBegin(p)(200, "")
		m.UpstreamBegin(p)(0, "timeout")
	}
	m.ServedAge(time.Second)
	m.Uncacheable("no_store")
	m.FillRefused(RefusedLost)
	m.Invalidated("purge")
	m.Evicted()
	return reg
}

// TestNames holds the exposed names, types and label values: a change of one breaks dashboards and alerts. With -update
// it writes them anew.
func TestNames(t *testing.T) {
	const golden = "testdata/names.golden"
	families, err := all().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), namespace) {
			continue
		}
		fmt.Fprintf(&b, "%s %s\n", f.GetName(), strings.ToLower(f.GetType().String()))
		var series []string
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			if len(labels) > 0 {
				series = append(series, "  "+strings.Join(labels, " ")+"\n")
			}
		}
		slices.Sort(series)
		b.WriteString(strings.Join(series, ""))
	}
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the metrics changed: compare, and if it is meant run go test ./metrics -update\n%s", b.String())
	}
}

// TestPromtoolIsSilent: names, help and units are as Prometheus wants them.
func TestPromtoolIsSilent(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("KNOCKPROXY_TEST_REQUIRE") == "all" {
			t.Fatal("promtool is not installed")
		}
		t.Skip("promtool is not installed: the exposition is not checked")
	}
	server := httptest.NewServer(promhttp.HandlerFor(all(), promhttp.HandlerOpts{}))
	defer server.Close()
	res, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	exposition, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	check := exec.Command(path, "check", "metrics")
	check.Stdin = bytes.NewReader(exposition)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// TestHotPathDoesNotAllocate: what a hit counts costs no allocation.
func TestHotPathDoesNotAllocate(t *testing.T) {
	m := New(prometheus.NewRegistry())
	p := m.Partner("acme")
	if n := testing.AllocsPerRun(1000, func() {
		m.ProspectRequest(p, 200, Hit, TierMemory, time.Millisecond)
		m.ServedAge(time.Second)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
