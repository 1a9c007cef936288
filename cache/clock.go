package cache

import (
	"sync/atomic"
	"time"
)

// clock converts between this process's instants and Redis's clock, which all replicas share. It is measured whenever the
// epochs are fetched. Both conversions err to the earlier side by no more than the round trip: nothing seems younger, or
// fresh for longer, than it is.
type clock struct {
	base     time.Time // with its monotonic part
	measured atomic.Pointer[offset]
}

// offset is what Redis's clock showed at base, in ms, as the sending and the receipt of one command bound it.
type offset struct{ least, most int64 }

func newClock() *clock { return &clock{base: time.Now()} }

// measure takes in that Redis's clock showed ms at some instant between sent and received.
func (c *clock) measure(ms int64, sent, received time.Time) {
	c.measured.Store(&offset{least: ms - c.since(received) - 1, most: ms - c.since(sent) + 1})
}

func (c *clock) since(t time.Time) int64 { return t.Sub(c.base).Milliseconds() }

// known tells whether the clock was ever measured.
func (c *clock) known() bool { return c.measured.Load() != nil }

// toRedis is the earliest that Redis's clock may have shown at t.
func (c *clock) toRedis(t time.Time) int64 { return c.measured.Load().least + c.since(t) }

// fromRedis is the earliest instant at which Redis's clock may have shown ms.
func (c *clock) fromRedis(ms int64) time.Time {
	return c.base.Add(time.Duration(ms-c.measured.Load().most) * time.Millisecond)
}

// ahead is how far Redis's clock is ahead of this process's wall clock.
func (c *clock) ahead() time.Duration {
	o := c.measured.Load()
	if o == nil {
		return 0
	}
	return time.Duration((o.least+o.most)/2-c.base.UnixMilli()) * time.Millisecond
}
