package knocktest

import (
	"net/http"
	"time"
)

// waiting faults hold back an answer that is made, unless they are moved.
func waiting(act func(*exchange) error) Fault { return Fault{act: act, late: true, movable: true} }

// ending faults answer or cut before the request is looked at, unless they are moved.
func ending(act func(*exchange) error) Fault { return Fault{act: act, movable: true} }

// changing faults work on the answer, or on how it is sent.
func changing(act func(*exchange)) Fault {
	return Fault{late: true, act: func(x *exchange) error { act(x); return nil }}
}

// Latency holds each answer back for d. The answer says what was true when the request came; Latency(d).Early()
// looks only after d.
func Latency(d time.Duration) Fault {
	return waiting(func(x *exchange) error {
		if d <= 0 {
			return nil
		}
		done := make(chan struct{})
		timer := time.AfterFunc(d, func() { close(done) })
		defer timer.Stop()
		return x.wait(done)
	})
}

// Hang never answers: no header is sent until the client goes away or the Server is closed.
func Hang() Fault {
	return ending(func(x *exchange) error { return x.wait(nil) })
}

// ConnectionReset resets the TCP connection without an answer.
func ConnectionReset() Fault {
	return ending(func(*exchange) error { return errReset })
}

// Truncate sends the whole Content-Length, but only the first n bytes of the body, and then closes the connection.
// With Chunked, the last chunk is missing instead.
func Truncate(n int) Fault {
	return changing(func(x *exchange) { x.sent, x.hang = max(n, 0), false })
}

// HangBody sends the header and the first n bytes of the body and then nothing until the client goes away or the
// Server is closed.
func HangBody(n int) Fault {
	return changing(func(x *exchange) { x.sent, x.hang = max(n, 0), true })
}

// Chunked sends the body without a Content-Length.
func Chunked() Fault {
	return changing(func(x *exchange) { x.chunked = true })
}

// Header replaces a header of the answer. Several values become several lines, in that order.
func Header(name string, values ...string) Fault {
	return changing(func(x *exchange) {
		x.answer.Header[http.CanonicalHeaderKey(name)] = values[:len(values):len(values)]
	})
}

// NoHeader leaves a header out of the answer, Date too.
func NoHeader(name string) Fault {
	return changing(func(x *exchange) { x.answer.Header[http.CanonicalHeaderKey(name)] = nil })
}

// ContentType replaces the Content-Type, and leaves the body as it is.
func ContentType(value string) Fault { return Header("Content-Type", value) }
