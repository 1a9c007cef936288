// Package cache keeps answers by prospect and by the upstream key that fetched them.
//
// A request sees three calls of it. Get looks into memory. Fill finds or makes a record, with one fetch however many
// ask at once. Drop empties a prospect, a scope, or all. The cache knows no HTTP: a value is opaque and ready to use,
// and every instant comes with its record.
//
// # Purge against fill
//
// Three families of counters, by prospect, by scope and one for all, make a record's generation. Whoever reads notes
// the generation before the read; a purge adds one. An entry bears the generation of its read and is valid only while
// the generation is the same, and a flight's name contains it. So after Drop returned, no later caller is answered from
// what was stored, or was being fetched, before: the old entry compares unequal, the old flight is not joined, and what
// it stores in the end bears the old number.
package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/singleflight"

	"knockproxy/metrics"
)

// Key is one prospect as one upstream key sees it.
type Key struct {
	Partition [16]byte // of the upstream and the key it was asked with
	ID        string   // canonical, 1 to 20 digits
	Scope     string   // whose purge empties it: a partner's name, or the partition in hex
}

// Record is one stored answer: immutable, shared by all who read it.
type Record[V any] struct {
	Value V
	Sent  time.Time // the upstream request was sent
	Fresh time.Time // stale from here on
	Keep  time.Time // useless from here on, and swept
}

// Need is what will do for a caller.
type Need[V any] struct {
	// OK tells whether a stored record answers the caller. It is pure and may be called several times.
	OK func(*Record[V]) bool
	// Alone keeps the caller out of shared reads: the answer may depend on something that is not in the key.
	Alone bool
}

// Fetched is what a fetch brought.
type Fetched[V any] struct {
	Record Record[V]
	Store  bool // keep it
	Share  bool // it answers those who waited too; otherwise each of them asks for itself
	Ends   bool // what was stored before is not to be served after it: a whole, newer answer
	Failed bool // it is a failure of the upstream's, which other replicas share for a moment
}

// Fetch asks the upstream; old is the newest record at hand, or nil. All who wait share its error.
// A shared fetch runs detached from its callers, under the cache's own deadline.
type Fetch[V any] func(ctx context.Context, old *Record[V]) (Fetched[V], error)

// Source tells where a result came from.
type Source uint8

// The sources of a result.
const (
	Upstream Source = iota
	Memory
	Redis
)

// Result is what Fill found or made. New is nil beside an error.
type Result[V any] struct {
	New       *Record[V]
	Source    Source
	Stored    bool // New is in the cache now
	Collapsed bool // by a read that another caller began
}

// Options of a cache. Size and Metrics are required.
type Options[V any] struct {
	MaxBytes uint64        // bound of memory, in bytes; if zero, 64 MiB
	Size     func(V) int   // bytes that a value holds, its own overhead counted
	Deadline time.Duration // bound of one shared fetch, waiting counted; if zero, 8 s
	Try      time.Duration // what of Deadline is kept for a fetch of one's own after waiting for another replica's; if zero, 3 s
	Metrics  *metrics.Metrics
	Sweep    time.Duration // how often what is useless is swept from memory; if zero, 15 s
	Apart    time.Duration // how long nobody waits for a prospect whose answer was not to be shared; if zero, 2 s

	Redis     *RedisOptions // the tier that replicas share; if nil, there is none
	Codec     Codec[V]      // needed with Redis
	MemoryTTL time.Duration // with Redis: how long memory answers without asking there
	Longest   time.Duration // with Redis: the longest time that a record is kept
	Lease     time.Duration // with Redis: of a fetch, renewed while it lasts; if zero, 2 s
}

// Cache is a bounded tier in memory, one that replicas may share in Redis, and the reads under way. Close it when done.
type Cache[V any] struct {
	memory    *memory[V]
	remote    *remote // nil without Redis
	codec     Codec[V]
	gens      *generations
	flights   singleflight.Group
	deadline  time.Duration
	try       time.Duration
	apart     time.Duration
	memoryTTL time.Duration
	lease     time.Duration
	metrics   *metrics.Metrics
}

// New makes an empty cache and starts its sweeping. A Redis that cannot be reached is no error.
func New[V any](o Options[V]) (*Cache[V], error) {
	c := &Cache[V]{
		gens:      newGenerations(),
		codec:     o.Codec,
		deadline:  orDefault(o.Deadline, 8*time.Second),
		try:       orDefault(o.Try, 3*time.Second),
		apart:     orDefault(o.Apart, 2*time.Second),
		memoryTTL: o.MemoryTTL,
		lease:     orDefault(o.Lease, 2*time.Second),
		metrics:   o.Metrics,
	}
	var err error
	if o.Redis != nil {
		if c.remote, err = newRemote(o.Redis, o.Longest, o.Metrics); err != nil {
			return nil, fmt.Errorf("making the shared tier: %w", err)
		}
	}
	c.memory, err = newMemory(o, c.gens)
	if err != nil {
		return nil, fmt.Errorf("making the memory tier: %w", err)
	}
	o.Metrics.Memory(c.memory.len, c.memory.bytes)
	return c, nil
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// Close stops the sweeping, and the connections to Redis. Flights under way end by themselves.
func (c *Cache[V]) Close() {
	c.memory.close()
	if c.remote != nil {
		c.remote.close()
	}
}

// Redis tells whether there is a shared tier, and whether it is in use.
func (c *Cache[V]) Redis() (configured, up bool) {
	return c.remote != nil, c.remote != nil && c.remote.up.Load()
}

// Get looks into memory only: no I/O, no allocation. The record may be stale: the caller judges. With Redis it is nil once
// memory's own time is over, unless Redis is away.
func (c *Cache[V]) Get(k Key, now time.Time) *Record[V] {
	e := c.memory.get(k)
	if e == nil || e.gen != c.gens.of(k) || c.remote != nil && !now.Before(e.until) && c.remote.up.Load() {
		return nil
	}
	return e.rec
}

// peek is the newest record in memory, whatever its time.
func (c *Cache[V]) peek(k Key) *Record[V] {
	if e := c.memory.get(k); e != nil && e.gen == c.gens.of(k) {
		return e.rec
	}
	return nil
}

// Fill finds or makes a record that meets need. Callers of one key who come while a fetch runs share it, its error too.
// It returns ctx's error when the caller leaves first: the fetch goes on for the others, and is stored.
func (c *Cache[V]) Fill(ctx context.Context, k Key, need Need[V], fetch Fetch[V]) (Result[V], error) {
	arrived := time.Now()
	for {
		gen := c.gens.of(k) // before anything is read
		if need.Alone || c.isApart(k, gen) {
			return c.fillAlone(ctx, k, gen, fetch)
		}
		landed, err := c.join(ctx, k, gen, need, fetch)
		switch {
		case err != nil:
			return Result[V]{Collapsed: !landed.led}, err
		case landed.led:
			return landed.Result, nil
		case !landed.shared: // not to be shared
			return c.fillAlone(ctx, k, gen, fetch)
		case (landed.Source != Upstream || landed.kept && landed.New.Sent.Before(arrived)) && !need.OK(landed.New):
			continue // it did for the caller who led, not for this one
		}
		landed.Collapsed = landed.Collapsed || landed.Source == Upstream
		return landed.Result, nil
	}
}

// landing is what a flight ends with, for each of its callers.
type landing[V any] struct {
	Result[V]
	shared bool
	kept   bool // it was to be stored: it has a freshness
	led    bool // by this caller
}

// join waits for the flight of key and generation, which it starts if there is none.
func (c *Cache[V]) join(ctx context.Context, k Key, gen uint64, need Need[V], fetch Fetch[V]) (landing[V], error) {
	led := false // written by the flight if it is ours, read after it has landed
	ch := c.flights.DoChan(c.flightName(k, gen), func() (any, error) {
		led = true
		return c.fly(ctx, k, gen, need, fetch)
	})
	select {
	case <-ctx.Done():
		return landing[V]{}, context.Cause(ctx)
	case r := <-ch:
		l, _ := r.Val.(landing[V])
		l.led = led
		return l, r.Err
	}
}

// fillAlone fetches for one caller, who takes the fetch with it when it leaves.
func (c *Cache[V]) fillAlone(ctx context.Context, k Key, gen uint64, fetch Fetch[V]) (Result[V], error) {
	ctx, cancel := context.WithTimeout(ctx, c.deadline)
	defer cancel()
	got, err := safely(ctx, fetch, c.peek(k))
	if err != nil {
		return Result[V]{}, err
	}
	if !got.Store && (got.Ends || !got.Share) {
		c.forget(ctx, k)
	}
	if got.Store && c.remote != nil && c.remote.up.Load() { // without a lease nothing is stored while there is a Redis
		got.Store = false
		return Result[V]{New: &got.Record, Source: Upstream}, nil
	}
	return c.keep(k, gen, &got), nil
}

// keep stores what was fetched, if it may be stored and nothing overtook it; it notes what is not to be shared.
func (c *Cache[V]) keep(k Key, gen uint64, got *Fetched[V]) Result[V] {
	res := Result[V]{New: &got.Record, Source: Upstream}
	switch {
	case got.Store:
		res.Stored = c.memory.put(k, gen, &got.Record, time.Time{})
		if !res.Stored {
			c.metrics.FillRefused(metrics.RefusedLost)
		}
	case !got.Share:
		c.memory.end(k, gen, got.Record.Sent, time.Now().Add(c.apart), time.Now().Add(c.deadline))
	case got.Ends:
		c.memory.end(k, gen, got.Record.Sent, time.Time{}, time.Now().Add(c.deadline))
	}
	return res
}

// isApart tells that nobody is to wait for this key now: its last answer was not to be shared.
func (c *Cache[V]) isApart(k Key, gen uint64) bool {
	e := c.memory.get(k)
	return e != nil && e.gen == gen && !e.apart.IsZero() && time.Now().Before(e.apart)
}

// ErrPanic is what callers get when a fetch panicked; the panic is in its text.
var ErrPanic = errors.New("panic in a fetch")

// safely turns a panic of fetch into an error: inside a flight it would end the process.
func safely[V any](ctx context.Context, fetch Fetch[V], old *Record[V]) (got Fetched[V], err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %T\n%s", ErrPanic, v, debug.Stack()) // the type only: the value may quote an answer
		}
	}()
	return fetch(ctx, old)
}
