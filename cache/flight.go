package cache

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/maphash"
	mathrand "math/rand/v2"
	"time"

	"knockproxy/metrics"
)

// ErrFailedElsewhere is another replica's failure to reach the upstream, a moment ago.
var ErrFailedElsewhere = errors.New("another replica could not reach the upstream")

const (
	failureShared = time.Second            // how long other replicas share a failure
	leastInterval = 50 * time.Millisecond  // of flights with Redis, however short memory's own time
	firstPoll     = 10 * time.Millisecond  // while another replica fetches
	longestPoll   = 100 * time.Millisecond // jittered, as the first
)

// flightName names the reads that may be shared: of one key and one generation, and with Redis of one interval of memory's
// own time. A caller who comes later than that asks Redis anew, where it finds the lease of the older flight, or that it is
// gone: so a purge at another replica holds here no later than memory's own time after it.
func (c *Cache[V]) flightName(k Key, gen uint64) string {
	b := make([]byte, 0, len(k.Partition)+16+len(k.ID))
	b = append(b, k.Partition[:]...)
	b = binary.LittleEndian.AppendUint64(b, gen)
	if c.remote != nil && c.remote.up.Load() {
		interval := max(c.memoryTTL, leastInterval)
		phase := time.Duration(maphash.String(c.gens.seed, k.ID) % uint64(interval))              //nolint:gosec // below interval
		b = binary.LittleEndian.AppendUint64(b, uint64((time.Since(c.gens.born)+phase)/interval)) //nolint:gosec // as bits
	}
	return string(append(b, k.ID...))
}

// flight is one shared read.
type flight[V any] struct {
	*Cache[V]
	key   Key
	gen   uint64 // noted before anything was read
	need  Need[V]
	fetch Fetch[V]
	old   *Record[V] // the newest at hand

	// with Redis
	slot     slotOf
	scopeGen uint64
	epochs   epochsOf
	seen     string    // the tag of the record that was last looked at
	stamp    int64     // and its sending, by Redis's clock
	token    string    // of our lease
	waiting  time.Time // since when another replica's fetch is waited for
}

// fly is one shared read: look again, fetch, put. It outlives the caller who began it.
func (c *Cache[V]) fly(ctx context.Context, k Key, gen uint64, need Need[V], fetch Fetch[V]) (landing[V], error) {
	if rec := c.Get(k, time.Now()); rec != nil && need.OK(rec) { // filled since the caller looked
		return landing[V]{Result: Result[V]{New: rec, Source: Memory, Stored: true}, shared: true}, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.deadline)
	defer cancel()
	f := &flight[V]{Cache: c, key: k, gen: gen, need: need, fetch: fetch, old: c.peek(k)}
	if c.remote == nil {
		return f.local(ctx)
	}
	return f.shared(ctx)
}

// local fetches and keeps in memory: there is no Redis, or it is away.
func (f *flight[V]) local(ctx context.Context) (landing[V], error) {
	got, err := safely(ctx, f.fetch, f.old)
	if err != nil {
		return landing[V]{}, err
	}
	res := f.keep(f.key, f.gen, &got)
	if f.remote != nil && f.remote.up.Load() {
		res.Stored = false // it was one failure only: memory is not answered from
	}
	return landing[V]{Result: res, shared: got.Share, kept: got.Store}, nil
}

// unkept fetches and stores nothing: Redis is there, but would not have it.
func (f *flight[V]) unkept(ctx context.Context) (landing[V], error) {
	got, err := safely(ctx, f.fetch, f.old)
	if err != nil {
		return landing[V]{}, err
	}
	return landing[V]{Result: Result[V]{New: &got.Record, Source: Upstream}, shared: got.Share, kept: got.Store}, nil
}

// shared looks into Redis, and fetches under a lease if there is nothing that will do.
func (f *flight[V]) shared(ctx context.Context) (landing[V], error) {
	f.slot, f.scopeGen = f.remote.slot(f.key), f.gens.ofScope(f.key.Scope)
	asked := time.Now()
	raw, epochs, err := f.remote.look(ctx, f.key, f.slot, f.memoryTTL, f.scopeGen)
	if err != nil {
		return f.local(ctx)
	}
	f.epochs = epochs
	if rec := f.open(raw); rec != nil && f.need.OK(rec) {
		return f.found(rec, asked), nil
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	f.token = hex.EncodeToString(b[:])
	return f.underLease(ctx)
}

// underLease takes the lease and fetches, or waits for who holds it.
func (f *flight[V]) underLease(ctx context.Context) (landing[V], error) {
	sure := false // our epochs were asked for after a lease of others was met
	for pause := firstPoll; ; pause = min(pause*3/2, longestPoll) {
		if err := f.renewEpochs(ctx, sure); err != nil {
			f.waited(metrics.WaitGaveUp)
			return f.local(ctx)
		}
		asked := time.Now()
		found, raw, err := f.remote.acquire(ctx, f.slot, f.seen, f.token, f.epochs, sure, f.lease)
		sure = found == foundOther
		switch {
		case err != nil && !f.remote.up.Load():
			f.waited(metrics.WaitGaveUp)
			return f.local(ctx)
		case err != nil: // it may have been granted though its reply was late: put and fail look at the token
			f.waited(metrics.WaitGaveUp)
			return f.fetchAndPut(ctx)
		case found == foundRecord:
			if rec := f.open(raw); rec != nil && f.need.OK(rec) {
				f.waited(metrics.WaitFilled)
				return f.found(rec, asked), nil
			}
		case found == foundFailed:
			f.waited(metrics.WaitFailed)
			return landing[V]{}, ErrFailedElsewhere
		case found == foundGranted:
			f.waited(metrics.WaitTakeover)
			return f.fetchAndPut(ctx)
		case found == foundBusy:
			if !f.wait(ctx, pause) {
				f.waited(metrics.WaitGaveUp)
				return f.unkept(ctx)
			}
		}
		if ctx.Err() != nil {
			return landing[V]{}, ctx.Err()
		}
	}
}

// renewEpochs asks again for epochs that are known no longer, or that must be sure.
func (f *flight[V]) renewEpochs(ctx context.Context, now bool) (err error) {
	if now || time.Since(f.epochs.asked) >= max(f.memoryTTL, leastInterval) {
		f.epochs, err = f.remote.fetchEpochs(ctx, f.key.Scope, f.scopeGen, nil)
	}
	return err
}

// wait lets a jittered pause pass; false: what is left of the time is needed for a fetch of our own.
func (f *flight[V]) wait(ctx context.Context, pause time.Duration) bool {
	if f.waiting.IsZero() {
		f.waiting = time.Now()
	}
	pause = pause/2 + mathrand.N(pause) //nolint:gosec // jitter
	if ends, ok := ctx.Deadline(); ok && time.Until(ends)-pause < f.try {
		return false
	}
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// waited counts the end of a wait, if there was one.
func (f *flight[V]) waited(outcome string) {
	if !f.waiting.IsZero() {
		f.remote.metrics.Waited(outcome, time.Since(f.waiting))
	}
}

// remember puts a record into memory for its own time, from the instant at which Redis was asked for it and for the epochs
// that it is valid in, whichever is earlier: since then it may have been purged.
// stamp is the record's own, of Redis's clock: it names the record however its instants were converted.
func (f *flight[V]) remember(rec *Record[V], stamp int64, asked time.Time) {
	if f.epochs.asked.Before(asked) {
		asked = f.epochs.asked
	}
	f.memory.replace(&entry[V]{key: f.key, gen: f.gen, sent: rec.Sent, stamp: stamp, rec: rec, until: asked.Add(f.memoryTTL)})
}

// found answers from a record of Redis.
func (f *flight[V]) found(rec *Record[V], asked time.Time) landing[V] {
	f.remember(rec, f.stamp, asked)
	return landing[V]{Result: Result[V]{New: rec, Source: Redis, Stored: true, Collapsed: !f.waiting.IsZero()}, shared: true}
}

// open reads a record, or nothing where there is none of the present epochs.
func (f *flight[V]) open(raw []byte) *Record[V] {
	f.seen, f.stamp = tagOf(raw), 0
	if len(raw) == 0 {
		return nil
	}
	head, err := parseFrame(raw)
	if err != nil {
		f.metrics.Unreadable()
		return nil
	}
	if head.epochs != f.epochs.values {
		return nil
	}
	plain, err := f.remote.sealer.open(nil, raw, &head, f.slot.hash, f.slot.record)
	if err != nil {
		f.metrics.Unreadable()
		return nil
	}
	value, err := f.codec.Parse(plain)
	if err != nil {
		f.metrics.Unreadable()
		return nil
	}
	clock := f.remote.clock
	f.stamp = head.sent
	rec := &Record[V]{Value: value, Sent: clock.fromRedis(head.sent), Fresh: clock.fromRedis(head.fresh), Keep: clock.fromRedis(head.keep)}
	if rec.Sent.After(time.Now()) { // Redis's clock has been set back: the record may be of any age
		return nil
	}
	if f.gens.denied(f.key, rec.Sent) {
		return nil
	}
	if f.old == nil || rec.Sent.After(f.old.Sent) {
		f.old = rec
	}
	return rec
}

// fetchAndPut fetches under our lease, which is renewed meanwhile, and stores the answer if the lease is still ours.
func (f *flight[V]) fetchAndPut(ctx context.Context) (landing[V], error) {
	release := f.keepLease(ctx)
	got, err := safely(ctx, f.fetch, f.old)
	release()
	if err != nil {
		_ = f.remote.fail(ctx, f.slot, f.token, failureShared) // or it lapses
		return landing[V]{}, err
	}
	if !got.Store {
		if got.Ends || !got.Share {
			f.forget(ctx, f.key)
		}
		shared := time.Duration(0)
		if got.Failed {
			shared = failureShared
		}
		_ = f.remote.fail(ctx, f.slot, f.token, shared) // or it lapses
		return landing[V]{Result: f.keep(f.key, f.gen, &got), shared: got.Share}, nil
	}
	stored := f.put(ctx, &got.Record)
	return landing[V]{Result: Result[V]{New: &got.Record, Source: Upstream, Stored: stored}, shared: got.Share, kept: true}, nil
}

// keepLease renews our lease until the function it returns is called.
func (f *flight[V]) keepLease(ctx context.Context) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(f.lease / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if ours, err := f.remote.renew(ctx, f.slot, f.token, f.lease); err == nil && !ours {
					return // the answer will be refused
				}
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// put stores a fetched record in Redis, and then in memory: never without Redis's word, and for no longer than from the
// instant at which it was asked.
func (f *flight[V]) put(ctx context.Context, rec *Record[V]) bool {
	if now, ok := f.remote.epochs.byScope.GetIfPresent(f.key.Scope); ok && now.values != f.epochs.values {
		_ = f.remote.fail(ctx, f.slot, f.token, 0) // or it lapses
		f.metrics.FillRefused(metrics.RefusedEpoch)
		return false
	}
	if f.gens.of(f.key) != f.gen { // invalidated here meanwhile, though Redis may not have been told
		_ = f.remote.fail(ctx, f.slot, f.token, 0) // or it lapses
		f.metrics.FillRefused(metrics.RefusedLost)
		return false
	}
	clock := f.remote.clock
	head := frame{epochs: f.epochs.values, stamps: stamps{sent: clock.toRedis(rec.Sent), fresh: clock.toRedis(rec.Fresh), keep: clock.toRedis(rec.Keep)}}
	raw, err := f.remote.sealer.seal(&head, f.slot.hash, f.slot.record, f.codec.Append(nil, rec.Value))
	if err != nil {
		return false
	}
	asked := time.Now()
	verdict, err := f.remote.put(ctx, f.slot, f.token, raw, head.keep)
	switch {
	case err != nil:
		return false
	case verdict != storedVerdict:
		f.metrics.FillRefused(verdict)
		return false
	}
	f.remember(rec, head.sent, asked)
	return true
}
