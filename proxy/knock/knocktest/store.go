package knocktest

import (
	"container/list"
	"strconv"
	"sync"
	"time"
)

// keptProspects bounds the JSON of all prospects that were written, in bytes.
const keptProspects = 64 << 20

// store holds what was written; what was not is made up anew at each read.
type store struct {
	limit int
	now   func() time.Time

	mu      sync.Mutex
	written map[string]*written // by canonical id; guarded by mu
	order   *list.List          // of ids, the oldest write first; guarded by mu
	size    int                 // of the JSON of all in written; guarded by mu
	lastID  int                 // given to a created prospect; guarded by mu
}

type written struct {
	prospect Prospect
	version  int
	size     int
	gone     bool // as after Remove; the version goes on counting
	place    *list.Element
}

func newStore(limit int, now func() time.Time) store {
	return store{limit: limit, now: now, written: map[string]*written{}, order: list.New(), lastID: LastMadeUpID}
}

func (s *store) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.written)
	s.order.Init()
	s.size = 0
	s.lastID = LastMadeUpID
}

// get returns a prospect and its version, which is 0 if it does not exist.
func (s *store) get(id string) (Prospect, int) {
	id = canonical(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(id)
}

func (s *store) find(id string) (Prospect, int) {
	if w := s.written[id]; w != nil {
		if w.gone {
			return Prospect{}, 0
		}
		return w.prospect, w.version
	}
	if p, ok := original(id); ok {
		return p, 1
	}
	return Prospect{}, 0
}

// put writes a prospect, creating it if it does not exist, and returns its new version.
func (s *store) put(id string, change func(*Prospect)) int {
	id = canonical(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(id, change)
}

// update is put for a prospect that exists; for another it returns 0.
func (s *store) update(id string, change func(*Prospect)) int {
	id = canonical(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, version := s.find(id); version == 0 {
		return 0
	}
	return s.write(id, change)
}

// create writes a prospect under an id that none had, and returns it.
func (s *store) create(change func(*Prospect)) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var id string
	for taken := true; taken; {
		s.lastID++
		id = strconv.Itoa(s.lastID)
		_, taken = s.written[id]
		taken = taken || id == ArticleID
	}
	s.write(id, change)
	return id
}

// write stores the next version of id. The caller holds mu.
func (s *store) write(id string, change func(*Prospect)) int {
	now := stamp(s.now())
	p, version := s.find(id)
	if version == 0 {
		p = Prospect{ProspectID: id, CreatedAt: now, FirstContactType: "form", Status: "new"}
	}
	before := p.UpdatedAt
	change(&p)
	if p.UpdatedAt == before {
		p.UpdatedAt = now
	}
	return s.keep(id, p, false)
}

func (s *store) remove(id string) {
	id = canonical(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(id, Prospect{}, true)
}

// keep stores p as the next version of id, which it returns, and makes room by forgetting the oldest writes. The caller
// holds mu.
func (s *store) keep(id string, p Prospect, gone bool) int {
	size := len(encode(p))
	w := s.written[id]
	if w == nil {
		_, version := s.find(id)
		w = &written{version: version, place: s.order.PushBack(id)}
		s.written[id] = w
	}
	s.order.MoveToBack(w.place)
	s.size += size - w.size
	w.prospect, w.gone, w.size = p, gone, size
	w.version++
	for s.order.Len() > s.limit || s.size > keptProspects && s.order.Len() > 1 {
		oldest, _ := s.order.Remove(s.order.Front()).(string)
		s.size -= s.written[oldest].size
		delete(s.written, oldest)
	}
	return w.version
}
