package knock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"

	"knockproxy/metrics"
)

// Options of a client. URL and Metrics are required.
type Options struct {
	URL     *url.URL      // base URL, with or without a path and a trailing slash
	Timeout time.Duration // bound of one try, to the last byte; if zero, 3 s
	MaxBody int64         // bound of an answer's body, in bytes; if zero, 1 MiB
	Metrics *metrics.Metrics
	// Dial connects to the upstream; if nil, over TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client asks the upstream. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	transport *http.Transport
	timeout   time.Duration
	maxBody   int64
	metrics   *metrics.Metrics
}

// idleConns are kept open to the upstream: a burst of misses need not dial anew.
const idleConns = 128

// NewClient makes a client with a transport of its own: no redirects, no transparent decompression.
func NewClient(o Options) *Client {
	c := &Client{base: o.URL, timeout: o.Timeout, maxBody: o.MaxBody, metrics: o.Metrics}
	if c.timeout == 0 {
		c.timeout = 3 * time.Second
	}
	if c.maxBody == 0 {
		c.maxBody = 1 << 20
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	c.transport = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        50 * time.Second, // below the 60 s after which common load balancers close
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 256 << 10,
	}
	return c
}

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Query is one prospect read.
type Query struct {
	ID      string           // canonical
	Key     string           // the upstream key
	Header  http.Header      // the client's; only read
	Partner *metrics.Partner // whose read it counts as
}

// Answer is what the upstream said, whole.
type Answer struct {
	Status   int
	Header   http.Header // hop-by-hop headers removed
	Body     []byte
	Fields   Fields
	Class    Class
	Sent     time.Time // the request was sent
	Received time.Time // the headers were there
}

// Prospect reads one prospect with GET, whatever the client asked with. Its error is always an *Error.
func (c *Client) Prospect(ctx context.Context, q Query) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	end := c.metrics.UpstreamBegin(q.Partner)
	a, err := c.exchange(ctx, q)
	if err != nil {
		end(0, err.Fault.Reason())
		return nil, err
	}
	reason := statusReason(a.Status)
	if a.Class == NotExist {
		reason = "" // an answer, whatever its status
	}
	end(a.Status, reason)
	return a, nil
}

func (c *Client) exchange(ctx context.Context, q Query) (*Answer, *Error) {
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    c.Target(&url.URL{Path: "/prospect/" + q.ID}),
		Header: readHeader(q.Header, q.Key),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	sent := time.Now()
	res, failed := c.roundTrip(req)
	if failed != nil {
		return nil, failed
	}
	defer res.Body.Close() //nolint:errcheck // read to its end or given up
	a := &Answer{Status: res.StatusCode, Header: res.Header, Sent: sent, Received: time.Now()}
	body, failed := c.readBody(res)
	if failed != nil {
		return nil, failed
	}
	a.Body = body
	RemoveHopByHop(a.Header)
	a.Fields = ReadFields(a.Body, q.ID)
	a.Class = Classify(a.Status, a.Fields)
	return a, nil
}

// roundTrip asks for an answer's headers, and tells what became of the request where none came.
func (c *Client) roundTrip(req *http.Request) (*http.Response, *Error) {
	var got progress
	res, err := c.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), got.trace())))
	if err != nil {
		return nil, roundTripError(err, &got)
	}
	if res.StatusCode < 200 { // no final answer: a switch of protocols that nobody asked for, or no status at all
		_ = res.Body.Close()
		return nil, &Error{Fault: FaultProtocol, err: errNotFinal}
	}
	return res, nil
}

// readBody reads a body that is neither truncated nor larger than the bound.
func (c *Client) readBody(res *http.Response) ([]byte, *Error) {
	if res.ContentLength > c.maxBody {
		return nil, &Error{Fault: FaultTooLarge, err: errTooLarge}
	}
	buf := bytes.NewBuffer(make([]byte, 0, max(res.ContentLength, 0)+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(res.Body, c.maxBody+1))
	switch {
	case err != nil:
		return nil, bodyError(err)
	case n > c.maxBody:
		return nil, &Error{Fault: FaultTooLarge, err: errTooLarge}
	}
	return bytes.Clone(buf.Bytes()), nil // kept for long: no slack
}

var (
	errTooLarge = errors.New("larger than allowed")
	errNotFinal = errors.New("no final status")
)

// Forward sends a request on as it is: the caller made its URL with Target and reads the answer's body as it comes.
// It counts the exchange up to the answer's headers. Its error is always an *Error.
func (c *Client) Forward(req *http.Request, partner *metrics.Partner) (*http.Response, error) {
	end := c.metrics.UpstreamBegin(partner)
	res, failed := c.roundTrip(req)
	if failed != nil {
		end(0, failed.Fault.Reason())
		return nil, failed
	}
	end(res.StatusCode, statusReason(res.StatusCode))
	return res, nil
}
