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
}

func newGenerations() *generations { return &generations{seed: maphash.MakeSeed(), born: time.Now()} }

// of is the generation of a key: the sum of its counters. They only grow, so it changes with each of them.
func (g *generations) of(k Key) uint64 {
	return g.ofScope(k.Scope) + g.id(k.ID).Load()
}

// ofScope is the generation of all that belongs to a scope.
func (g *generations) ofScope(name string) uint64 { return g.all.Load() + g.scope(name).Load() }

func (g *generations) scope(name string) *atomic.Uint64 {
	return &g.scopes[maphash.String(g.seed, name)%uint64(len(g.scopes))]
}

func (g *generations) id(id string) *atomic.Uint64 {
	return &g.ids[maphash.String(g.seed, id)%uint64(len(g.ids))]
}
