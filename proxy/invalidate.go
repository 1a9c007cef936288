package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"knockproxy/cache"
	"knockproxy/proxy/knock"
	"knockproxy/proxy/policy"
)

// maxPeek is how much of a write's request and of its answer is searched for ids.
const maxPeek = 64 << 10

// safe tells that a request is of a method known to change nothing (RFC 9110, section 9.2.1), and does not ask for
// another method by a header.
func safe(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
	default:
		return false
	}
	for _, name := range knock.MethodOverrides {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	return true
}

// write is a forwarded request that may change prospects. What it names is invalidated for every partner: in its path,
// in the JSON of its request and of its answer, and in where the answer points.
type write struct {
	cache   *cache.Cache[*policy.Answer]
	ctx     context.Context // outlives the client
	giveUp  func()          // ends the exchange
	ids     []string        // in its path, and in where its answer points
	request *peek
	sent    atomic.Bool         // a connection was had: the upstream may know of it
	dropped map[string]struct{} // ids dropped already
}

func (p *Proxy) newWrite(r *http.Request, giveUp func()) *write {
	wr := &write{
		cache: p.cache, ctx: context.WithoutCancel(r.Context()), giveUp: giveUp,
		ids: idsOfPath(r.URL.Path), request: &peek{}, dropped: make(map[string]struct{}),
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &peekingBody{r.Body, wr.request}
	}
	return wr
}

// answered invalidates, before the client sees anything of an answer which says that the write succeeded or leaves it
// open, what is known by then. The rest, and all of it once more, follows before the client has the answer's last byte:
// the upstream may have carried the write out only then.
func (wr *write) answered(res *http.Response) {
	switch status := res.StatusCode; {
	case status >= 200 && status < 400:
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
	default:
		return // it failed, and the upstream knows
	}
	for _, name := range []string{"Location", "Content-Location"} {
		if u, err := url.Parse(res.Header.Get(name)); err == nil {
			wr.ids = append(wr.ids, idsOfPath(u.Path)...)
		}
	}
	wr.drop(wr.known())
	if res.Body != nil && res.Body != http.NoBody {
		res.Body = &answerBody{ReadCloser: res.Body, write: wr, length: res.ContentLength}
	}
}

// failed invalidates where no whole answer came: what was sent may have been done.
func (wr *write) failed() {
	if wr.sent.Load() {
		wr.drop(wr.known())
	}
}

// known are the ids that are known without the answer's body.
func (wr *write) known() []string {
	return slices.Concat(wr.ids, idsOfJSON(wr.request.bytes(), false))
}

// drop invalidates ids; one that was dropped before is not counted again.
func (wr *write) drop(ids []string) {
	for _, id := range ids {
		cause := cache.ByWrite
		if _, done := wr.dropped[id]; done {
			cause = cache.Repeated
		}
		wr.dropped[id] = struct{}{}
		_, _ = wr.cache.Drop(wr.ctx, cache.Prospect(id), cause) // gone here at least: the answer passes all the same
	}
}

// answerBody is the body of a write's answer. Before its last byte passes, all that the write names is dropped: who read it
// to its end has no older answer to meet.
type answerBody struct {
	io.ReadCloser
	write   *write
	length  int64 // -1: unknown
	passed  int64
	seen    peek
	scanned int // bytes of seen
	ended   bool
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.passed += int64(n)
	b.seen.add(p[:n])
	if err != nil || b.passed == b.length {
		b.end()
	} else if seen := b.seen.bytes(); len(seen) >= 2*b.scanned && len(seen) > 0 { // as it grows, but not byte by byte
		b.scanned = len(seen)
		b.write.drop(idsOfJSON(seen, true))
	}
	return n, err
}

// end drops all that is known. The request may have gone on after the answer began.
func (b *answerBody) end() {
	if !b.ended {
		b.ended = true
		b.write.drop(append(b.write.known(), idsOfJSON(b.seen.bytes(), true)...))
	}
}

// abandonedAnswer is how long the answer of a write is read on for the ids in it when its client has left.
const abandonedAnswer = 5 * time.Second

// Close reads on where the client left in the middle.
func (b *answerBody) Close() error {
	if !b.ended {
		late := time.AfterFunc(abandonedAnswer, b.write.giveUp)
		_, _ = io.CopyN(io.Discard, readOnly{b}, maxPeek-min(b.passed, maxPeek)) // what comes is dropped as it passes
		late.Stop()
		b.end()
	}
	return b.ReadCloser.Close()
}

type readOnly struct{ io.Reader }

// peekingBody is the body of a write's request, remembered as it passes.
type peekingBody struct {
	io.ReadCloser
	peek *peek
}

func (b *peekingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.peek.add(p[:n])
	return n, err
}

// peek is the beginning of a body.
type peek struct {
	mu  sync.Mutex
	buf []byte // guarded by mu; only ever appended to
}

// add remembers a part, up to the bound.
func (k *peek) add(b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.buf = append(k.buf, b[:min(len(b), maxPeek-len(k.buf))]...)
}

func (k *peek) bytes() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buf
}

// idsOfPath finds the prospect in a path, decoded: /prospect/{id} and below it, wherever it begins and in any case, with
// dots resolved and not. What the upstream would not take for an id costs a read at most.
func idsOfPath(given string) []string {
	ids := idsOfSegments(given)
	if clean := path.Clean("/" + given); clean != given {
		ids = append(ids, idsOfSegments(clean)...)
	}
	return ids
}

func idsOfSegments(given string) (ids []string) {
	under := false
	for segment := range strings.SplitSeq(given, "/") {
		if segment == "" || segment == "." {
			continue
		}
		digits, _, _ := strings.Cut(segment, ";")
		if id, ok := knock.CanonicalID(strings.TrimSpace(digits)); under && ok {
			ids = append(ids, id)
		}
		under = strings.EqualFold(segment, "prospect")
	}
	return ids
}

// idsOfJSON finds prospectId anywhere in JSON that may be cut off, and with topID the top level's id.
func idsOfJSON(body []byte, topID bool) []string {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))) // some send a byte order mark
	dec.UseNumber()
	s := idScanner{topID: topID}
	for {
		token, err := dec.Token()
		if err != nil {
			return s.ids
		}
		s.take(token)
	}
}

// idScanner follows the tokens of a JSON text.
type idScanner struct {
	topID bool
	ids   []string
	open  []jsonLevel // the objects and arrays around the token
}

// jsonLevel is an object, or an array.
type jsonLevel struct {
	object bool
	key    string // whose value comes next; an array's is the one that it is the value of
	hasKey bool   // of an object: a key was read, and its value was not
}

func (s *idScanner) take(token json.Token) {
	switch t := token.(type) {
	case json.Delim:
		s.delim(t)
	case string:
		if top := s.top(); top.object && !top.hasKey {
			top.key, top.hasKey = t, true
			return
		}
		s.value(t)
	case json.Number:
		s.value(t.String())
	default:
		s.top().hasKey = false
	}
}

// top is the innermost object or array; around all there is an array.
func (s *idScanner) top() *jsonLevel {
	if len(s.open) == 0 {
		return &jsonLevel{}
	}
	return &s.open[len(s.open)-1]
}

func (s *idScanner) delim(d json.Delim) {
	switch d {
	case '{':
		s.open = append(s.open, jsonLevel{object: true})
	case '[':
		s.open = append(s.open, jsonLevel{key: s.top().key})
	default:
		s.open = s.open[:len(s.open)-1]
		s.top().hasKey = false
	}
}

func (s *idScanner) value(v string) {
	top := s.top()
	top.hasKey = false
	if !strings.EqualFold(top.key, "prospectId") && (!s.topID || top.key != "id" || len(s.open) != 1) {
		return
	}
	if id, ok := knock.CanonicalID(plainInteger(strings.TrimSpace(v))); ok {
		s.ids = append(s.ids, id)
	}
}

// plainInteger writes a number like 7.0 or 4.7569637E7, as some encoders do, with digits only.
func plainInteger(v string) string {
	if !strings.ContainsAny(v, ".eE") {
		return v
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return v
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}
