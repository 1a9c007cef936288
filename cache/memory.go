package cache

import (
	"math"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// entryOverhead is what an entry costs beside its value and id, in bytes: otter's node and table slot, the entry and
	// the record. Held against the heap by a test.
	entryOverhead = 400
	defaultBytes  = 64 << 20
	defaultSweep  = 15 * time.Second
)

// memory is the tier in this process, bounded in bytes. What it holds may be invalid or past its time: whoever reads
// compares the generation and judges the stamps.
type memory[V any] struct {
	gens    *generations
	entries *otter.Cache[slot, *entry[V]]
	stop    chan struct{}
	stopped sync.WaitGroup
}

// slot is where a key's entry lies. The scope is not part of it: a partition has one.
type slot struct {
	partition [16]byte
	id        string
}

// entry is immutable: a change replaces it.
type entry[V any] struct {
	key   Key
	gen   uint64     // noted before the read that brought it
	sent  time.Time  // the request that brought it
	stamp int64      // the same by Redis's clock, in ms, of a record that is there; else 0
	rec   *Record[V] // nil where what was brought was not stored
	until time.Time  // with Redis: until then it is answered from without asking there
	apart time.Time  // until then nobody waits for another's read of this key
	ends  time.Time  // of an entry without a record: until then it is of use
}

func newMemory[V any](o Options[V], gens *generations) (*memory[V], error) {
	bound := o.MaxBytes
	if bound == 0 {
		bound = defaultBytes
	}
	entries, err := otter.New(&otter.Options[slot, *entry[V]]{
		MaximumWeight: bound,
		Weigher: func(s slot, e *entry[V]) uint32 {
			weight := entryOverhead + len(s.id)
			if e.rec != nil {
				weight += o.Size(e.rec.Value)
			}
			return uint32(min(weight, math.MaxUint32))
		},
		OnAtomicDeletion: func(e otter.DeletionEvent[slot, *entry[V]]) {
			if e.Cause == otter.CauseOverflow {
				o.Metrics.Evicted()
			}
		},
	})
	if err != nil {
		return nil, err
	}
	m := &memory[V]{gens: gens, entries: entries, stop: make(chan struct{})}
	m.stopped.Go(func() { m.sweepEvery(orDefault(o.Sweep, defaultSweep)) })
	return m, nil
}

func (m *memory[V]) close() {
	close(m.stop)
	m.stopped.Wait()
	m.entries.StopAllGoroutines()
}

func (m *memory[V]) get(k Key) *entry[V] {
	e, _ := m.entries.GetIfPresent(slot{k.Partition, k.ID})
	return e
}

// put stores a record unless an invalidation or a newer answer overtook its read. The check and the store are one step
// for the slot; an invalidation between them is caught by the entry's generation.
func (m *memory[V]) put(k Key, gen uint64, rec *Record[V], until time.Time) bool {
	return m.replace(&entry[V]{key: k, gen: gen, sent: rec.Sent, rec: rec, until: until})
}

// end puts an end to what was stored before an answer that was not: it is older. Until ends nothing that was asked for
// before it is stored either; until apart nobody waits for another's read of this key.
func (m *memory[V]) end(k Key, gen uint64, sent, apart, ends time.Time) {
	m.replace(&entry[V]{key: k, gen: gen, sent: sent, apart: apart, ends: ends})
}

// replace puts an entry in place of one that was not asked for later.
func (m *memory[V]) replace(e *entry[V]) (done bool) {
	if m.gens.of(e.key) != e.gen {
		return false
	}
	m.entries.Compute(slot{e.key.Partition, e.key.ID}, func(old *entry[V], found bool) (*entry[V], otter.ComputeOp) {
		if found && old.gen == e.gen && old.newer(e) {
			return old, otter.CancelOp
		}
		done = true
		return e, otter.WriteOp
	})
	return done
}

// newer tells that an entry was asked for later than another. Two that Redis holds compare by its own stamps: one and the
// same record, read twice, need not have the same instant here.
func (e *entry[V]) newer(other *entry[V]) bool {
	if e.stamp != 0 && other.stamp != 0 {
		return e.stamp > other.stamp
	}
	return e.sent.After(other.sent)
}

func (m *memory[V]) erase(k Key) { m.entries.Invalidate(slot{k.Partition, k.ID}) }

// find lists the keys that a target covers, and counts the records among them that are still valid.
func (m *memory[V]) find(t Target) (keys []Key, valid int) {
	now := time.Now()
	for e := range m.entries.Values() {
		if !t.covers(e.key) {
			continue
		}
		keys = append(keys, e.key)
		if !m.useless(e, now) {
			valid++
		}
	}
	return keys, valid
}

// useless tells that an entry will never answer anybody again.
func (m *memory[V]) useless(e *entry[V], now time.Time) bool {
	return e.rec == nil || !now.Before(e.rec.Keep) || e.gen != m.gens.of(e.key)
}

// sweepEvery erases what is useless, so that personal data does not outlive its time in memory by more than one period.
func (m *memory[V]) sweepEvery(period time.Duration) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			m.sweep(time.Now())
		}
	}
}

func (m *memory[V]) sweep(now time.Time) {
	for e := range m.entries.Values() {
		if !m.useless(e, now) || now.Before(e.ends) {
			continue
		}
		m.entries.ComputeIfPresent(slot{e.key.Partition, e.key.ID}, func(cur *entry[V]) (*entry[V], otter.ComputeOp) {
			if cur != e { // replaced meanwhile
				return cur, otter.CancelOp
			}
			return nil, otter.InvalidateOp
		})
	}
}

func (m *memory[V]) len() int      { return m.entries.EstimatedSize() }
func (m *memory[V]) bytes() uint64 { return m.entries.WeightedSize() }
