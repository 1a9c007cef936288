package proxy

import (
	"net/http"
	"strconv"

	"knockproxy/proxy/knock"
)

// problem is an answer of the proxy's own: Knock's shape of an error, and in Proxy-Status (RFC 9209) whose fault it was.
// It says nothing of what is inside.
type problem struct {
	status      int
	body        []byte
	length      []string // of body, as Content-Length
	proxyStatus []string
}

func newProblem(status int, kind, message string) *problem {
	return problemWithBody(status, kind, knock.ErrorBody(message))
}

func problemWithBody(status int, kind string, body []byte) *problem {
	return &problem{
		status: status, body: body,
		length:      []string{strconv.Itoa(len(body))},
		proxyStatus: []string{"knockproxy; error=" + kind},
	}
}

// What a client did wrong.
var (
	keyMissing      = newProblem(http.StatusUnauthorized, "http_request_denied", "The header x-api-key is missing.")
	keyUnknown      = newProblem(http.StatusUnauthorized, "http_request_denied", "The x-api-key is not known here.")
	keySeveral      = newProblem(http.StatusBadRequest, "http_request_error", "The header x-api-key was given more than once.")
	keyTooLong      = newProblem(http.StatusBadRequest, "http_request_error", "The x-api-key is longer than 256 bytes.")
	notOffered      = newProblem(http.StatusNotImplemented, "http_request_denied", "CONNECT, TRACE and protocol upgrades are not offered here.")
	failedElsewhere = newProblem(http.StatusBadGateway, "destination_unavailable", "The upstream cannot be reached.")
	internalErr     = newProblem(http.StatusBadGateway, "proxy_internal_error", "The proxy could not answer.")
)

func malformedID(segment string) *problem {
	return problemWithBody(http.StatusBadRequest, "http_request_error", knock.MalformedID(segment))
}

// upstreamProblems is what a client is told of each fault of the upstream.
var upstreamProblems = func() map[knock.Fault]*problem {
	const (
		away   = "The upstream cannot be reached."
		broken = "The upstream's answer was broken."
		late   = "The upstream did not answer in time."
	)
	table := make(map[knock.Fault]*problem)
	for fault, as := range map[knock.Fault]struct {
		status  int
		message string
	}{
		knock.FaultRequest:         {http.StatusBadRequest, "The request's body broke off, or is none."},
		knock.FaultDNS:             {http.StatusBadGateway, away},
		knock.FaultRefused:         {http.StatusBadGateway, away},
		knock.FaultUnreachable:     {http.StatusBadGateway, away},
		knock.FaultTerminated:      {http.StatusBadGateway, away},
		knock.FaultTLSCertificate:  {http.StatusBadGateway, away},
		knock.FaultTLSProtocol:     {http.StatusBadGateway, away},
		knock.FaultConnectTimeout:  {http.StatusGatewayTimeout, late},
		knock.FaultResponseTimeout: {http.StatusGatewayTimeout, late},
		knock.FaultProtocol:        {http.StatusBadGateway, broken},
		knock.FaultIncomplete:      {http.StatusBadGateway, broken},
		knock.FaultTooLarge:        {http.StatusBadGateway, broken},
	} {
		table[fault] = newProblem(as.status, fault.String(), as.message)
	}
	return table
}()

// problemOf is what a client is told of an error.
func problemOf(err *knock.Error) *problem {
	if p, ok := upstreamProblems[err.Fault]; ok {
		return p
	}
	return internalErr
}
