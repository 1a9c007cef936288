package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

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
// in the JSON of its request and of its answer.
type write struct {
	cache   *cache.Cache[*policy.Answer]
	ctx     context.Context // outlives the client
	ids     []string        // in its path
	request *peek
	sent    atomic.Bool         // a connection was had: the upstream may know of it
	dropped map[string]struct{} // ids dropped already
}

func (p *Proxy) newWrite(r *http.Request) *write {
	wr := &write{
		cache: p.cache, ctx: context.WithoutCancel(r.Context()),
		ids: idsOfPath(r.URL.Path), request: &peek{}, dropped: make(map[string]struct{}),
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &peekingBody{r.Body, wr.request}
	}
	return wr
}

// answered invalidates, before the client sees anything of an answer which says that the write succeeded or leaves it
// open, what path and request name; and what the answer names, before the client has the last byte of it.
func (wr *write) answered(res *http.Response) {
	switch status := res.StatusCode; {
	case status >= 200 && status < 400:
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
	default:
		return // it failed, and the upstream knows
	}
	wr.drop(wr.ids)
	wr.drop(idsOfJSON(wr.request.bytes(), false))
	for _, name := range []string{"Location", "Content-Location"} {
		if u, err := url.Parse(res.Header.Get(name)); err == nil {
			wr.drop(idsOfPath(u.Path))
		}
	}
	if res.Body != nil && res.Body != http.NoBody {
		res.Body = &answerBody{ReadCloser: res.Body, write: wr}
	}
}

// failed invalidates where no whole answer came: what was sent may have been done.
func (wr *write) failed() {
	if wr.sent.Load() {
		wr.drop(wr.ids)
		wr.drop(idsOfJSON(wr.request.bytes(), false))
	}
}

func (wr *write) drop(ids []string) {
	for _, id := range ids {
		if _, done := wr.dropped[id]; !done {
			wr.dropped[id] = struct{}{}
			wr.cache.Drop(wr.ctx, cache.Prospect(id), cache.ByWrite)
		}
	}
}

// answerBody is the body of a write's answer. Before it lets a part go it drops what the part names: the reader of the
// last byte has no older answer to meet.
type answerBody struct {
	io.ReadCloser
	write *write
	seen  peek
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.seen.add(p[:n]) {
		b.write.drop(idsOfJSON(b.seen.bytes(), true))
	}
	if err != nil { // the request may have gone on after the headers
		b.write.drop(idsOfJSON(b.write.request.bytes(), false))
	}
	return n, err
}

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

// add remembers a part, up to the bound; false: there was nothing to remember.
func (k *peek) add(b []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	b = b[:min(len(b), maxPeek-len(k.buf))]
	k.buf = append(k.buf, b...)
	return len(b) > 0
}

func (k *peek) bytes() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buf
}

// idsOfPath finds the prospect in a path, decoded: /prospect/{id} and below it, wherever it begins and in any case. What
// the upstream would not take for an id costs a read at most.
func idsOfPath(path string) []string {
	var ids []string
	under := false
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." {
			continue
		}
		if id, ok := knock.CanonicalID(segment); under && ok {
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
	open  []byte // the delimiters { and [ around the token
	key   string // the key whose value comes next; "" where there is none
	isKey bool   // the next string in this object is a key
}

func (s *idScanner) take(token json.Token) {
	switch t := token.(type) {
	case json.Delim:
		s.delim(t)
		return
	case string:
		if s.isKey {
			s.key, s.isKey = t, false
			return
		}
		s.value(t)
	case json.Number:
		s.value(t.String())
	}
	s.next()
}

func (s *idScanner) delim(d json.Delim) {
	switch d {
	case '{', '[':
		s.open = append(s.open, byte(d))
		s.key, s.isKey = "", d == '{'
	default:
		s.open = s.open[:len(s.open)-1]
		s.next()
	}
}

// next prepares for what follows a value.
func (s *idScanner) next() {
	s.key, s.isKey = "", len(s.open) > 0 && s.open[len(s.open)-1] == '{'
}

func (s *idScanner) value(v string) {
	if !strings.EqualFold(s.key, "prospectId") && !(s.topID && s.key == "id" && len(s.open) == 1) {
		return
	}
	if id, ok := knock.CanonicalID(strings.TrimSpace(v)); ok {
		s.ids = append(s.ids, id)
	}
}
