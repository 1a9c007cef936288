package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"knockproxy/cache/cachetest"
)

// The race table: each of these orders of steps breaks the purge's promise if one rule of the protocol is taken out.

// hook runs before and after each command of a client; name is of a command, or the sha1 of a script.
type hook struct{ before, after func(name string) }

func (h hook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		name := cmd.Name()
		if args := cmd.Args(); name == "evalsha" && len(args) > 1 {
			name = fmt.Sprint(args[1])
		}
		if h.before != nil {
			h.before(name)
		}
		err := next(ctx, cmd)
		if h.after != nil {
			h.after(name)
		}
		return err
	}
}

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// fetching starts a fill whose fetch has its answer and waits to be let go.
func fetching(t *testing.T, c *Cache[string], k Key, value string) (release chan struct{}, result chan Result[string]) {
	t.Helper()
	release, result = make(chan struct{}), make(chan Result[string], 1)
	begun := make(chan struct{})
	go func() {
		res, _ := c.Fill(t.Context(), k, anyRecord, func(ctx context.Context, _ *Record[string]) (Fetched[string], error) {
			got, err := brings(value)(ctx, nil)
			close(begun)
			<-release
			return got, err
		})
		result <- res
	}()
	<-begun
	return release, result
}

func purge(t *testing.T, c *Cache[string], target Target) {
	t.Helper()
	if _, err := c.Drop(t.Context(), target, ByPurge); err != nil {
		t.Fatal(err)
	}
}

// targets are the purges that cover key("1", "p").
var targets = map[string]Target{"prospect": Prospect("1"), "scope": Scope("p"), "everything": Everything()}

func onEachTarget(t *testing.T, test func(t *testing.T, b *cachetest.Backend, target Target)) {
	t.Helper()
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		for name, target := range targets {
			t.Run(name, func(t *testing.T) {
				b.Client.FlushAll(t.Context())
				test(t, b, target)
			})
		}
	})
}

// Rule: put checks the token, and memory is filled only after Redis's verdict.
func TestScheduleLateAnswerIsInNeitherTier(t *testing.T) {
	onEachTarget(t, func(t *testing.T, b *cachetest.Backend, target Target) {
		a, purger, k := replica(t, b), replica(t, b), key("1", "p")
		release, early := fetching(t, a, k, "old")
		purge(t, purger, target)
		time.Sleep(a.memoryTTL) // the promise's own time
		close(release)
		<-early
		if rec := a.Get(k, time.Now()); rec != nil {
			t.Errorf("memory holds %q", rec.Value)
		}
		if got := fill(t, a, k, brings("new")).New.Value; got != "new" {
			t.Errorf("at the replica that fetched: %q", got)
		}
		if got := fill(t, replica(t, b), k, brings("newer")).New.Value; got == "old" {
			t.Errorf("in Redis: %q", got)
		}
	})
}

// Rule: a flight's name has the interval, so that nobody joins one that is older than memory's own time.
func TestScheduleNobodyJoinsAnOldFlight(t *testing.T) {
	onEachTarget(t, func(t *testing.T, b *cachetest.Backend, target Target) {
		a, purger, k := replica(t, b), replica(t, b), key("1", "p")
		release, early := fetching(t, a, k, "old")
		purge(t, purger, target)
		time.Sleep(a.memoryTTL) // the promise's own time
		if res := fill(t, a, k, brings("new")); res.New.Value != "new" {
			t.Errorf("while the old fetch is under way: %+v", res)
		}
		close(release)
		<-early
		if got := fill(t, a, k, brings("newer")).New.Value; got == "old" {
			t.Errorf("afterwards: %q", got)
		}
	})
}

// Rule: memory is stamped with the instant at which Redis was asked, not with that of its reply.
func TestScheduleSlowReplyDoesNotProlongMemory(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		writer, a, k := replica(t, b), replica(t, b), key("1", "p")
		fill(t, writer, key("2", "p"), brings("v"))
		fill(t, a, key("2", "p"), never(t)) // the epochs are known: the next read is one HGET
		fill(t, writer, k, brings("old"))
		a.remote.client.AddHook(hook{after: func(name string) {
			if name == "hget" {
				purge(t, writer, Prospect("1"))
				time.Sleep(a.memoryTTL) // the reply is late
			}
		}})
		fill(t, a, k, brings("whatever came"))
		if rec := a.Get(k, time.Now()); rec != nil && rec.Value == "old" {
			t.Errorf("memory's own time after the purge it holds %q", rec.Value)
		}
	})
}

// Rule: Redis first, then the local generation and memory: a read between the two fills memory again.
func TestSchedulePurgeTellsRedisFirst(t *testing.T) {
	onEachTarget(t, func(t *testing.T, b *cachetest.Backend, target Target) {
		a, k := replica(t, b), key("1", "p")
		fill(t, a, k, brings("old"))
		reading := false
		a.remote.client.AddHook(hook{before: func(name string) {
			if (name == dropScript.Hash() || name == "del") && !reading {
				reading = true
				a.memory.erase(k)
				if got := fill(t, a, k, brings("old")).New.Value; got != "old" {
					t.Errorf("before Redis was told: %q", got)
				}
			}
		}})
		purge(t, a, target)
		if got := fill(t, a, k, brings("new")).New.Value; !reading || got != "new" {
			t.Errorf("after the purge: %q", got)
		}
	})
}

// Rule: the local generation: at the purging replica itself no caller waits for memory's time.
func TestScheduleOwnFetchInFlight(t *testing.T) {
	onEachTarget(t, func(t *testing.T, b *cachetest.Backend, target Target) {
		a, k := replica(t, b), key("1", "p")
		release, early := fetching(t, a, k, "old")
		purge(t, a, target)
		if res := fill(t, a, k, brings("new")); res.New.Value != "new" {
			t.Errorf("at once: %+v", res)
		}
		close(release)
		if res := <-early; res.Stored {
			t.Errorf("the old answer was stored: %+v", res)
		}
		if got := fill(t, a, k, never(t)).New.Value; got != "new" {
			t.Errorf("afterwards: %q", got)
		}
	})
}

// Rule: what was invalidated here is not put though its lease is still ours, since Redis was not told: other replicas would
// find it.
func TestScheduleUntoldPurgeAndOwnFetch(t *testing.T) {
	b := cachetest.Real(t)
	a, k := replica(t, b), key("1", "p")
	release, early := fetching(t, a, k, "old")
	a.advance(Prospect("1")) // all of a purge that did not reach Redis
	close(release)
	if res := <-early; res.Stored {
		t.Errorf("%+v", res)
	}
	if res := fill(t, replica(t, b), k, brings("new")); res.New.Value != "new" {
		t.Errorf("at another replica: %+v", res)
	}
}

// Rule: a lease that lapsed is not put under, though nobody took it over.
func TestScheduleLapsedLease(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		a, k := replica(t, b), key("1", "p")
		release, early := fetching(t, a, k, "late")
		s := a.remote.slot(k)
		lease := b.Client.HGet(t.Context(), s.hash, s.lease).Val()
		fields := strings.Fields(lease)
		fields[1] = "1" // long ago
		b.Client.HSet(t.Context(), s.hash, s.lease, strings.Join(fields, " "))
		close(release)
		if res := <-early; res.Stored || res.New.Value != "late" {
			t.Errorf("%+v", res)
		}
		if a.Get(k, time.Now()) != nil {
			t.Error("memory holds it")
		}
	})
}

// Rule: a lease of other epochs is taken over only by who asked for its own after meeting it: a replica that does not know of
// a purge yet does not take the lease of the one that purged.
func TestScheduleOldEpochsTakeNoLease(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		late := func(o *Options[string]) { o.MemoryTTL = time.Minute } // it knows its epochs for that long
		a, purger, k := replica(t, b, late), replica(t, b), key("1", "p")
		fill(t, a, key("2", "p"), brings("v")) // asks for the epochs
		purge(t, purger, Scope("p"))
		release, first := fetching(t, purger, k, "new")
		second := make(chan Result[string], 1)
		go func() { second <- fill(t, a, k, brings("a second read")) }()
		time.Sleep(5 * longestPoll) // for it to do wrong
		close(release)
		if res := <-first; !res.Stored {
			t.Errorf("the purger's answer: %+v", res)
		}
		if res := <-second; res.New.Value != "new" || !res.Collapsed {
			t.Errorf("the other replica's: %+v", res)
		}
	})
}

// Rule: what may have been granted is fetched under: its late reply leaves no lease that everybody waits for.
func TestScheduleLateGrant(t *testing.T) {
	b := cachetest.Real(t)
	a, other, k := replica(t, b, func(o *Options[string]) { o.Redis.Timeout, o.Lease = 50*time.Millisecond, 10*time.Second }), replica(t, b), key("1", "p")
	fill(t, a, key("2", "p"), brings("v"))
	once := false
	a.remote.client.AddHook(lateReply{acquireScript.Hash(), &once})
	if res := fill(t, a, k, brings("v")); !res.Stored {
		t.Errorf("%+v", res)
	}
	began := time.Now()
	if res := fill(t, other, k, never(t)); res.New.Value != "v" || time.Since(began) > time.Second {
		t.Errorf("%+v after %v", res, time.Since(began))
	}
}

// lateReply makes one command of a name time out though it was carried out.
type lateReply struct {
	name string
	once *bool
}

func (h lateReply) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h lateReply) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if args := cmd.Args(); !*h.once && len(args) > 1 && fmt.Sprint(args[1]) == h.name {
			*h.once = true
			cmd.SetErr(context.DeadlineExceeded)
			return context.DeadlineExceeded
		}
		return err
	}
}

func (h lateReply) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Rule: nothing of the future is believed: Redis's clock was set back, and a record may be of any age.
func TestScheduleClockSetBack(t *testing.T) {
	b := cachetest.Mini(t)
	k := key("1", "p")
	fill(t, replica(t, b), k, brings("old"))
	b.Mini.SetTime(time.Now().Add(-time.Hour))
	if res := fill(t, replica(t, b), k, brings("new")); res.New.Value != "new" {
		t.Errorf("%+v", res)
	}
	s := replica(t, b).remote.slot(key("2", "p"))
	for _, lease := range []string{"failed 99999999999999 -", "x 99999999999999 -"} {
		b.Client.HSet(t.Context(), s.hash, s.lease, lease)
		began := time.Now()
		if res, err := replica(t, b).Fill(t.Context(), key("2", "p"), anyRecord, brings("v")); err != nil || res.New.Value != "v" || time.Since(began) > time.Second {
			t.Errorf("a lease %q: %+v %v after %v", lease, res, err, time.Since(began))
		}
		b.Client.Del(t.Context(), s.hash)
	}
}

// TestMemoryIsFilledAgain from Redis when its own time has passed.
func TestMemoryIsFilledAgain(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		a, k := replica(t, b), key("1", "p")
		fill(t, a, k, brings("v"))
		for range 3 {
			time.Sleep(a.memoryTTL) // its own time
			if res := fill(t, a, k, never(t)); res.Source != Redis {
				t.Errorf("%+v", res)
			}
			if a.Get(k, time.Now()) == nil {
				t.Error("memory does not have it again")
			}
		}
	})
}

// TestLoadedRedisIsNotAway: many flights at once wait for our own connections, which is not Redis's fault.
func TestLoadedRedisIsNotAway(t *testing.T) {
	b := cachetest.Real(t)
	settings := func(o *Options[string]) { o.Redis.Timeout, o.MemoryTTL = 100*time.Millisecond, time.Second }
	replicas := []*Cache[string]{replica(t, b, settings), replica(t, b, settings)}
	var fetches atomic.Int32
	var callers sync.WaitGroup
	for i := range 600 {
		callers.Go(func() {
			fill(t, replicas[i%2], key(fmt.Sprint(i/2), "p"), func(ctx context.Context, _ *Record[string]) (Fetched[string], error) {
				fetches.Add(1)
				return brings("v")(ctx, nil)
			})
		})
	}
	callers.Wait()
	if fetches.Load() > 330 { // a busy machine may hold up one or the other; without the queue each replica fetches all
		t.Errorf("%d fetches of 300 prospects", fetches.Load())
	}
	for _, c := range replicas {
		if _, up := c.Redis(); !up {
			t.Error("away")
		}
	}
}

// TestRedisWithoutScripts reads, and is of no use: it is left alone, and memory answers.
func TestRedisWithoutScripts(t *testing.T) {
	b := cachetest.Real(t)
	c := replica(t, b)
	c.remote.client.AddHook(refusing{})
	var fetches atomic.Int32
	for range 50 {
		fill(t, c, key("1", "p"), func(ctx context.Context, _ *Record[string]) (Fetched[string], error) {
			fetches.Add(1)
			return brings("v")(ctx, nil)
		})
	}
	if _, up := c.Redis(); up || fetches.Load() > 2 {
		t.Errorf("up is %v, %d fetches of one prospect", up, fetches.Load())
	}
}

// refusing is a server that knows no scripts.
type refusing struct{}

func (refusing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (refusing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			cmd.SetErr(unknownCommand{})
			return unknownCommand{}
		}
		return next(ctx, cmd)
	}
}

func (refusing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// unknownCommand is such a server's reply.
type unknownCommand struct{}

func (unknownCommand) Error() string { return "ERR unknown command 'evalsha'" }

func (unknownCommand) RedisError() {}

// TestScripts runs the steps one by one.
func TestScripts(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		r := replica(t, b).remote
		ctx, k := t.Context(), key("1", "p")
		s := r.slot(k)
		lease := time.Minute
		var mine, other epochsOf
		other.values[1][0] = 1
		sure := false
		acquire := func(seen, token string, e epochsOf) string {
			found, record, err := r.acquire(ctx, s, seen, token, e, sure, lease)
			if err != nil {
				t.Fatal(err)
			}
			return found + string(record)
		}
		put := func(token, value string, keep time.Time) string {
			verdict, err := r.put(ctx, s, token, []byte(value), keep.UnixMilli())
			if err != nil {
				t.Fatal(err)
			}
			return verdict
		}
		want := func(step, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %q, want %q", step, got, want)
			}
		}
		record := strings.Repeat("h", recordHeader) + "twelve bytes" + "value"
		soon := time.Now().Add(time.Minute)
		want("nobody has it", acquire("", "one", mine), foundGranted)
		want("the holder again", acquire("", "one", mine), foundGranted)
		want("another", acquire("", "two", mine), foundBusy)
		want("another, of other epochs", acquire("", "two", other), foundOther)
		sure = true
		want("another, of other epochs that are sure", acquire("", "two", other), foundGranted)
		sure = false
		want("put by who lost it", put("one", record, soon), "lost")
		want("put", put("two", record, soon), storedVerdict)
		want("put twice", put("two", record, soon), "lost")
		want("a record that was not seen", acquire("", "three", mine), foundRecord+record)
		want("the record that was seen", acquire("twelve bytes", "three", mine), foundGranted)
		want("useless already", put("three", record, time.Now().Add(-time.Second)), "lapsed")
		want("anew", acquire("twelve bytes", "four", mine), foundGranted)
		if ours, err := r.renew(ctx, s, "four", lease); !ours || err != nil {
			t.Errorf("renewing: %v %v", ours, err)
		}
		if ours, err := r.renew(ctx, s, "nobody", lease); ours || err != nil {
			t.Errorf("renewing another's: %v %v", ours, err)
		}
		if err := errors.Join(r.fail(ctx, s, "nobody", failureShared), r.fail(ctx, s, "four", failureShared)); err != nil {
			t.Fatal(err)
		}
		want("failed", acquire("twelve bytes", "five", mine), foundFailed)
		if n, err := r.dropTarget(ctx, Prospect("1"), ByWrite); n != 1 || err != nil {
			t.Errorf("dropped %d: %v", n, err)
		}
		want("after the drop", acquire("", "six", mine), foundGranted)
		if err := r.fail(ctx, s, "six", 0); err != nil {
			t.Fatal(err)
		}
		want("given back", acquire("", "seven", mine), foundGranted)
		if ttl := b.Client.PTTL(ctx, s.hash).Val(); ttl <= 0 || ttl > lease {
			t.Errorf("expires in %v", ttl)
		}
	})
}

// TestMemoryOfNoTimeAsksEachTime.
func TestMemoryOfNoTimeAsksEachTime(t *testing.T) {
	onEachRedis(t, func(t *testing.T, b *cachetest.Backend) {
		a, other, k := replica(t, b, func(o *Options[string]) { o.MemoryTTL = 0 }), replica(t, b), key("1", "p")
		fill(t, a, k, brings("v"))
		if res := fill(t, a, k, never(t)); res.Source != Redis {
			t.Errorf("%+v", res)
		}
		purge(t, other, Prospect("1"))
		time.Sleep(leastInterval) // of flights, though none is under way
		if res := fill(t, a, k, brings("new")); res.New.Value != "new" {
			t.Errorf("after a purge elsewhere: %+v", res)
		}
	})
}

// FuzzRecord: nothing opens but what was sealed, there.
func FuzzRecord(f *testing.F) {
	s, err := newSealer([]byte(secret))
	if err != nil {
		f.Fatal(err)
	}
	sealed, _ := s.seal(&frame{stamps: stamps{1, 2, 3}}, "hash", "r1", []byte("value"))
	f.Add(sealed)
	f.Add([]byte("garbage"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		head, err := parseFrame(raw)
		if err != nil {
			return
		}
		plain, err := s.open(nil, raw, &head, "hash", "r1")
		if err == nil && (string(plain) != "value" || head.stamps != stamps{1, 2, 3} || len(raw) != len(sealed)) {
			t.Errorf("%q opened as %q", raw, plain) // the seed, of another process perhaps, may open
		}
		if _, err := s.open(nil, raw, &head, "hash", "r2"); err == nil {
			t.Error("opened elsewhere")
		}
	})
}
