package cache

import (
	"context"
	"errors"
	"fmt"
)

// Target is what an invalidation empties.
type Target struct {
	id, scope string
	all       bool
}

// Prospect is one prospect, for every partner.
func Prospect(id string) Target { return Target{id: id} }

// Scope is all that one scope holds: a partner's name, or an unlisted key's partition in hex.
func Scope(name string) Target { return Target{scope: name} }

// Everything is all there is.
func Everything() Target { return Target{all: true} }

// covers tells whether a key belongs to the target.
func (t Target) covers(k Key) bool {
	return t.all || (t.id != "" && t.id == k.ID) || (t.scope != "" && t.scope == k.Scope)
}

// Cause is why something is invalidated: the value of a metric's label.
type Cause string

// The causes.
const (
	ByPurge Cause = "purge" // an operator asked
	ByWrite Cause = "write" // a write passed through the proxy
	ByAuth  Cause = "auth"  // the upstream refused the key

	Repeated Cause = "" // one that was counted before
)

// ErrPending is an invalidation that Redis did not acknowledge: it holds in this process alone.
var ErrPending = errors.New("redis did not acknowledge the invalidation")

// Drop invalidates a target: from its return on, no caller that arrives here is answered from what was stored, or was
// being fetched, before, and none at another replica once its memory's own time has passed. Redis is told first: a read
// between the two would fill memory again. A purge also erases the records from this memory, and tells how many records of
// a prospect it dropped: from Redis, without it still valid ones from memory. Any other cause leaves the erasing to
// eviction and the sweep.
func (c *Cache[V]) Drop(ctx context.Context, t Target, why Cause) (dropped int, err error) {
	if c.remote != nil {
		dropped, err = c.remote.dropTarget(ctx, t, why)
		if err == nil && !c.remote.up.Load() {
			err = errAway // others may have left it alone too, and answer from memory
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrPending, err)
			c.gens.deny(t) // when Redis is back, what it holds is not used here
		}
	}
	var found []Key
	if why == ByPurge {
		var valid int
		if found, valid = c.memory.find(t); c.remote == nil || err != nil {
			dropped = valid
		}
	}
	c.advance(t)
	for _, k := range found {
		c.memory.erase(k)
	}
	if why != Repeated {
		c.metrics.Invalidated(string(why))
	}
	return dropped, err
}

// DropKey invalidates one key's record. The other partners' stay in Redis.
func (c *Cache[V]) DropKey(ctx context.Context, k Key, why Cause) {
	c.forget(ctx, k)
	c.gens.id(k.ID).Add(1) // a read under way, of another caller, is not stored; the other partners' cost a read
	c.memory.erase(k)
	c.metrics.Invalidated(string(why))
}

// forget erases one key's record from Redis; where that fails it ends with its freshness.
func (c *Cache[V]) forget(ctx context.Context, k Key) {
	if c.remote == nil {
		return
	}
	s := c.remote.slot(k)
	_ = c.remote.op(ctx, "drop", func(ctx context.Context) error {
		return c.remote.client.HDel(ctx, s.hash, s.record).Err()
	})
}

// dropTarget tells Redis what is invalid. What an operator asked for is tried though Redis is left alone; a write does not
// wait for a Redis that is away.
func (r *remote) dropTarget(ctx context.Context, t Target, why Cause) (records int, err error) {
	do := r.op
	if why == ByPurge {
		do = r.try
	}
	err = do(ctx, "drop", func(ctx context.Context) (err error) {
		switch {
		case t.all:
			return r.client.Del(ctx, r.epochKey("all")).Err()
		case t.scope != "":
			return r.client.Del(ctx, r.epochKey(t.scope)).Err()
		}
		records, err = dropScript.Run(ctx, r.client, []string{r.hash(t.id)}).Int()
		return err
	})
	return records, err
}

func (c *Cache[V]) advance(t Target) {
	switch {
	case t.all:
		c.gens.all.Add(1)
	case t.scope != "":
		c.gens.scope(t.scope).Add(1)
	default:
		c.gens.id(t.id).Add(1)
	}
}
