package knocktest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
)

// Answer is an answer before it is sent.
type Answer struct {
	Status int
	// Header keeps a name out of the answer, Date and Content-Type too, if its values are nil.
	Header http.Header
	// Body may be shared with other answers: replace it, never write into it.
	Body []byte
}

// stamped returns a copy of a with the ids that Amazon API Gateway gives every answer, if a has none.
func (a Answer) stamped() *Answer {
	a.Header = a.Header.Clone()
	if a.Header == nil {
		a.Header = http.Header{}
	}
	id := randomBytes(27)
	for name, value := range map[string]string{
		"X-Amzn-Requestid": uuid(id[:16]),
		"X-Amz-Apigw-Id":   base64.URLEncoding.EncodeToString(id[16:]),
	} {
		if _, ok := a.Header[name]; !ok {
			a.Header.Set(name, value)
		}
	}
	return &a
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, says its documentation
	return b
}

func uuid(b []byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562 5.4
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func jsonAnswer(status int, v any) Answer {
	return Answer{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: encode(v)}
}

// encode is json.Marshal without the escaping of <, > and &, which Knock does not do.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("knocktest: encoding an answer: %v", err)) // an Edit put a channel or the like into it
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// knockError is a failure as Knock words it ("Knock Get Prospect API": "Failure: details at resp.errorMessage").
func knockError(status int, format string, args ...any) Answer {
	return jsonAnswer(status, struct {
		ErrorMessage string `json:"errorMessage"`
	}{fmt.Sprintf(format, args...)})
}

// The article gives the two messages, but not their statuses: 400 and 404 are assumed.

func malformedID(id string) Answer {
	return knockError(http.StatusBadRequest, "Id %s is not a valid prospect id. Id must be a number.", id)
}

func doesNotExist(status int, id string) Answer {
	return knockError(status, "Unable to get prospect upstream - Prospect_id %s does not exist.", id)
}

// gatewayError is an answer of Amazon API Gateway itself ("Gateway response types for API Gateway").
func gatewayError(status int, kind, message string) Answer {
	a := jsonAnswer(status, struct {
		Message string `json:"message"`
	}{message})
	a.Header.Set("x-amzn-ErrorType", kind)
	return a
}

func forbidden() Answer {
	return gatewayError(http.StatusForbidden, "ForbiddenException", "Forbidden")
}

func missingAuthenticationToken() Answer {
	return gatewayError(http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token")
}

func tooLong() Answer {
	return gatewayError(http.StatusRequestEntityTooLarge, "RequestTooLargeException", "Request Too Long")
}
