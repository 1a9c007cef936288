package knock

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync/atomic"
	"syscall"
)

// Fault is how a request to the upstream failed without a whole answer.
type Fault uint8

// The faults. Their texts are the error types of RFC 9209, section 2.3, but for the last, which nobody is told.
const (
	FaultInternal        Fault = iota // ours
	FaultDNS                          // the upstream's name did not resolve
	FaultRefused                      // nobody listens there
	FaultUnreachable                  // no connection for another reason
	FaultConnectTimeout               // no connection in time
	FaultTerminated                   // the connection broke before an answer
	FaultResponseTimeout              // connected, but no whole answer in time
	FaultTLSCertificate               // its certificate is not to be trusted
	FaultTLSProtocol                  // it does not speak TLS with us
	FaultProtocol                     // its answer is no HTTP
	FaultIncomplete                   // its answer broke off
	FaultTooLarge                     // its answer is larger than upstream.max_body
	FaultRequest                      // not the upstream's: the client's own body broke off, or was none
	FaultAbandoned                    // not the upstream's: the only client that waited has left
	nFaults
)

// Error is a failed request to the upstream.
type Error struct {
	Fault Fault
	err   error
}

// Error names the fault, and its cause where the cause cannot quote the answer: a broken answer may hold personal data.
func (e *Error) Error() string {
	switch e.Fault {
	case FaultDNS, FaultRefused, FaultUnreachable, FaultConnectTimeout, FaultTLSCertificate:
		return "asking the upstream: " + e.err.Error()
	}
	return "asking the upstream: " + e.Fault.String()
}

func (e *Error) Unwrap() error { return e.err }

func (f Fault) String() string {
	return [nFaults]string{
		"proxy_internal_error", "dns_error", "connection_refused", "destination_unavailable", "connection_timeout",
		"connection_terminated", "http_response_timeout", "tls_certificate_error", "tls_protocol_error",
		"http_protocol_error", "http_response_incomplete", "http_response_body_size", "http_request_error", "client_left",
	}[f]
}

// Reason is the metric label of a fault: knockproxy_upstream_errors_total{reason}. It is empty where the upstream is
// not to blame.
func (f Fault) Reason() string {
	switch f {
	case FaultConnectTimeout, FaultResponseTimeout:
		return "timeout"
	case FaultTLSCertificate, FaultTLSProtocol:
		return "tls"
	case FaultTooLarge:
		return "too_large"
	case FaultProtocol, FaultIncomplete:
		return "malformed"
	case FaultRequest, FaultAbandoned, FaultInternal:
		return ""
	}
	return "connect"
}

// statusReason is the metric label for an answer that counts as an error though it came whole.
func statusReason(status int) string {
	switch {
	case status == http.StatusTooManyRequests:
		return "status_429"
	case status >= 500:
		return "status_5xx"
	}
	return ""
}

// AsError turns any error into an *Error; what is none of the upstream's faults is ours.
func AsError(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	if timedOut(err) {
		return &Error{Fault: FaultResponseTimeout, err: err}
	}
	return &Error{Fault: FaultInternal, err: err}
}

// progress is how far the transport got with a request. It tells from goroutines of its own.
type progress struct{ connected, tlsFailed atomic.Bool }

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { p.connected.Store(true) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err != nil {
				p.tlsFailed.Store(true)
			}
		},
	}
}

// BodyError is a request's own body that could not be read: the client's fault, not the upstream's.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "reading the request's body: " + e.Err.Error() }

func (e *BodyError) Unwrap() error { return e.Err }

// roundTripError classifies what a transport returned instead of an answer's headers.
func roundTripError(err error, got *progress) *Error {
	var (
		dns  *net.DNSError
		op   *net.OpError
		cert *tls.CertificateVerificationError
		body *BodyError
	)
	during := ""
	if errors.As(err, &op) {
		during = op.Op
	}
	fault := FaultProtocol
	switch {
	case errors.Is(err, context.Canceled):
		fault = FaultAbandoned
	case errors.As(err, &body):
		fault = FaultRequest
	case timedOut(err) && !got.connected.Load(): // a try's time-out often comes before the dialer's own
		fault = FaultConnectTimeout
	case timedOut(err):
		fault = FaultResponseTimeout
	case errors.As(err, &dns):
		fault = FaultDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		fault = FaultRefused
	case errors.As(err, &cert):
		fault = FaultTLSCertificate
	case during == "dial", during == "proxyconnect":
		fault = FaultUnreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		fault = FaultTerminated
	case got.tlsFailed.Load(), during == "remote error": // so crypto/tls names an alert, which may follow the handshake
		fault = FaultTLSProtocol
	}
	return &Error{Fault: fault, err: err}
}

// bodyError classifies an error while an answer's body was read.
func bodyError(err error) *Error {
	if errors.Is(err, context.Canceled) {
		return &Error{Fault: FaultAbandoned, err: err}
	}
	if timedOut(err) {
		return &Error{Fault: FaultResponseTimeout, err: err}
	}
	return &Error{Fault: FaultIncomplete, err: err}
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		(errors.As(err, &timeout) && timeout.Timeout())
}
