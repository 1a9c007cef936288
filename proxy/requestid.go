package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync/atomic"
)

// requestIDs names requests: a random prefix of this process, and a count.
type requestIDs struct {
	prefix string
	count  atomic.Uint64
}

func newRequestIDs() *requestIDs {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return &requestIDs{prefix: hex.EncodeToString(b[:]) + "-"}
}

// of is the client's X-Request-Id where it is one that can be passed on and logged, else a new one.
func (ids *requestIDs) of(h http.Header) []string {
	if given := h["X-Request-Id"]; len(given) == 1 && wellFormedID(given[0]) {
		return given
	}
	var buf [32]byte
	b := append(buf[:0], ids.prefix...)
	return []string{string(strconv.AppendUint(b, ids.count.Add(1), 36))}
}

// wellFormedID tells that an id is 1 to 64 of [A-Za-z0-9._-].
func wellFormedID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
