package policy

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Answer is one answer, ready to render: immutable, and shared by all who are answered with it.
type Answer struct {
	Status   int
	Header   http.Header // what may be stored and replayed; without Age and Cache-Status, which differ each time
	Body     []byte
	Age      time.Duration // how old it was when its request was sent
	NotExist bool          // "does not exist"
	Before   string        // the upstream's own Cache-Status, which ours is appended to
}

// Size is the number of bytes that an answer holds in memory, estimated: struct, map and slice headers counted.
func (a *Answer) Size() int {
	const fixed, perMap, perField = 128, 400, 24
	size := fixed + perMap + len(a.Body) + len(a.Before)
	for name, values := range a.Header {
		size += perField + len(name)
		for _, value := range values {
			size += 16 + len(value)
		}
	}
	return size
}

// Render makes the answer to keep of what the upstream said, and the header fields that only the request which asked may
// have: cookies, the gateway's ids of one exchange, what no-cache="…" or private="…" names, and the upstream's own Age.
// header is owned by the result afterwards.
func Render(status int, header http.Header, body []byte, received time.Time) (a *Answer, own http.Header) {
	a = &Answer{Status: status, Header: header, Body: body}
	own = takeOwn(header)
	if before := header["Cache-Status"]; len(before) > 0 {
		a.Before = strings.Join(before, ", ")
		delete(header, "Cache-Status")
	}
	delete(header, "X-Request-Id") // every answer bears ours
	if lines := header["Date"]; len(lines) != 1 || !validDate(lines[0]) {
		header["Date"] = []string{received.UTC().Format(http.TimeFormat)}
	}
	if strings.Join(header["Cache-Control"], "") == "" {
		header["Cache-Control"] = noSharing
	}
	if status == http.StatusOK && header.Get("Etag") == "" {
		header["Etag"] = []string{strongTag(body)}
	}
	delete(header, "Content-Length")
	if bodyAllowed(status) {
		header["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	return a, own
}

// noSharing keeps caches in front of the proxy from mixing partners, whose keys they do not know of.
var noSharing = []string{"private, no-cache"}

// takeOwn moves the fields that are not to be replayed out of header.
func takeOwn(header http.Header) http.Header {
	own := make(http.Header)
	take := func(name string) {
		if values, ok := header[name]; ok {
			own[name] = values
			delete(header, name)
		}
	}
	cc, _ := ParseCacheControl(header)
	for _, name := range cc.Fields {
		take(name)
	}
	for name := range header {
		if name == "Age" || name == "Set-Cookie" || strings.HasPrefix(name, "X-Amzn-") || strings.HasPrefix(name, "X-Amz-") {
			take(name)
		}
	}
	return own
}

func validDate(s string) bool {
	_, ok := ParseDate(s)
	return ok
}

// strongTag is a strong validator of a body (RFC 9110, section 8.8.3): equal only for equal bytes.
func strongTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// bodyAllowed tells whether answers of a status have a body (RFC 9110, section 6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
