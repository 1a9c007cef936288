package cache

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"knockproxy/cache/cachetest"
	"knockproxy/metrics"
)

// text is the codec of strings.
type text struct{}

func (text) Append(b []byte, s string) []byte { return append(b, s...) }

func (text) Parse(b []byte) (string, error) {
	if strings.HasPrefix(string(b), "unparsable") {
		return "", errors.New("unparsable")
	}
	return string(b), nil
}

const secret = "a secret of thirty-two bytes and more"

// onEachRedis runs a test on miniredis and on a real server.
func onEachRedis(t *testing.T, test func(t *testing.T, b *cachetest.Backend)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) { test(t, cachetest.Mini(t)) })
	t.Run("redis-server", func(t *testing.T) { test(t, cachetest.Real(t)) })
}

// replica is one process's cache on a Redis that it shares.
func replica(t testing.TB, b *cachetest.Backend, change ...func(*Options[string])) *Cache[string] {
	t.Helper()
	o := Options[string]{
		Size: func(s string) int { return len(s) }, Metrics: metrics.New(prometheus.NewRegistry()), Codec: text{},
		Redis: &RedisOptions{URL: b.URL, Secret: secret, Timeout: time.Second}, MemoryTTL: 100 * time.Millisecond, Longest: 10 * time.Minute,
		Lease: 500 * time.Millisecond, Deadline: 5 * time.Second, Try: time.Second,
	}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// never is a fetch that must not happen.
func never(t testing.TB) Fetch[string] {
	return func(context.Context, *Record[string]) (Fetched[string], error) {
		t.Error("the upstream was asked")
		return Fetched[string]{}, errors.New("asked")
	}
}

func TestReplicasShareARecord(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		a, other, k := replica(t, b), replica(t, b), key("1", "p")
		if res := fill(t, a, k, brings("v")); res.Source != Upstream || !res.Stored {
			t.Fatalf("filling: %+v", res)
		}
		if res := fill(t, a, k, never(t)); res.Source != Memory {
			t.Errorf("again, at once: %+v", res)
		}
		res := fill(t, other, k, never(t))
		if res.Source != Redis || res.New.Value != "v" || res.Collapsed {
			t.Errorf("at the other replica: %+v", res)
		}
		if left := time.Until(res.New.Fresh); left > time.Minute || left < time.Minute-5*time.Second {
			t.Errorf("fresh for %v there", left)
		}
		cachetest.Eventually(t, func() bool { return a.Get(k, time.Now()) == nil })
		if res := fill(t, a, k, never(t)); res.Source != Redis {
			t.Errorf("after memory's time: %+v", res)
		}
		if again := replica(t, b); fill(t, again, k, never(t)).Source != Redis {
			t.Error("a replica that starts did not find the record")
		}
	})
}

func TestReplicasShareAFetch(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		replicas := []*Cache[string]{replica(t, b), replica(t, b), replica(t, b)}
		release := make(chan struct{})
		var fetches, collapsed atomic.Int32
		var callers sync.WaitGroup
		for i := range 300 {
			callers.Go(func() {
				res := fill(t, replicas[i%3], key("1", "p"), func(context.Context, *Record[string]) (Fetched[string], error) {
					fetches.Add(1)
					<-release
					return brings("v")(t.Context(), nil)
				})
				if res.Collapsed || res.Source == Memory {
					collapsed.Add(1)
				}
			})
		}
		cachetest.Eventually(t, func() bool { return fetches.Load() == 1 })
		time.AfterFunc(2*replicas[0].lease, func() { close(release) }) // longer than a lease: it is renewed
		callers.Wait()
		if fetches.Load() != 1 || collapsed.Load() < 297 {
			t.Errorf("%d fetches, %d of 300 collapsed", fetches.Load(), collapsed.Load())
		}
	})
}

// TestHolderDies: another replica takes the lease over when it lapses, and what the dead one brings after all is refused.
func TestHolderDies(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		holder, other, k := replica(t, b), replica(t, b), key("1", "p")
		release := make(chan struct{})
		early := make(chan Result[string], 1)
		go func() {
			res, _ := holder.Fill(t.Context(), k, anyRecord, func(ctx context.Context, _ *Record[string]) (Fetched[string], error) {
				old, err := brings("old")(ctx, nil)
				<-release
				return old, err
			})
			early <- res
		}()
		lease := func() string {
			return b.Client.HGet(t.Context(), holder.remote.hash("1"), holder.remote.slot(k).lease).Val()
		}
		cachetest.Eventually(t, func() bool { return lease() != "" })
		stopRenewing(t, b, holder, k)
		if res := fill(t, other, k, brings("new")); res.Source != Upstream || !res.Stored {
			t.Errorf("taking over: %+v", res)
		}
		close(release)
		if res := <-early; res.Stored {
			t.Errorf("the late answer: %+v", res)
		}
		if got := fill(t, replica(t, b), k, never(t)).New.Value; got != "new" {
			t.Errorf("Redis holds %q", got)
		}
	})
}

// stopRenewing makes the lease of a key look like that of a holder that is gone: it lapses, and is not the holder's any more.
func stopRenewing(t *testing.T, b *cachetest.Backend, c *Cache[string], k Key) {
	t.Helper()
	s := c.remote.slot(k)
	b.Client.HSet(t.Context(), s.hash, s.lease, "gone 1 -")
}

// TestPurgeAgainstAFetchElsewhere: while a replica fetches, another purges. Gone at once there; the fetch under way is not
// stored, and once memory's own time has passed nobody at the first replica gets it either. A thousand times each.
func TestPurgeAgainstAFetchElsewhere(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		for name, target := range map[string]func(id string) Target{
			"prospect": Prospect, "scope": func(string) Target { return Scope("p") }, "everything": func(string) Target { return Everything() },
		} {
			t.Run(name, func(t *testing.T) {
				rounds, atOnce := 20, 50
				if b.Server == nil { // the real one is the truth
					rounds = 2
				}
				a, purger := replica(t, b), replica(t, b)
				var all sync.WaitGroup
				for i := range atOnce {
					all.Go(func() {
						for j := range rounds {
							id := fmt.Sprintf("%d%04d", len(name), i*rounds+j) // each found by nobody before
							purgeAgainstAFetchElsewhere(t, a, purger, key(id, "p"), target(id))
						}
					})
				}
				all.Wait()
			})
		}
	})
}

func purgeAgainstAFetchElsewhere(t *testing.T, a, purger *Cache[string], k Key, target Target) {
	t.Helper()
	get := func(c *Cache[string], fetch Fetch[string]) string {
		res, err := c.Fill(t.Context(), k, anyRecord, fetch)
		if err != nil {
			t.Errorf("%s: %v", k.ID, err)
			return ""
		}
		return res.New.Value
	}
	fetching, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	early := make(chan string, 1)
	go func() {
		early <- get(a, func(ctx context.Context, _ *Record[string]) (Fetched[string], error) {
			old, err := brings("old")(ctx, nil)
			once.Do(func() { close(fetching) })
			<-release
			return old, err
		})
	}()
	select {
	case <-fetching:
	case got := <-early:
		t.Errorf("%s: %q without a fetch", k.ID, got)
		return
	}
	if _, err := purger.Drop(t.Context(), target, ByPurge); err != nil {
		t.Errorf("%s: %v", k.ID, err)
	}
	if got := get(purger, brings("new")); got == "old" {
		t.Errorf("%s at the purging replica: %q", k.ID, got)
	}
	close(release)
	<-early
	time.Sleep(a.memoryTTL) // the promise's own time
	if got := get(a, brings("newer")); got == "old" {
		t.Errorf("%s at the other replica, memory's time later: %q", k.ID, got)
	}
	if got := get(purger, brings("newer")); got == "old" {
		t.Errorf("%s at the purging replica, in the end: %q", k.ID, got)
	}
}

func TestDropCountsRecordsInRedis(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		a, other := replica(t, b), replica(t, b)
		fill(t, a, key("1", "p"), brings("v"))
		fill(t, a, key("1", "q"), brings("v"))
		fill(t, a, key("2", "p"), brings("v"))
		if n, err := other.Drop(t.Context(), Prospect("1"), ByPurge); n != 2 || err != nil {
			t.Errorf("dropped %d: %v", n, err)
		}
		if res := fill(t, other, key("2", "p"), never(t)); res.Source != Redis {
			t.Errorf("the other prospect: %+v", res)
		}
	})
}

func TestFailureIsSharedAcrossReplicas(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		a, other, k := replica(t, b), replica(t, b), key("1", "p")
		down := errors.New("down")
		if _, err := a.Fill(t.Context(), k, anyRecord, func(context.Context, *Record[string]) (Fetched[string], error) { return Fetched[string]{}, down }); !errors.Is(err, down) {
			t.Fatal(err)
		}
		if _, err := other.Fill(t.Context(), k, anyRecord, never(t)); !errors.Is(err, ErrFailedElsewhere) {
			t.Errorf("at the other replica: %v", err)
		}
		cachetest.Eventually(t, func() bool {
			res, err := other.Fill(t.Context(), k, anyRecord, brings("v"))
			return err == nil && res.New.Value == "v"
		})
	})
}

// TestUnstoredAnswerLeavesNoLease: the next caller need not wait.
func TestUnstoredAnswerLeavesNoLease(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		a, other, k := replica(t, b), replica(t, b), key("1", "p")
		fill(t, a, k, func(context.Context, *Record[string]) (Fetched[string], error) {
			return Fetched[string]{Record: record("shown to all, not kept"), Share: true}, nil
		})
		began := time.Now()
		if res := fill(t, other, k, brings("v")); !res.Stored || time.Since(began) > a.lease/2 {
			t.Errorf("after %v: %+v", time.Since(began), res)
		}
	})
}

func TestRecordsThatDoNotOpenAreOverwritten(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		for name, spoil := range map[string]func(hash, field, raw string){
			"garbage":        func(hash, field, _ string) { b.Client.HSet(t.Context(), hash, field, "garbage") },
			"long garbage":   func(hash, field, _ string) { b.Client.HSet(t.Context(), hash, field, strings.Repeat("g", 200)) },
			"nothing":        func(hash, field, _ string) { b.Client.HSet(t.Context(), hash, field, "") },
			"cut off":        func(hash, field, raw string) { b.Client.HSet(t.Context(), hash, field, raw[:len(raw)-1]) },
			"another type":   func(hash, _, _ string) { b.Client.Del(t.Context(), hash); b.Client.LPush(t.Context(), hash, "x") },
			"a later date":   func(hash, field, raw string) { b.Client.HSet(t.Context(), hash, field, raw[:25]+"\x7f"+raw[26:]) },
			"another's hash": func(hash, field, _ string) { copyRecord(t, b, "knockproxy:2:{2}", hash, field) },
		} {
			t.Run(name, func(t *testing.T) {
				a, k := replica(t, b), key("1", "p")
				fill(t, a, k, brings("v"))
				fill(t, a, key("2", "p"), brings("another's"))
				s := a.remote.slot(k)
				spoil(s.hash, s.record, b.Client.HGet(t.Context(), s.hash, s.record).Val())
				other := replica(t, b)
				if res := fill(t, other, k, brings("anew")); res.Source != Upstream || res.New.Value != "anew" || !res.Stored {
					t.Errorf("got %+v", res)
				}
				if res := fill(t, replica(t, b), k, never(t)); res.New.Value != "anew" {
					t.Errorf("afterwards %+v", res)
				}
			})
		}
	})
}

func copyRecord(t *testing.T, b *cachetest.Backend, from, to, field string) {
	t.Helper()
	b.Client.HSet(t.Context(), to, field, b.Client.HGet(t.Context(), from, field).Val())
}

func TestAnotherSecretIsAMiss(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		k := key("1", "p")
		fill(t, replica(t, b), k, brings("v"))
		changed := replica(t, b, func(o *Options[string]) { o.Redis.Secret = "another secret of thirty-two bytes" })
		if res := fill(t, changed, k, brings("anew")); res.New.Value != "anew" || !res.Stored {
			t.Errorf("got %+v", res)
		}
	})
}

// TestNothingReadableInRedis: no value in any spelling, every key under the prefix and with an expiry.
func TestNothingReadableInRedis(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		const marker = "jane.doe@example.com"
		a := replica(t, b)
		for i := range 20 {
			fill(t, a, key(fmt.Sprint(i), "p"), brings(marker))
		}
		dump := b.Dump(t)
		for _, spelling := range []string{marker, base64.StdEncoding.EncodeToString([]byte(marker)), hex.EncodeToString([]byte(marker)), "jane", secret} {
			if strings.Contains(dump, spelling) {
				t.Errorf("Redis holds %s", spelling)
			}
		}
		for _, name := range b.Keys(t) {
			if ttl := b.Client.PTTL(t.Context(), name).Val(); ttl <= 0 || !strings.HasPrefix(name, "knockproxy:2:") {
				t.Errorf("%s expires in %v", name, ttl)
			}
		}
		if len(b.Keys(t)) != 22 {
			t.Errorf("%d keys", len(b.Keys(t)))
		}
	})
}

// TestWithoutRedisAtStart: absent, it costs nothing but sharing; when it comes it is used.
func TestWithoutRedisAtStart(t *testing.T) {
	c := replica(t, &cachetest.Backend{URL: "redis://127.0.0.1:1"}, func(o *Options[string]) { o.Redis.Timeout = 50 * time.Millisecond })
	for i := range 10 {
		if res := fill(t, c, key(fmt.Sprint(i), "p"), brings("v")); res.Source != Upstream {
			t.Errorf("%+v", res)
		}
	}
	if _, up := c.Redis(); up {
		t.Error("a Redis that is not there is up")
	}
	if res := fill(t, c, key("9", "p"), never(t)); res.Source != Memory {
		t.Errorf("%+v", res)
	}
	if _, err := c.Drop(t.Context(), Prospect("9"), ByPurge); !errors.Is(err, ErrPending) {
		t.Errorf("a purge that nobody acknowledged: %v", err)
	}
	if got := held(c, key("9", "p")); got != "" {
		t.Errorf("held %q", got)
	}
}

// TestRedisThatRefusesWrites, full or read-only, is left alone: memory answers for as long as an answer is fresh. It is
// used again when it takes writes.
func TestRedisThatRefusesWrites(t *testing.T) {
	for name, setting := range map[string]struct{ key, refuse, take string }{
		"full":      {"maxmemory", "1", "0"},
		"read-only": {"min-replicas-to-write", "1", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := cachetest.Real(t)
			c := replica(t, b)
			fill(t, c, key("1", "p"), brings("v"))
			b.Client.ConfigSet(t.Context(), setting.key, setting.refuse)
			fill(t, c, key("2", "p"), brings("v"))
			if _, up := c.Redis(); up {
				t.Error("still in use")
			}
			time.Sleep(c.memoryTTL) // after which memory would ask, if it could
			if res := fill(t, c, key("2", "p"), brings("another")); res.Source == Upstream && res.New.Value == "another" {
				fill(t, c, key("2", "p"), never(t))
			}
			b.Client.ConfigSet(t.Context(), setting.key, setting.take)
			cachetest.Eventually(t, func() bool {
				fill(t, c, key("3", "p"), brings("v"))
				_, up := c.Redis()
				c.DropKey(t.Context(), key("3", "p"), ByPurge)
				return up
			})
			if res := fill(t, c, key("4", "p"), brings("v")); !res.Stored || b.Client.Exists(t.Context(), c.remote.hash("4")).Val() != 1 {
				t.Errorf("back in use: %+v", res)
			}
		})
	}
}

// TestHitFromRedisIsOneRoundTrip, the epochs being known: one write to the connection, and one command.
func TestHitFromRedisIsOneRoundTrip(t *testing.T) {
	b := cachetest.Real(t)
	a := replica(t, b)
	for _, id := range []string{"1", "2", "3"} {
		fill(t, a, key(id, "p"), brings("v"))
	}
	var writes atomic.Int32
	other := replica(t, b, func(o *Options[string]) {
		o.MemoryTTL = time.Minute
		o.Redis.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return countedConn{conn, &writes}, err
		}
	})
	fill(t, other, key("1", "p"), never(t)) // connects, and asks for the epochs
	for _, id := range []string{"2", "3"} {
		before := writes.Load()
		if res := fill(t, other, key(id, "p"), never(t)); res.Source != Redis || writes.Load() != before+1 {
			t.Errorf("%+v by %d writes", res, writes.Load()-before)
		}
	}
}

type countedConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// TestPurgeThatRedisDidNotTake holds here when Redis is back, though it still has the record.
func TestPurgeThatRedisDidNotTake(t *testing.T) {
	for name, target := range targets {
		for _, why := range []Cause{ByPurge, ByWrite} {
			t.Run(name+" by "+string(why), func(t *testing.T) {
				b := cachetest.Real(t)
				a, k := replica(t, b, func(o *Options[string]) { o.Redis.Timeout = 50 * time.Millisecond }), key("1", "p")
				fill(t, a, k, brings("old"))
				held := b.Snapshot(t)
				_ = b.Server.Signal(syscall.SIGSTOP)
				_, err := a.Drop(t.Context(), target, why)
				_ = b.Server.Signal(syscall.SIGCONT)
				if !errors.Is(err, ErrPending) {
					t.Fatal(err)
				}
				cachetest.Eventually(t, func() bool { return b.Client.Ping(t.Context()).Err() == nil })
				held.Restore(t) // the command may have been in the socket, and be carried out after all
				if res := fill(t, a, k, brings("new")); res.New.Value != "new" {
					t.Errorf("%+v", res)
				}
			})
		}
	}
}

// TestRedisThatIsSlowOrResets costs the first callers its time-out each, the later ones nothing, and none an error.
func TestRedisThatIsSlowOrResets(t *testing.T) {
	for name, serve := range map[string]func(conn net.Conn){
		"slow": func(conn net.Conn) {
			time.Sleep(2 * time.Second)
			_, _ = io.WriteString(conn, "+OK\r\n")
			_ = conn.Close()
		},
		"resets": func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		},
		"talks nonsense": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_ = conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			serving.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					serving.Go(func() { serve(conn) })
				}
			})
			t.Cleanup(func() { _ = l.Close(); serving.Wait() })
			c := replica(t, &cachetest.Backend{URL: "redis://" + l.Addr().String()}, func(o *Options[string]) { o.Redis.Timeout = 50 * time.Millisecond })
			began := time.Now()
			for i := range 100 {
				if res := fill(t, c, key(fmt.Sprint(i), "p"), brings("v")); res.New.Value != "v" {
					t.Errorf("%+v", res)
				}
			}
			if took := time.Since(began); took > 2*time.Second { // five time-outs of 50 ms, and then a probe now and then
				t.Errorf("100 fills took %v", took)
			}
			if res := fill(t, c, key("99", "p"), never(t)); res.Source != Memory {
				t.Errorf("memory does not answer: %+v", res)
			}
		})
	}
}

// BenchmarkRedisHit compares a hit from Redis, opened and remembered, with a bare HGET of the same bytes: the two in turn,
// so that what disturbs one disturbs both.
func BenchmarkRedisHit(b *testing.B) {
	backend := cachetest.Real(b)
	c := replica(b, backend, func(o *Options[string]) { o.MemoryTTL = time.Hour }) // the epochs stay known
	k := key("47569637", "p")
	fill(b, c, k, func(context.Context, *Record[string]) (Fetched[string], error) {
		rec := record(strings.Repeat("x", 900))
		rec.Fresh, rec.Keep = rec.Fresh.Add(time.Hour), rec.Keep.Add(time.Hour)
		return Fetched[string]{Record: rec, Store: true, Share: true}, nil
	})
	s := c.remote.slot(k)
	var bare, hit time.Duration
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		if _, err := c.remote.client.HGet(b.Context(), s.hash, s.record).Bytes(); err != nil {
			b.Fatal(err)
		}
		bare += time.Since(began)
		c.memory.erase(k)
		began = time.Now()
		if res := fill(b, c, k, never(b)); res.Source != Redis {
			b.Fatal(res)
		}
		hit += time.Since(began)
	}
	b.ReportMetric(float64(hit)/float64(bare), "x-bare-HGET")
}
