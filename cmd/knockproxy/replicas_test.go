package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"knockproxy/cache/cachetest"
	"knockproxy/proxy/knock/knocktest"
)

const replicaSecret = "SECRET-MARKER of thirty-two bytes or more"

// startReplicas starts n proxies on one Redis and one stand-in.
func startReplicas(t *testing.T, n int, b *cachetest.Backend, up *knocktest.Server, env ...string) []*process {
	t.Helper()
	var replicas []*process
	for range n {
		replicas = append(replicas, startProcess(t, slices.Concat([]string{
			"KNOCKPROXY_SERVER_LISTEN=127.0.0.1:0", "KNOCKPROXY_ADMIN_LISTEN=127.0.0.1:0", "KNOCKPROXY_UPSTREAM_URL=" + up.URL,
			"KNOCKPROXY_CACHE_REDIS_URL=" + b.URL, "KNOCKPROXY_CACHE_SECRET=" + replicaSecret, "KNOCKPROXY_ADMIN_TOKEN=t",
		}, env), "serve"))
	}
	return replicas
}

// clientReply is one answer, and how long it took.
type clientReply struct {
	status int
	header http.Header
	body   string
	took   time.Duration
	err    error
}

func (p *process) get(path, key string) (r clientReply) {
	return p.send(http.MethodGet, "http://"+p.listen+path, "X-Api-Key", key, "")
}

func (p *process) send(method, url, name, value, body string) (r clientReply) {
	began := time.Now()
	defer func() { r.took = time.Since(began) }()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return clientReply{err: err}
	}
	if body == "" {
		req.Body = http.NoBody
	}
	req.Header.Set(name, value)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return clientReply{err: err}
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	return clientReply{status: res.StatusCode, header: res.Header, body: string(content), err: err}
}

func TestReplicasReadOnce(t *testing.T) {
	b, up := cachetest.Real(t), knocktest.Start(t, knocktest.Options{})
	up.Always(knocktest.All, knocktest.Latency(300*time.Millisecond))
	replicas := startReplicas(t, 3, b, up)
	var clients sync.WaitGroup
	for i := range 300 {
		clients.Go(func() {
			if r := replicas[i%3].get("/prospect/42", "k"); r.err != nil || r.status != http.StatusOK {
				t.Errorf("%d %v", r.status, r.err)
			}
		})
	}
	clients.Wait()
	if got := up.Reads("42"); got != 1 {
		t.Errorf("%d upstream reads", got)
	}
	for _, p := range replicas {
		p.signal(syscall.SIGTERM)
		p.wantExit(exitDone)
	}
	again := startReplicas(t, 1, b, up)[0]
	if r := again.get("/prospect/42", "k"); !strings.Contains(r.header.Get("Cache-Status"), "hit; ttl=") || up.Reads("42") != 1 {
		t.Errorf("restarted: %s, %d upstream reads", r.header.Get("Cache-Status"), up.Reads("42"))
	}
}

// TestHolderIsKilled in the middle of its fetch: one read more, and everybody else is answered.
func TestHolderIsKilled(t *testing.T) {
	b, up := cachetest.Real(t), knocktest.Start(t, knocktest.Options{})
	replicas := startReplicas(t, 3, b, up)
	gate := up.NewGate()
	up.Next("42", gate.Hold())
	go replicas[0].get("/prospect/42", "k") // it gets no answer
	gate.Wait(1)
	answers := make(chan clientReply, 100)
	for i := range cap(answers) {
		go func() { answers <- replicas[1+i%2].get("/prospect/42", "k") }()
	}
	if err := replicas[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	slowest := time.Duration(0)
	for range cap(answers) {
		r := <-answers
		slowest = max(slowest, r.took)
		if r.err != nil || r.status != http.StatusOK || r.took > 6*time.Second { // upstream.timeout and 3 s
			t.Errorf("%d %v after %v", r.status, r.err, r.took)
		}
	}
	t.Logf("the last was answered after %v", slowest)
	if got := up.Reads("42"); got != 2 {
		t.Errorf("%d upstream reads", got)
	}
}

// TestRedisOutage kills or hangs Redis under load: no client sees an error, answers stay fast, and it is used again soon
// after its return.
func TestRedisOutage(t *testing.T) {
	for name, outage := range map[string]struct {
		signal syscall.Signal
		end    func(t *testing.T, b *cachetest.Backend)
	}{
		"killed": {syscall.SIGKILL, func(t *testing.T, b *cachetest.Backend) { b.Start(t) }},
		"hung":   {syscall.SIGSTOP, func(t *testing.T, b *cachetest.Backend) { _ = b.Server.Signal(syscall.SIGCONT) }},
	} {
		t.Run(name, func(t *testing.T) {
			b, up := cachetest.Real(t), knocktest.Start(t, knocktest.Options{History: -1})
			p := startReplicas(t, 1, b, up, "KNOCKPROXY_CACHE_MEMORY_TTL=20ms", "KNOCKPROXY_LOG_ACCESS=off")[0]
			stop, load := make(chan struct{}), sync.WaitGroup{}
			var mu sync.Mutex
			var took []time.Duration
			for c := range 20 {
				load.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						r := p.get(fmt.Sprintf("/prospect/%d", 1+(c*7+i)%200), "k")
						mu.Lock()
						took = append(took, r.took)
						mu.Unlock()
						if r.err != nil || r.status != http.StatusOK {
							t.Errorf("%d %v", r.status, r.err)
							return
						}
					}
				})
			}
			purge := func() clientReply {
				return p.send(http.MethodDelete, "http://"+p.admin+"/cache/prospects/999", "Authorization", "Bearer t", "")
			}
			redis := func() string { return p.send(http.MethodGet, "http://"+p.admin+"/readyz", "X", "x", "").body }
			time.Sleep(300 * time.Millisecond) // of load
			mu.Lock()
			took = nil
			mu.Unlock()
			_ = b.Server.Signal(outage.signal)
			cachetest.Eventually(t, func() bool { return strings.Contains(redis(), `"redis":"down"`) })
			if r := purge(); r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, "in this process only") {
				t.Errorf("a purge that Redis did not take: %d %s", r.status, r.body)
			}
			time.Sleep(time.Second) // of outage
			mu.Lock()
			during := slices.Sorted(slices.Values(took))
			mu.Unlock()
			outage.end(t, b)
			back := time.Now()
			cachetest.Eventually(t, func() bool { return strings.Contains(redis(), `"redis":"up"`) })
			returned := time.Since(back)
			close(stop)
			load.Wait()
			median, worst := during[len(during)/2], during[len(during)-1]
			if r := purge(); r.status != http.StatusOK {
				t.Errorf("a purge afterwards: %d %s", r.status, r.body)
			}
			log, _ := os.ReadFile(outputFile(p.outputs, p.cmd.Process.Pid, "stderr"))
			if away, back := strings.Count(string(log), "redis is away"), strings.Count(string(log), "redis is back"); away != 1 || back != 1 {
				t.Errorf("%d lines of its going, %d of its return:\n%s", away, back, log)
			}
			t.Logf("%d answers during the outage: median %v, worst %v; in use again after %v", len(during), median, worst, returned)
			if median > 100*time.Millisecond || worst > time.Second || returned > 5*time.Second {
				t.Error("slower than promised")
			}
		})
	}
}

// TestNothingPersonalInRedis after traffic of every kind.
func TestNothingPersonalInRedis(t *testing.T) {
	b, up := cachetest.Real(t), knocktest.Start(t, knocktest.Options{})
	p := startReplicas(t, 1, b, up)[0]
	prospect, _ := up.Prospect("42")
	for _, path := range []string{"/prospect/42", "/prospect/42", "/prospect/0", "/prospect/43", "/prospect/x", "/prospect/42/events"} {
		p.get(path, "KEY-MARKER")
	}
	p.send(http.MethodPost, "http://"+p.listen+"/prospect", "X-Api-Key", "KEY-MARKER", `{"prospectId":"43","firstName":"Jane"}`)
	p.get("/prospect/43", "KEY-MARKER")
	dump := b.Dump(t)
	if !strings.Contains(dump, "2:{42}") {
		t.Fatalf("nothing was stored:\n%s", dump)
	}
	for _, secret := range []string{"KEY-MARKER", replicaSecret, prospect.Email, prospect.Phone, prospect.LastName, "Jane", prospect.Agent.Username, "smsConsent", "application/json"} {
		for _, spelling := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)), strings.ToUpper(secret)} {
			if strings.Contains(dump, spelling) {
				t.Errorf("Redis holds %q", spelling)
			}
		}
	}
}

// TestPurgeReachesAllReplicas: gone at once at one, within cache.memory.ttl at the other.
func TestPurgeReachesAllReplicas(t *testing.T) {
	b, up := cachetest.Real(t), knocktest.Start(t, knocktest.Options{})
	replicas := startReplicas(t, 2, b, up, "KNOCKPROXY_CACHE_MEMORY_TTL=50ms")
	for _, p := range replicas {
		p.get("/prospect/42", "k")
	}
	up.Edit("42", func(p *knocktest.Prospect) { p.LastName = "Edited" })
	r := replicas[0].send(http.MethodDelete, "http://"+replicas[0].admin+"/cache/prospects/42", "Authorization", "Bearer t", "")
	if r.status != http.StatusOK || strings.TrimSpace(r.body) != `{"purged":1,"scope":"cluster"}` {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := replicas[0].get("/prospect/42", "k"); !strings.Contains(r.body, "Edited") {
		t.Errorf("at the replica that was told: %s", r.body)
	}
	time.Sleep(50 * time.Millisecond) // the promise's own time
	if r := replicas[1].get("/prospect/42", "k"); !strings.Contains(r.body, "Edited") {
		t.Errorf("at the other: %s", r.body)
	}
}
