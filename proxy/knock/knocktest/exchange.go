package knocktest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

var (
	errClosed = errors.New("the stand-in was closed")
	errReset  = errors.New("the connection is to be reset")
)

// exchange is one request on its way to its answer. One goroutine owns it.
type exchange struct {
	server  *Server
	ctx     context.Context
	request *Request // as it came; the history's entry is another copy
	body    []byte   // whole, up to maxBody
	broken  error    // why body is not whole
	entry   *Request // the history's, to be touched through it only

	answer  *Answer   // nil until something answers
	version int       // of the prospect that answer shows, else 0
	updated time.Time // of the same

	chunked bool // send no Content-Length
	sent    int  // send that many bytes of the body, then break off; negative: all of it
	hang    bool // having broken off, do not cut the connection
}

// ServeHTTP answers as Knock would, or as the faults say. It ends by panicking with http.ErrAbortHandler where the
// connection is to be cut, so it is to be called by an http.Server.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := s.receive(r)
	defer x.end()
	if err := x.meet(s.faults.pick(x.request)); err != nil {
		abort(w, err)
		return
	}
	x.send(w, r)
}

func (s *Server) receive(r *http.Request) *exchange {
	body, size, err := readBody(r.Body)
	x := &exchange{server: s, ctx: r.Context(), body: body, broken: err, sent: -1}
	x.request = newRequest(r, body, size, s.now())
	x.entry = s.history.add(*x.request)
	return x
}

// readBody reads all of it, for net/http notices a client that leaves only once the body was read to its end.
func readBody(r io.Reader) (body []byte, size int64, err error) {
	body, err = io.ReadAll(io.LimitReader(r, maxBody))
	if err != nil {
		return body, int64(len(body)), err
	}
	rest, err := io.Copy(io.Discard, r)
	return body, int64(len(body)) + rest, err
}

// meet takes x through its faults to an answer, or to an error where there is none to be.
func (x *exchange) meet(picked []Fault) error {
	if x.broken != nil {
		return x.broken
	}
	for _, f := range picked {
		if !f.late {
			if err := f.act(x); err != nil {
				return err
			}
		}
	}
	if x.answer == nil {
		x.reply(x.server.handle(x))
	}
	for _, f := range picked {
		if f.late {
			if err := f.act(x); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *exchange) reply(a Answer) { x.answer = a.stamped() }

// wait returns when released is closed, with an error if the client left or the Server was closed before.
func (x *exchange) wait(released <-chan struct{}) error {
	select {
	case <-released:
		return nil
	case <-x.ctx.Done():
		return x.ctx.Err()
	case <-x.server.closed:
		return errClosed
	}
}

func (x *exchange) send(w http.ResponseWriter, r *http.Request) {
	a := x.answer
	x.server.history.answered(x.entry, a.Status)
	x.copyHeader(w.Header())
	w.WriteHeader(a.Status)
	if x.chunked {
		_ = http.NewResponseController(w).Flush() // no Content-Length by the time of the flush means chunked
	}
	if r.Method == http.MethodHead || !bodyAllowed(a.Status) {
		return
	}
	if x.sent < 0 {
		// The last byte stays in net/http's buffer until the handler is done: whoever has the whole answer finds
		// its request Done. Writes fail if the client left, which end sees.
		last := max(len(a.Body)-1, 0)
		_, _ = w.Write(a.Body[:last])
		_, _ = w.Write(a.Body[last:])
		return
	}
	_, _ = w.Write(a.Body[:min(x.sent, len(a.Body))])
	_ = http.NewResponseController(w).Flush()
	if x.hang {
		_ = x.wait(nil)
	}
	panic(http.ErrAbortHandler)
}

func (x *exchange) copyHeader(h http.Header) {
	a := x.answer
	h["Content-Type"] = nil // net/http would guess one
	for name, values := range a.Header {
		h[name] = values
	}
	if x.chunked || !bodyAllowed(a.Status) || h["Content-Length"] != nil {
		return
	}
	length := len(a.Body)
	if x.sent >= length {
		length = x.sent + 1 // or the answer would be whole
	}
	h.Set("Content-Length", strconv.Itoa(length))
}

// bodyAllowed follows RFC 9110 6.4.1.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func (x *exchange) end() {
	x.server.history.end(x.entry, x.broken != nil || x.ctx.Err() != nil)
}

// abort cuts the connection without an answer: with a TCP reset if err asks for that and the connection is one.
func abort(w http.ResponseWriter, err error) {
	if !errors.Is(err, errReset) {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: resets the stream
	}
	plain := conn
	if t, ok := conn.(*tls.Conn); ok {
		plain = t.NetConn()
	}
	if t, ok := plain.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // makes close send RST
	}
	_ = plain.Close()
}
