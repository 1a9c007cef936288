package knocktest

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// TestKey is the key of Knock's test environment, public in the article "Knock Get Prospect API".
const TestKey = "syndication-prospect-TEST-KEY"

// Options configure a Server. The zero value is a healthy API that accepts any key.
type Options struct {
	// Keys are the values of x-api-key that are accepted; others get 403 Forbidden. If empty, any that is not empty is.
	Keys []string

	// View shows each key its own data: it may change the copy of a prospect that a read with that key is about to
	// be answered with. If nil, all keys see the same. See TagByKey.
	View func(key string, p *Prospect)

	// Seed makes the verdicts of Fault.Rate repeatable: the same seed, the same verdicts in order of arrival.
	Seed uint64

	// History is how many requests are remembered. If zero, 10,000; if negative, none, for benchmarks. Whatever it
	// is, no more than 64 MiB of paths, headers and bodies are held.
	History int

	// Prospects is how many created or edited prospects are held. If zero, 10,000. Beyond it the one whose last write
	// is the oldest is forgotten: a created one no longer exists, a made-up one is as it was made up. Whatever it is, no
	// more than 64 MiB of them are held.
	Prospects int

	// Patience is how long Gate.Wait and Server.Await wait before they fail the test. If zero, 10 seconds.
	Patience time.Duration

	// Now is the clock of createdAt, updatedAt and Request.Arrived. If nil, time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.History == 0 {
		o.History = 10_000
	}
	if o.Prospects <= 0 {
		o.Prospects = 10_000
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Server is the stand-in of the API. It is safe for concurrent use; New or Start makes one.
type Server struct {
	// URL is the base URL, without a slash at its end. Set by Start only.
	URL string

	patience time.Duration
	now      func() time.Time
	tb       TB // nil without Start

	store   store
	faults  faults
	history history

	closed    chan struct{} // closed by Close: nothing waits any longer
	closeOnce sync.Once

	mu   sync.Mutex
	keys []string                      // guarded by mu
	view func(key string, p *Prospect) // guarded by mu
}

// New returns a Server to be used as a handler. Its owner calls Close, or what hangs or is held would never end.
func New(o Options) *Server {
	o = o.withDefaults()
	return &Server{
		patience: o.Patience,
		now:      o.Now,
		store:    newStore(o.Prospects, o.Now),
		faults:   newFaults(o.Seed),
		history:  newHistory(o.History),
		closed:   make(chan struct{}),
		keys:     slices.Clone(o.Keys),
		view:     o.View,
	}
}

// Close lets go of every request that is held or hangs: its connection is cut. Requests that do not wait are answered
// after it too, so it may be called before the http.Server is shut down, and more than once.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { close(s.closed) })
	return nil
}

// SetKeys replaces Options.Keys.
func (s *Server) SetKeys(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = slices.Clone(keys)
}

// SetView replaces Options.View.
func (s *Server) SetView(view func(key string, p *Prospect)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = view
}

// TagByKey is an Options.View: lastName is the key that the answer was made for, so that a test can tell whose answer
// it got.
func TagByKey(key string, p *Prospect) { p.LastName = key }

func (s *Server) accepts(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return key != "" && (len(s.keys) == 0 || slices.Contains(s.keys, key))
}

// seenBy returns what the holder of key sees of p.
func (s *Server) seenBy(key string, p Prospect) Prospect {
	s.mu.Lock()
	view := s.view
	s.mu.Unlock()
	if view != nil {
		view(key, &p)
	}
	return p
}

// Prospect returns a prospect as it stands, without any key's view of it, and whether it exists.
func (s *Server) Prospect(id string) (Prospect, bool) {
	p, version := s.store.get(id)
	return p, version > 0
}

// Version returns how often a prospect was written, counting its creation: 1 for one that is as it was made up, 0 for
// one that does not exist.
func (s *Server) Version(id string) int {
	_, version := s.store.get(id)
	return version
}

// Edit writes a prospect behind the API's back, as a leasing agent at the guest card does, and returns its new
// version. One that does not exist is created. updatedAt becomes now unless change sets it. Change must not call the
// Server. Edit panics if id is not a number.
func (s *Server) Edit(id string, change func(p *Prospect)) int {
	if !isNumber(id) {
		panic(fmt.Sprintf("knocktest: editing prospect %q: not a number", id))
	}
	return s.store.put(id, change)
}

// Remove makes a prospect not exist, unlike DELETE, until it is created again by Edit.
func (s *Server) Remove(id string) { s.store.remove(id) }

// Reset makes the Server as New made it: data, faults and history. Gates are opened; keys and view stay.
func (s *Server) Reset() {
	s.ClearFaults()
	s.store.reset()
	s.ForgetRequests()
}

// fail ends the test that waits in vain.
func (s *Server) fail(format string, args ...any) {
	if s.tb == nil {
		panic("knocktest: " + fmt.Sprintf(format, args...))
	}
	s.tb.Helper()
	s.tb.Fatalf("knocktest: "+format, args...)
}

// await waits until poll says so; else poll returns a channel that is closed when it is worth asking again. It returns
// false if patience ran out or the Server was closed first.
func (s *Server) await(poll func() (done bool, changed <-chan struct{})) bool {
	patience := time.NewTimer(s.patience)
	defer patience.Stop()
	for {
		done, changed := poll()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-patience.C:
			return false
		case <-s.closed:
			return false
		}
	}
}

var _ http.Handler = (*Server)(nil)
