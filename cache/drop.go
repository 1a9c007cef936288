package cache

import "context"

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
)

// Drop invalidates a target: from its return on, no caller that arrives is answered from what was stored, or was being
// fetched, before. A purge also erases the records from memory, and tells how many still valid ones it dropped; any
// other cause leaves the erasing to eviction and the sweep.
func (c *Cache[V]) Drop(_ context.Context, t Target, why Cause) (dropped int) {
	var found []Key
	if why == ByPurge {
		found, dropped = c.memory.find(t)
	}
	c.advance(t)
	for _, k := range found {
		c.memory.erase(k)
	}
	c.metrics.Invalidated(string(why))
	return dropped
}

// DropKey invalidates one key's record and leaves the other partners' alone.
func (c *Cache[V]) DropKey(k Key, why Cause) {
	c.memory.erase(k)
	c.metrics.Invalidated(string(why))
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
