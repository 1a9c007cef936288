package knocktest

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
)

// All stands for every request, where a prospect id would stand for those of one prospect.
const All = ""

// Fault is one way of going wrong, or merely otherwise. The zero value does nothing. It may be used any number of
// times, by any number of servers.
type Fault struct {
	act     func(*exchange) error
	late    bool // after the answer was made
	movable bool // works on either side of that
	when    []Match
	skip    float64 // probability of not happening
	gate    *Gate   // that it is the Hold of, for ClearFaults
}

// Early makes a fault that waits, answers or cuts the connection do so before the request is looked at: a write under
// one that answers or cuts is lost. Faults that change the answer stay late.
func (f Fault) Early() Fault { return f.moved(false) }

// Late makes a fault that waits, answers or cuts the connection do so after the request was handled: a write under it
// is stored, whatever its client gets to know.
func (f Fault) Late() Fault { return f.moved(true) }

func (f Fault) moved(late bool) Fault {
	if f.movable {
		f.late = late
	}
	return f
}

// When narrows a fault to requests for which all of the matches hold.
func (f Fault) When(matches ...Match) Fault {
	f.when = append(slices.Clone(f.when), matches...)
	return f
}

// Rate makes a fault happen to that share of the requests only, 0 to 1: Status(500).Rate(0.01). Options.Seed decides
// to which.
func (f Fault) Rate(share float64) Fault {
	f.skip = 1 - share
	return f
}

// Match says whether a fault or a question is about a request. It must not change the request, keep it, or call the
// Server.
type Match func(r *Request) bool

// Method matches requests of a method.
func Method(method string) Match { return func(r *Request) bool { return r.Method == method } }

// Path matches requests by their escaped path, without the query.
func Path(path string) Match { return func(r *Request) bool { return r.Path == path } }

// Key matches requests that came with this x-api-key.
func Key(key string) Match { return func(r *Request) bool { return r.Key() == key } }

// Of matches requests for a prospect; see Request.ProspectID. Of(All) matches all.
func Of(id string) Match { return func(r *Request) bool { return id == All || r.ProspectID == id } }

// Not matches what m does not.
func Not(m Match) Match { return func(r *Request) bool { return !m(r) } }

// IsRead matches GET and HEAD of a prospect itself, whatever came of them.
func IsRead(r *Request) bool { return r.operation == readProspect }

// IsWrite matches requests of methods other than GET, HEAD, OPTIONS and TRACE (RFC 9110 9.2.1).
func IsWrite(r *Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

// IsGone matches requests whose client left before their end. Only for questions: it is not known when faults are
// chosen.
func IsGone(r *Request) bool { return r.Gone }

func holds(matches []Match, r *Request) bool {
	for _, m := range matches {
		if !m(r) {
			return false
		}
	}
	return true
}

// rule is a set of faults that happen together.
type rule struct {
	id     string
	faults []Fault
	left   int // how many requests it is for yet; negative: all
}

func (u *rule) isFor(r *Request) bool {
	if u.id != All && u.id != r.ProspectID {
		return false
	}
	for _, f := range u.faults {
		if !holds(f.when, r) {
			return false
		}
	}
	return true
}

type faults struct {
	mu    sync.Mutex
	rules []*rule    // in the order they were set; guarded by mu
	rand  *rand.Rand // guarded by mu
}

func newFaults(seed uint64) faults {
	return faults{rand: rand.New(rand.NewPCG(seed, 0x66617573))} // repeatable, not secret
}

// Always puts faults on the requests of one prospect, or on All, until remove is called. Faults given together happen
// together, to requests for which the When of each of them holds. All rules that apply are in force, in the order they
// were set, those of Next last: where two faults answer, or set the same header, the last one wins.
func (s *Server) Always(id string, faults ...Fault) (remove func()) {
	u := s.faults.add(id, -1, faults)
	return func() { s.faults.remove(u) }
}

// Next puts faults, all together, on the next request of one prospect, or of All. A request uses up one Next at most:
// those set one after the other happen one after the other.
func (s *Server) Next(id string, faults ...Fault) { s.NextN(id, 1, faults...) }

// NextN is Next for the next n requests.
func (s *Server) NextN(id string, n int, faults ...Fault) {
	if n > 0 {
		s.faults.add(id, n, faults)
	}
}

// ClearFaults removes all faults and opens all gates that are in use.
func (s *Server) ClearFaults() {
	for _, gate := range s.faults.clear() {
		gate.Open()
	}
}

func (f *faults) add(id string, n int, given []Fault) *rule {
	u := &rule{id: id, faults: slices.Clone(given), left: n}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, u)
	return u
}

func (f *faults) remove(u *rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = slices.DeleteFunc(f.rules, func(other *rule) bool { return other == u })
}

// clear returns the gates that were among the faults.
func (f *faults) clear() []*Gate {
	f.mu.Lock()
	defer f.mu.Unlock()
	var gates []*Gate
	for _, u := range f.rules {
		for _, fault := range u.faults {
			if fault.gate != nil {
				gates = append(gates, fault.gate)
			}
		}
	}
	f.rules = nil
	return gates
}

// pick returns what happens to r, and uses up its Next.
func (f *faults) pick(r *Request) []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules) == 0 {
		return nil
	}
	var always, next []Fault
	used := false
	for _, u := range f.rules {
		if u.left >= 0 && used || !u.isFor(r) {
			continue
		}
		if u.left < 0 {
			always = f.draw(always, u.faults)
			continue
		}
		used = true
		u.left--
		next = f.draw(next, u.faults)
	}
	if used {
		f.rules = slices.DeleteFunc(f.rules, func(u *rule) bool { return u.left == 0 })
	}
	return append(always, next...)
}

// draw appends the faults that the dice are for. The caller holds mu.
func (f *faults) draw(to, from []Fault) []Fault {
	for _, fault := range from {
		if fault.act == nil || fault.skip > 0 && f.rand.Float64() < fault.skip {
			continue
		}
		to = append(to, fault)
	}
	return to
}
