package knocktest

import (
	"net/http"
	"net/url"
	"strings"
)

// maxBody is what Amazon API Gateway takes of a request's body (10 MB).
const maxBody = 10 << 20

// operation is what a request asks for; the zero value is nothing that the API knows.
type operation int

const (
	unknown operation = iota
	readProspect
	readEvents
	readTimes
	postProspect
	postAppointment
	updateProspect
	deleteProspect
)

// route finds the operation of a method and an escaped path, and the prospect id in the path, decoded.
func route(method, path string) (operation, string) {
	segments := strings.Split(strings.TrimPrefix(strings.TrimSuffix(path, "/"), "/"), "/")
	reads := method == http.MethodGet || method == http.MethodHead
	switch {
	case reads && segments[len(segments)-1] == "available-times":
		return readTimes, ""
	case method == http.MethodPost && len(segments) == 2 && segments[0] == "appointment" && segments[1] == "request":
		return postAppointment, ""
	case segments[0] != "prospect":
		return unknown, ""
	case len(segments) == 1 && method == http.MethodPost:
		return postProspect, ""
	case len(segments) == 2:
		return onProspect(method), unescape(segments[1])
	case len(segments) == 3 && segments[2] == "events" && reads:
		return readEvents, unescape(segments[1])
	case len(segments) > 2:
		return unknown, unescape(segments[1])
	}
	return unknown, ""
}

func onProspect(method string) operation {
	switch method {
	case http.MethodGet, http.MethodHead:
		return readProspect
	case http.MethodPut, http.MethodPatch:
		return updateProspect
	case http.MethodDelete:
		return deleteProspect
	}
	return unknown
}

func unescape(segment string) string {
	if s, err := url.PathUnescape(segment); err == nil {
		return s
	}
	return segment
}

// handle makes the answer of an API in good health. The gateway speaks first, then Knock.
func (s *Server) handle(x *exchange) Answer {
	r := x.request
	switch {
	case r.operation == unknown:
		return missingAuthenticationToken()
	case !s.accepts(r.Key()):
		return forbidden()
	case r.BodySize > maxBody:
		return tooLong()
	}
	switch r.operation {
	case postProspect:
		return s.create(x)
	case postAppointment:
		return s.book(x)
	case readTimes:
		return availableTimes(s.now())
	}
	if !isNumber(r.ProspectID) {
		return malformedID(r.ProspectID)
	}
	switch r.operation {
	case readEvents:
		return s.events(r)
	case updateProspect:
		return s.update(r.ProspectID, x.body)
	case deleteProspect:
		return s.markDeleted(r.ProspectID)
	}
	return s.read(x)
}

func (s *Server) read(x *exchange) Answer {
	p, version := s.store.get(x.request.ProspectID)
	if version == 0 {
		return doesNotExist(http.StatusNotFound, x.request.ProspectID)
	}
	x.version, x.updated = version, parseStamp(p.UpdatedAt)
	return jsonAnswer(http.StatusOK, s.seenBy(x.request.Key(), p))
}
