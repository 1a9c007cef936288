package cache

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// generations counts invalidations by prospect, by scope and of all, in stripes: no state per prospect, one add an
// invalidation. Two that share a stripe invalidate each other, which costs a read and harms nobody.
type generations struct {
	seed   maphash.Seed
	born   time.Time
	all    atomic.Uint64
	scopes [1 << 12]atomic.Uint64
	ids    [1 << 14]atomic.Uint64

	// When an invalidation was last made that Redis did not acknowledge, in nanoseconds since born.
	deniedAll    atomic.Int64
	deniedScopes [1 << 12]atomic.Int64
	deniedIDs    [1 << 14]atomic.Int64
}

func newGenerations() *generations { return &generations{seed: maphash.MakeSeed(), born: time.Now()} }

// of is the generation of a key: the sum of its counters. They only grow, so it changes with each of them.
func (g *generations) of(k Key) uint64 {
	return g.ofScope(k.Scope) + g.id(k.ID).Load()
}

// ofScope is the generation of all that belongs to a scope.
func (g *generations) ofScope(name string) uint64 { return g.all.Load() + g.scope(name).Load() }

// deny keeps this process from using what Redis still holds of a target from before now.
func (g *generations) deny(t Target) {
	now := int64(time.Since(g.born))
	switch {
	case t.all:
		g.deniedAll.Store(now)
	case t.scope != "":
		g.deniedScopes[g.stripe(t.scope, len(g.deniedScopes))].Store(now)
	default:
		g.deniedIDs[g.stripe(t.id, len(g.deniedIDs))].Store(now)
	}
}

// denied tells that a record of a key is from before an invalidation that Redis did not acknowledge.
func (g *generations) denied(k Key, sent time.Time) bool {
	last := max(g.deniedAll.Load(), g.deniedScopes[g.stripe(k.Scope, len(g.deniedScopes))].Load(), g.deniedIDs[g.stripe(k.ID, len(g.deniedIDs))].Load())
	return last != 0 && int64(sent.Sub(g.born)) < last // what was sent before this process began is not denied for that
}

func (g *generations) scope(name string) *atomic.Uint64 {
	return &g.scopes[g.stripe(name, len(g.scopes))]
}

func (g *generations) id(id string) *atomic.Uint64 { return &g.ids[g.stripe(id, len(g.ids))] }

func (g *generations) stripe(name string, of int) uint64 {
	return maphash.String(g.seed, name) % uint64(of) //nolint:gosec // a length
}
