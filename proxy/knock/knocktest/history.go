package knocktest

import (
	"bytes"
	"cmp"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	keptBody    = 64 << 10 // of one request
	keptHistory = 64 << 20 // of all of them, paths, headers and bodies counted
	countedIDs  = 100_000  // of which Reads is exact for ever
	countedID   = 64       // length of the longest of them
)

// Request is a request as it reached the stand-in, and what became of it. Its Header and Body are not to be changed.
type Request struct {
	Method   string
	URI      string // path and query as they stood in the request line
	Path     string // escaped, without the query
	Query    string // undecoded, without its ?
	Host     string
	Header   http.Header
	Body     []byte // the first 64 KiB
	BodySize int64  // whole, in bytes

	// ProspectID is the id in the path, else the prospectId of the JSON body, as given; "" if there is neither.
	ProspectID string

	Arrived time.Time // after its body was read
	Status  int       // of the answer, from when it begins; 0 before, and where the connection was cut without one
	Done    bool      // the stand-in is through with it; known by the time that the client has the whole answer
	Gone    bool      // the client left before that, or before it had sent its whole request

	operation    operation
	began, ended int // ticks of the history's counter; ended is 0 until Done
}

// Key returns the first x-api-key of the request.
func (r *Request) Key() string { return r.Header.Get("x-api-key") }

func newRequest(r *http.Request, body []byte, size int64, now time.Time) *Request {
	path := r.URL.EscapedPath()
	op, id := route(r.Method, path)
	if id == "" && len(body) > 0 {
		id = bodyProspectID(body)
	}
	return &Request{
		Method: r.Method, URI: r.RequestURI, Path: path, Query: r.URL.RawQuery, Host: r.Host,
		Header: r.Header.Clone(), Body: bytes.Clone(body[:min(len(body), keptBody)]), BodySize: size,
		ProspectID: id, Arrived: now, operation: op,
	}
}

func (r *Request) size() int {
	n := len(r.URI) + len(r.Path) + len(r.Query) + len(r.Body)
	for name, values := range r.Header {
		n += len(name)
		for _, v := range values {
			n += len(v)
		}
	}
	return n
}

// Totals count all requests since the start, or since the last ForgetRequests.
type Totals struct {
	Requests    int
	Reads       int // GET and HEAD of a prospect itself
	Writes      int // see IsWrite
	ByStatus    map[int]int
	InFlight    int
	MaxInFlight int
}

type history struct {
	limit int

	mu      sync.Mutex
	kept    []*Request     // the oldest first, in order of began; guarded by mu
	size    int            // of kept; guarded by mu
	ticks   int            // guarded by mu
	totals  Totals         // guarded by mu
	reads   map[string]int // of the first countedIDs prospects; guarded by mu
	changed notice         // guarded by mu
}

func newHistory(limit int) history {
	return history{limit: max(limit, 0), totals: Totals{ByStatus: map[int]int{}}, reads: map[string]int{}}
}

// add returns the entry of r, which the history goes on owning.
func (h *history) add(r Request) *Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ticks++
	r.began = h.ticks
	h.count(&r)
	if h.limit > 0 {
		h.kept = append(h.kept, &r)
		h.size += r.size()
		for len(h.kept) > h.limit || h.size > keptHistory && len(h.kept) > 1 {
			h.size -= h.kept[0].size()
			h.kept[0] = nil // or the slice's array keeps it
			h.kept = h.kept[1:]
		}
	}
	h.changed.tell()
	return &r
}

func (h *history) count(r *Request) {
	t := &h.totals
	t.Requests++
	t.InFlight++
	t.MaxInFlight = max(t.MaxInFlight, t.InFlight)
	if IsWrite(r) {
		t.Writes++
	}
	if !IsRead(r) {
		return
	}
	t.Reads++
	if _, known := h.reads[r.ProspectID]; known || len(h.reads) < countedIDs && len(r.ProspectID) <= countedID {
		h.reads[r.ProspectID]++
	}
}

// answered notes the status before the answer is sent: whoever has the answer finds it here.
func (h *history) answered(r *Request, status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Status = status
	h.totals.ByStatus[status]++
	h.changed.tell()
}

func (h *history) end(r *Request, gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ticks++
	r.ended, r.Done, r.Gone = h.ticks, true, gone
	h.totals.InFlight--
	h.changed.tell()
}

func (h *history) total() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.totals.Requests
}

// Requests returns what was asked, the oldest first, as far as it is remembered and matches.
func (s *Server) Requests(when ...Match) []Request {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []Request
	for _, r := range h.kept {
		if holds(when, r) {
			found = append(found, *r)
		}
	}
	return found
}

// Last returns the last request that matches. It is the zero Request if there is none.
func (s *Server) Last(when ...Match) Request {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range slices.Backward(h.kept) {
		if holds(when, r) {
			return *r
		}
	}
	return Request{}
}

// Count returns how many of the requests that are remembered match.
func (s *Server) Count(when ...Match) int {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	return s.history.matching(when)
}

func (h *history) matching(when []Match) int {
	n := 0
	for _, r := range h.kept {
		if holds(when, r) {
			n++
		}
	}
	return n
}

// Reads returns how often one prospect, or All, was read by GET or HEAD, whatever the answer. It counts from the start
// for the first 100,000 ids asked for, and for later ones as far as requests are remembered.
func (s *Server) Reads(id string) int {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if id == All {
		return h.totals.Reads
	}
	if n, ok := h.reads[id]; ok {
		return n
	}
	return h.matching([]Match{IsRead, Of(id)})
}

// Totals returns the counters.
func (s *Server) Totals() Totals {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	t := s.history.totals
	t.ByStatus = maps.Clone(t.ByStatus)
	return t
}

// MaxConcurrent returns how many of the remembered requests that match were here at the same time, at most.
func (s *Server) MaxConcurrent(when ...Match) int {
	type tick struct{ at, step int }
	var ticks []tick
	for _, r := range s.Requests(when...) {
		ticks = append(ticks, tick{r.began, +1})
		if r.Done {
			ticks = append(ticks, tick{r.ended, -1})
		}
	}
	slices.SortFunc(ticks, func(a, b tick) int { return cmp.Compare(a.at, b.at) })
	now, most := 0, 0
	for _, t := range ticks {
		now += t.step
		most = max(most, now)
	}
	return most
}

// Await returns when n of the requests that are remembered match. It fails the test when Options.Patience is at its
// end; without Start it panics.
func (s *Server) Await(n int, when ...Match) {
	if s.tb != nil {
		s.tb.Helper()
	}
	h := &s.history
	if !s.await(func() (bool, <-chan struct{}) {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.matching(when) >= n, h.changed.wait()
	}) {
		s.fail("waiting for requests: %d of %d came", s.Count(when...), n)
	}
}

// ForgetRequests empties the history and sets the counters to zero, but for what is still in flight.
func (s *Server) ForgetRequests() {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept, h.size, h.reads = nil, 0, map[string]int{}
	h.totals = Totals{ByStatus: map[int]int{}, InFlight: h.totals.InFlight, MaxInFlight: h.totals.InFlight}
}
