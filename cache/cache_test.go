package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"knockproxy/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newCache(t testing.TB, o Options[string]) *Cache[string] {
	t.Helper()
	o.Size = func(s string) int { return len(s) }
	o.Metrics = metrics.New(prometheus.NewRegistry())
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func key(id, scope string) Key {
	k := Key{ID: id, Scope: scope}
	copy(k.Partition[:], scope)
	return k
}

// record is fresh for a minute from now.
func record(value string) Record[string] {
	now := time.Now()
	return Record[string]{Value: value, Sent: now, Fresh: now.Add(time.Minute), Keep: now.Add(time.Minute)}
}

var anyRecord = Need[string]{OK: func(r *Record[string]) bool { return time.Now().Before(r.Fresh) }}

// brings is a fetch that stores and shares a value.
func brings(value string) Fetch[string] {
	return func(context.Context, *Record[string]) (Fetched[string], error) {
		return Fetched[string]{Record: record(value), Store: true, Share: true}, nil
	}
}

func fill(t testing.TB, c *Cache[string], k Key, fetch Fetch[string]) Result[string] {
	t.Helper()
	res, err := c.Fill(t.Context(), k, anyRecord, fetch)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func held(c *Cache[string], k Key) string {
	if rec := c.Get(k, time.Now()); rec != nil {
		return rec.Value
	}
	return ""
}

func TestFillKeepsWhatMayBeStored(t *testing.T) {
	c, k := newCache(t, Options[string]{}), key("1", "a")
	if res := fill(t, c, k, brings("v")); !res.Stored || res.Source != Upstream || res.Collapsed {
		t.Errorf("first fill: %+v", res)
	}
	if got := held(c, k); got != "v" {
		t.Errorf("held %q", got)
	}
	if got := held(c, key("1", "b")); got != "" {
		t.Errorf("another partition holds %q", got)
	}
	if res := fill(t, c, k, brings("w")); res.Source != Memory || res.New.Value != "v" {
		t.Errorf("second fill: %+v", res)
	}
}

func TestFillSharesOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options[string]{}), key("1", "a")
		release := make(chan struct{})
		var fetches, collapsed atomic.Int32
		var callers sync.WaitGroup
		for range 500 {
			callers.Go(func() {
				res := fill(t, c, k, func(context.Context, *Record[string]) (Fetched[string], error) {
					fetches.Add(1)
					<-release
					return brings("v")(t.Context(), nil)
				})
				if res.Collapsed {
					collapsed.Add(1)
				}
				if res.New.Value != "v" {
					t.Errorf("got %q", res.New.Value)
				}
			})
		}
		synctest.Wait()
		close(release)
		callers.Wait()
		if fetches.Load() != 1 || collapsed.Load() != 499 {
			t.Errorf("%d fetches, %d collapsed; want 1, 499", fetches.Load(), collapsed.Load())
		}
	})
}

func TestFillOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options[string]{}), key("1", "a")
		release := make(chan struct{})
		ctx, leave := context.WithCancel(t.Context())
		first := make(chan error)
		go func() {
			_, err := c.Fill(ctx, k, anyRecord, func(ctx context.Context, _ *Record[string]) (Fetched[string], error) {
				<-release
				if ctx.Err() != nil {
					t.Errorf("the fetch lost its context: %v", ctx.Err())
				}
				return brings("v")(ctx, nil)
			})
			first <- err
		}()
		synctest.Wait()
		leave()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the first caller got %v", err)
		}
		second := make(chan Result[string])
		go func() { second <- fill(t, c, k, brings("another fetch")) }()
		synctest.Wait()
		close(release)
		if res := <-second; res.New.Value != "v" || !res.Collapsed {
			t.Errorf("the second caller got %+v", res)
		}
	})
}

func TestFetchHasItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[string]{Deadline: 3 * time.Second})
		for name, need := range map[string]Need[string]{"shared": anyRecord, "alone": {OK: anyRecord.OK, Alone: true}} {
			began := time.Now()
			_, err := c.Fill(t.Context(), key("1", "a"), need, func(ctx context.Context, _ *Record[string]) (Fetched[string], error) {
				<-ctx.Done()
				return Fetched[string]{}, ctx.Err()
			})
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		}
	})
}

func TestFailureIsSharedAndNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options[string]{}), key("1", "a")
		down := errors.New("down")
		release := make(chan struct{})
		var fetches atomic.Int32
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() {
				_, err := c.Fill(t.Context(), k, anyRecord, func(context.Context, *Record[string]) (Fetched[string], error) {
					fetches.Add(1)
					<-release
					return Fetched[string]{}, down
				})
				if !errors.Is(err, down) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		close(release)
		callers.Wait()
		if fetches.Load() != 1 {
			t.Errorf("%d fetches", fetches.Load())
		}
		if res := fill(t, c, k, brings("v")); res.New.Value != "v" {
			t.Errorf("afterwards: %+v", res)
		}
	})
}

func TestPanicInAFetchIsAnError(t *testing.T) {
	c, k := newCache(t, Options[string]{}), key("1", "a")
	for name, need := range map[string]Need[string]{"shared": anyRecord, "alone": {OK: anyRecord.OK, Alone: true}} {
		_, err := c.Fill(t.Context(), k, need, func(context.Context, *Record[string]) (Fetched[string], error) { panic("secret of a prospect") })
		if !errors.Is(err, ErrPanic) || strings.Contains(err.Error(), "secret of") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if res := fill(t, c, k, brings("v")); res.New.Value != "v" {
		t.Errorf("afterwards: %+v", res)
	}
}

func TestUnsharedAnswerIsFetchedByEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options[string]{}), key("1", "a")
		release := make(chan struct{})
		var fetches atomic.Int32
		unshared := func(context.Context, *Record[string]) (Fetched[string], error) {
			n := fetches.Add(1)
			<-release
			return Fetched[string]{Record: record(fmt.Sprint(n))}, nil
		}
		var callers sync.WaitGroup
		got := make(chan string, 10)
		for range 10 {
			callers.Go(func() { got <- fill(t, c, k, unshared).New.Value })
		}
		synctest.Wait()
		if fetches.Load() != 1 {
			t.Errorf("%d fetches before the first came back", fetches.Load())
		}
		close(release)
		callers.Wait()
		seen := make(map[string]bool)
		for range 10 {
			seen[<-got] = true
		}
		if len(seen) != 10 {
			t.Errorf("%d different answers for 10 callers", len(seen))
		}
		testApart(t, c, k)
	})
}

// testApart shows that nobody waits for this key for 2 s after an answer that was not to be shared, and then does again.
func testApart(t *testing.T, c *Cache[string], k Key) {
	t.Helper()
	for _, step := range []struct {
		after   time.Duration
		fetches int32
	}{{time.Second, 2}, {1001 * time.Millisecond, 1}} {
		time.Sleep(step.after)
		release := make(chan struct{})
		var fetches atomic.Int32
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() {
				fill(t, c, k, func(context.Context, *Record[string]) (Fetched[string], error) {
					fetches.Add(1)
					<-release
					return Fetched[string]{Record: record("x"), Share: true}, nil
				})
			})
		}
		synctest.Wait()
		if fetches.Load() != step.fetches {
			t.Errorf("%v later: %d fetches for 2 callers, want %d", step.after, fetches.Load(), step.fetches)
		}
		close(release)
		callers.Wait()
	}
}

func TestUnsharedAnswerEndsWhatWasStored(t *testing.T) {
	c, k := newCache(t, Options[string]{}), key("1", "a")
	fill(t, c, k, brings("old"))
	notFresh := Need[string]{OK: func(*Record[string]) bool { return false }}
	if _, err := c.Fill(t.Context(), k, notFresh, func(context.Context, *Record[string]) (Fetched[string], error) {
		return Fetched[string]{Record: record("new")}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := held(c, k); got != "" {
		t.Errorf("held %q", got)
	}
}

// TestUnstoredAnswerEndsOlderOnes: an answer that was not stored but is the newest ends what was stored, and what was asked
// for before it and comes later is not stored.
func TestUnstoredAnswerEndsOlderOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options[string]{}), key("1", "a")
		release := make(chan struct{})
		slow := make(chan Result[string])
		go func() {
			slow <- fill(t, c, k, func(context.Context, *Record[string]) (Fetched[string], error) {
				got, err := brings("old")(t.Context(), nil)
				<-release
				return got, err
			})
		}()
		synctest.Wait()
		time.Sleep(time.Millisecond)
		alone := Need[string]{OK: anyRecord.OK, Alone: true}
		if _, err := c.Fill(t.Context(), k, alone, func(context.Context, *Record[string]) (Fetched[string], error) {
			return Fetched[string]{Record: record("gone"), Share: true, Ends: true}, nil
		}); err != nil {
			t.Fatal(err)
		}
		close(release)
		if res := <-slow; res.Stored || held(c, k) != "" {
			t.Errorf("the older answer: %+v, held %q", res, held(c, k))
		}
	})
}

// TestLateCallerIsNotGivenWhatExpired: a read that took longer than its answer is fresh does for those who were there when
// it began.
func TestLateCallerIsNotGivenWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options[string]{}), key("1", "a")
		var fetches atomic.Int32
		fetch := func(context.Context, *Record[string]) (Fetched[string], error) {
			n := fetches.Add(1)
			rec := record(fmt.Sprint(n))
			rec.Fresh = rec.Sent.Add(time.Second)
			time.Sleep(2500 * time.Millisecond)
			return Fetched[string]{Record: rec, Store: true, Share: true}, nil
		}
		got := make(chan string, 3)
		for range 3 {
			go func() { got <- fill(t, c, k, fetch).New.Value }()
			time.Sleep(800 * time.Millisecond)
		}
		if answers := <-got + <-got + <-got; answers != "122" || fetches.Load() != 2 {
			t.Errorf("answers %s by %d fetches", answers, fetches.Load())
		}
	})
}

func TestDropEmptiesWhatItNames(t *testing.T) {
	keys := []Key{key("1", "a"), key("1", "b"), key("2", "a"), key("2", "b")}
	for _, tc := range []struct {
		name    string
		target  Target
		why     Cause
		dropped int
		left    string
	}{
		{"a prospect", Prospect("1"), ByPurge, 2, "2a 2b"},
		{"a prospect, by a write", Prospect("1"), ByWrite, 0, "2a 2b"},
		{"a scope", Scope("a"), ByPurge, 2, "1b 2b"},
		{"everything", Everything(), ByPurge, 4, ""},
		{"what is not there", Prospect("3"), ByPurge, 0, "1a 1b 2a 2b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCache(t, Options[string]{})
			for _, k := range keys {
				fill(t, c, k, brings(k.ID+k.Scope))
			}
			if got, err := c.Drop(t.Context(), tc.target, tc.why); got != tc.dropped || err != nil {
				t.Errorf("dropped %d, want %d", got, tc.dropped)
			}
			var left []string
			for _, k := range keys {
				if v := held(c, k); v != "" {
					left = append(left, v)
				}
			}
			if got := strings.Join(left, " "); got != tc.left {
				t.Errorf("left %q, want %q", got, tc.left)
			}
		})
	}
}

func TestPurgeErasesFromMemory(t *testing.T) {
	c, k := newCache(t, Options[string]{}), key("1", "a")
	fill(t, c, k, brings("v"))
	c.Drop(t.Context(), Prospect("1"), ByPurge)
	if e := c.memory.get(k); e != nil {
		t.Errorf("memory still holds %+v", e)
	}
}

// TestPurgeAgainstFill drops while a fetch of the same prospect is under way: who comes afterwards is answered by another
// fetch, and the first one's answer is neither shared with it nor found later.
func TestPurgeAgainstFill(t *testing.T) {
	for name, target := range map[string]Target{"prospect": Prospect("1"), "scope": Scope("a"), "everything": Everything()} {
		t.Run(name, func(t *testing.T) {
			for range 1000 {
				purgeAgainstFill(t, target)
			}
		})
	}
}

func purgeAgainstFill(t *testing.T, target Target) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options[string]{}), key("1", "a")
		release := make(chan struct{})
		early := make(chan Result[string])
		go func() {
			early <- fill(t, c, k, func(context.Context, *Record[string]) (Fetched[string], error) {
				got, err := brings("old")(t.Context(), nil)
				<-release
				return got, err
			})
		}()
		synctest.Wait() // the fetch has its answer, and waits
		c.Drop(t.Context(), target, ByPurge)
		late := fill(t, c, k, brings("new"))
		if late.New.Value != "new" || late.Collapsed {
			t.Fatalf("after the purge: %+v", late)
		}
		close(release)
		if res := <-early; res.New.Value != "old" || res.Stored {
			t.Fatalf("before the purge: %+v", res)
		}
		if got := held(c, k); got != "new" {
			t.Fatalf("held in the end: %q", got)
		}
	})
}

// TestPurgeRacesWithPut lets purge and put meet at every instant: whatever the order, what was fetched before the purge
// is not found after it.
func TestPurgeRacesWithPut(t *testing.T) {
	c, k := newCache(t, Options[string]{}), key("1", "a")
	for i := range 10_000 {
		gen := c.gens.of(k)
		old := record("old")
		var both sync.WaitGroup
		both.Go(func() { c.memory.put(k, gen, &old, time.Time{}) })
		both.Go(func() { _, _ = c.Drop(t.Context(), Prospect("1"), []Cause{ByPurge, ByWrite}[i%2]) })
		both.Wait()
		if got := held(c, k); got != "" {
			t.Fatalf("round %d: held %q", i, got)
		}
	}
}

func TestOlderAnswerDoesNotReplaceANewerOne(t *testing.T) {
	c, k := newCache(t, Options[string]{}), key("1", "a")
	older := record("older")
	newer := record("newer")
	newer.Sent = older.Sent.Add(time.Millisecond)
	gen := c.gens.of(k)
	if !c.memory.put(k, gen, &newer, time.Time{}) || c.memory.put(k, gen, &older, time.Time{}) {
		t.Error("want the newer stored, the older refused")
	}
	c.memory.end(k, gen, older.Sent, time.Time{}, time.Now().Add(time.Minute))
	if got := held(c, k); got != "newer" {
		t.Errorf("held %q", got)
	}
}

func TestSweepErasesWhatIsUseless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[string]{Sweep: time.Second})
		fill(t, c, key("1", "a"), brings("kept for a minute"))
		fill(t, c, key("2", "a"), brings("overtaken by a write"))
		fill(t, c, key("3", "a"), func(context.Context, *Record[string]) (Fetched[string], error) {
			return Fetched[string]{Record: record("not shared")}, nil
		})
		c.Drop(t.Context(), Prospect("2"), ByWrite)
		entries := func() (ids string) {
			for id := range 4 {
				if c.memory.get(key(fmt.Sprint(id), "a")) != nil {
					ids += fmt.Sprint(id)
				}
			}
			return ids
		}
		for _, step := range []struct {
			after time.Duration
			left  string
		}{{0, "123"}, {1100 * time.Millisecond, "13"}, {8 * time.Second, "1"}, {time.Minute, ""}} {
			time.Sleep(step.after)
			synctest.Wait()
			if got := entries(); got != step.left {
				t.Errorf("%v later: left %q, want %q", step.after, got, step.left)
			}
		}
	})
}

// TestMemoryIsBounded fills with more than the bound, and holds the accounting against the heap.
func TestMemoryIsBounded(t *testing.T) {
	const bound = 8 << 20
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	c := newCache(t, Options[string]{MaxBytes: bound})
	for i := range 20_000 {
		fill(t, c, key(fmt.Sprint(i), "a"), brings(strings.Repeat("x", 900)))
	}
	c.memory.entries.CleanUp()
	if got := c.memory.bytes(); got > bound || got < bound/2 {
		t.Errorf("accounted %d bytes of %d", got, bound)
	}
	used := heap() - before
	t.Logf("%d entries: %d bytes accounted, %d on the heap, %d an entry", c.memory.len(), c.memory.bytes(), used, used/uint64(c.memory.len()))
	if used > bound*5/4 {
		t.Errorf("%d bytes on the heap, bound %d", used, bound)
	}
	runtime.KeepAlive(c)
}

func TestGetDoesNotAllocate(t *testing.T) {
	c, k := newCache(t, Options[string]{}), key("1", "a")
	fill(t, c, k, brings("v"))
	now := time.Now()
	if n := testing.AllocsPerRun(1000, func() { c.Get(k, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGet(b *testing.B) {
	c := newCache(b, Options[string]{})
	k := key("47569637", "a")
	fill(b, c, k, brings("v"))
	b.ReportAllocs()
	now := time.Now()
	for b.Loop() {
		c.Get(k, now)
	}
}
