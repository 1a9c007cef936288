package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"knockproxy/cache/cachetest"
)

// TestEveryStore holds what a caller sees of a cache, whatever stands behind it.
func TestEveryStore(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) *Cache[string]{
		"memory": func(t *testing.T) *Cache[string] { return newCache(t, Options[string]{}) },
		"redis away": func(t *testing.T) *Cache[string] {
			c := replica(t, &cachetest.Backend{URL: "redis://127.0.0.1:1"})
			for range breakerTrips {
				fill(t, c, key("99", "p"), brings("v"))
			}
			return c
		},
		"miniredis":    func(t *testing.T) *Cache[string] { return replica(t, cachetest.Mini(t)) },
		"redis-server": func(t *testing.T) *Cache[string] { return replica(t, cachetest.Real(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			for name, test := range storeSuite {
				t.Run(name, func(t *testing.T) { test(t, open(t)) })
			}
		})
	}
}

var storeSuite = map[string]func(t *testing.T, c *Cache[string]){
	"a record is found again": func(t *testing.T, c *Cache[string]) {
		fill(t, c, key("1", "p"), brings("v"))
		if res := fill(t, c, key("1", "p"), never(t)); res.New.Value != "v" || res.Source == Upstream {
			t.Errorf("%+v", res)
		}
	},
	"partitions are apart": func(t *testing.T, c *Cache[string]) {
		fill(t, c, key("1", "p"), brings("p's"))
		if res := fill(t, c, key("1", "q"), brings("q's")); res.New.Value != "q's" {
			t.Errorf("%+v", res)
		}
	},
	"an expired record is fetched anew": func(t *testing.T, c *Cache[string]) {
		fill(t, c, key("1", "p"), func(context.Context, *Record[string]) (Fetched[string], error) {
			rec := record("old")
			rec.Fresh, rec.Keep = rec.Sent.Add(50*time.Millisecond), rec.Sent.Add(50*time.Millisecond)
			return Fetched[string]{Record: rec, Store: true, Share: true}, nil
		})
		time.Sleep(50 * time.Millisecond) // its freshness
		if res := fill(t, c, key("1", "p"), brings("new")); res.New.Value != "new" {
			t.Errorf("%+v", res)
		}
	},
	"callers share a fetch": func(t *testing.T, c *Cache[string]) {
		var fetches atomic.Int32
		release := make(chan struct{})
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				fill(t, c, key("1", "p"), func(ctx context.Context, _ *Record[string]) (Fetched[string], error) {
					fetches.Add(1)
					<-release
					return brings("v")(ctx, nil)
				})
			})
		}
		cachetest.Eventually(t, func() bool { return fetches.Load() == 1 })
		close(release)
		callers.Wait()
		if fetches.Load() != 1 {
			t.Errorf("%d fetches", fetches.Load())
		}
	},
	"an error is an error, and not kept": func(t *testing.T, c *Cache[string]) {
		down := errors.New("down")
		for range 2 {
			if _, err := c.Fill(t.Context(), key("1", "p"), anyRecord, func(context.Context, *Record[string]) (Fetched[string], error) { return Fetched[string]{}, down }); !errors.Is(err, down) && !errors.Is(err, ErrFailedElsewhere) {
				t.Error(err)
			}
		}
		cachetest.Eventually(t, func() bool {
			res, err := c.Fill(t.Context(), key("1", "p"), anyRecord, brings("v"))
			return err == nil && res.New.Value == "v"
		})
	},
	"a panic is an error": func(t *testing.T, c *Cache[string]) {
		if _, err := c.Fill(t.Context(), key("1", "p"), anyRecord, func(context.Context, *Record[string]) (Fetched[string], error) { panic("x") }); !errors.Is(err, ErrPanic) {
			t.Error(err)
		}
	},
	"what is not to be stored is not": func(t *testing.T, c *Cache[string]) {
		for i := range 3 {
			value := fmt.Sprint(i)
			if res := fill(t, c, key("1", "p"), func(context.Context, *Record[string]) (Fetched[string], error) {
				return Fetched[string]{Record: record(value), Share: true}, nil
			}); res.New.Value != value || res.Stored {
				t.Errorf("%+v", res)
			}
		}
	},
	"a newer answer that is not stored ends the older": func(t *testing.T, c *Cache[string]) {
		fill(t, c, key("1", "p"), brings("old"))
		alone := Need[string]{OK: anyRecord.OK, Alone: true}
		if _, err := c.Fill(t.Context(), key("1", "p"), alone, func(context.Context, *Record[string]) (Fetched[string], error) {
			return Fetched[string]{Record: record("gone"), Share: true, Ends: true}, nil
		}); err != nil {
			t.Fatal(err)
		}
		if res := fill(t, c, key("1", "p"), brings("new")); res.New.Value != "new" {
			t.Errorf("%+v", res)
		}
	},
	"purges hold at once": func(t *testing.T, c *Cache[string]) {
		for name, target := range targets {
			fill(t, c, key("1", "p"), brings("old"))
			_, _ = c.Drop(t.Context(), target, ByPurge) // pending, where Redis is away
			if res := fill(t, c, key("1", "p"), brings("new")); res.New.Value != "new" {
				t.Errorf("%s: %+v", name, res)
			}
			_, _ = c.Drop(t.Context(), Everything(), ByPurge)
		}
	},
	"one key's record ends alone": func(t *testing.T, c *Cache[string]) {
		fill(t, c, key("1", "p"), brings("old"))
		fill(t, c, key("2", "p"), brings("other"))
		c.DropKey(t.Context(), key("1", "p"), ByAuth)
		if res := fill(t, c, key("1", "p"), brings("new")); res.New.Value != "new" {
			t.Errorf("%+v", res)
		}
		if res := fill(t, c, key("2", "p"), never(t)); res.New.Value != "other" {
			t.Errorf("%+v", res)
		}
	},
}
