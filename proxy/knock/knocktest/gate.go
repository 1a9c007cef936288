package knocktest

import (
	"slices"
	"sync"
)

// Gate holds requests until the test lets them go. A client that leaves, and the closing of the Server, let them go too.
type Gate struct {
	server *Server

	mu      sync.Mutex
	open    bool            // guarded by mu
	arrived int             // guarded by mu
	passes  int             // requests yet to come that are not held; guarded by mu
	held    []chan struct{} // closed to let go, the oldest first; guarded by mu
	changed notice          // guarded by mu
}

// NewGate returns a closed Gate that is nowhere yet: put its Hold somewhere.
func (s *Server) NewGate() *Gate { return &Gate{server: s} }

// Gate puts a closed Gate on the requests of one prospect, or on All, that match. Answers are made when the request
// comes and are then held. For a Gate before that, or for a limited number of requests, see Gate.Hold.
func (s *Server) Gate(id string, when ...Match) *Gate {
	g := s.NewGate()
	s.Always(id, g.Hold().When(when...))
	return g
}

// Hold is the Gate as a Fault. It holds answers that are made; Hold().Early() holds requests that nobody has looked at.
func (g *Gate) Hold() Fault {
	f := waiting(g.hold)
	f.gate = g
	return f
}

// Wait returns when n requests have arrived since the Gate was made, held or not. It fails the test when Options.Patience
// is at its end; without Start it panics.
func (g *Gate) Wait(n int) {
	if g.server.tb != nil {
		g.server.tb.Helper()
	}
	if !g.server.await(func() (bool, <-chan struct{}) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.arrived >= n, g.changed.wait()
	}) {
		g.server.fail("waiting at a gate: %d of %d requests arrived", g.Arrived(), n)
	}
}

// Arrived returns how many requests came to the Gate since it was made.
func (g *Gate) Arrived() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.arrived
}

// Open lets everything that is held go, and holds nothing from now on.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	g.release(len(g.held))
}

// Close makes an open Gate hold again.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.passes = false, 0
}

// Pass lets n requests go, the oldest first; if fewer are held, the next to come pass.
func (g *Gate) Pass(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := min(n, len(g.held))
	g.release(now)
	g.passes += n - now
}

// release lets the n oldest go. The caller holds mu.
func (g *Gate) release(n int) {
	for _, released := range g.held[:n] {
		close(released)
	}
	g.held = slices.Delete(g.held, 0, n)
}

func (g *Gate) hold(x *exchange) error {
	released := g.enter()
	if released == nil {
		return nil
	}
	err := x.wait(released)
	if err != nil {
		g.leave(released)
	}
	return err
}

// enter counts a request, and returns nil if it may pass.
func (g *Gate) enter() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.arrived++
	g.changed.tell()
	if g.open {
		return nil
	}
	if g.passes > 0 {
		g.passes--
		return nil
	}
	released := make(chan struct{})
	g.held = append(g.held, released)
	return released
}

// leave forgets a request that ended while it was held, so that it uses up no Pass.
func (g *Gate) leave(released chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = slices.DeleteFunc(g.held, func(other chan struct{}) bool { return other == released })
}

// notice tells any number of waiters that something changed. Its owner guards it.
type notice struct{ waited chan struct{} }

// wait returns a channel that the next tell closes.
func (n *notice) wait() <-chan struct{} {
	if n.waited == nil {
		n.waited = make(chan struct{})
	}
	return n.waited
}

func (n *notice) tell() {
	if n.waited != nil {
		close(n.waited)
		n.waited = nil
	}
}
