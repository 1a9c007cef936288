package knock

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Fields are what the proxy reads of an answer's body. Reading is case-exact and sees duplicates, which encoding/json's
// Unmarshal is not and does not: {"smsConsent":true,"SMSCONSENT":false} decodes to false there.
type Fields struct {
	Object bool // the body is one JSON object, and nothing else

	// NoConsent: exactly one key spells smsConsent, none differs from it only in case, and its value is false.
	NoConsent bool

	HasErrorMessage bool // some errorMessage is a string
	SaysNotExist    bool // some errorMessage says that something does not exist
	Forbidden       bool // the gateway's {"message":"Forbidden"}, and nothing else

	IDs Identity // what the body says of its prospectId
}

// Identity compares the body's prospectId with the id that was asked for.
type Identity uint8

// The outcomes of that comparison. A key that differs from prospectId only in case can make an answer another's, not ours.
const (
	IDAbsent Identity = iota // no prospectId, or null
	IDSame                   // the id asked for, as a string or a number
	IDOther                  // any other value
)

// ReadFields reads the top level of body, which answered a request for the prospect id.
func ReadFields(body []byte, id string) Fields {
	if rest, marked := bytes.CutPrefix(body, []byte("\xef\xbb\xbf")); marked { // no JSON, but some clients read on
		if ReadFields(rest, id).IDs == IDOther {
			return Fields{IDs: IDOther}
		}
		return Fields{}
	}
	var f Fields
	body = bytes.TrimLeft(body, " \t\r\n") // JSON's white space, and no other
	if len(body) == 0 || body[0] != '{' || !json.Valid(body) {
		return f
	}
	f.Object = true
	r := fieldReader{f: &f, id: id}
	for name, value := range members(body) {
		r.field(name, value)
	}
	f.NoConsent = r.consents == 1 && r.consentFalse
	f.Forbidden = r.forbidden && r.fields == 1
	return f
}

// fieldReader gathers what one field alone cannot tell.
type fieldReader struct {
	f            *Fields
	id           string
	fields       int
	consents     int // keys that spell smsConsent in any case
	consentFalse bool
	forbidden    bool
}

func (r *fieldReader) field(name string, value []byte) {
	r.fields++
	switch {
	case strings.EqualFold(name, "smsConsent"):
		r.consents++
		r.consentFalse = name == "smsConsent" && string(value) == "false"
	case strings.EqualFold(name, "prospectId"):
		r.f.IDs = max(r.f.IDs, compareID(value, r.id, name == "prospectId"))
	case name == "errorMessage":
		if text, ok := text(value); ok {
			r.f.HasErrorMessage = true
			r.f.SaysNotExist = r.f.SaysNotExist || strings.Contains(strings.ToLower(text), "does not exist")
		}
	case name == "message":
		said, _ := text(value)
		r.forbidden = said == "Forbidden"
	}
}

func compareID(value []byte, id string, exact bool) Identity {
	given := string(value)
	if given == "null" {
		return IDAbsent
	}
	if quoted, ok := text(value); ok {
		given = quoted
	}
	switch {
	case given != id:
		return IDOther
	case exact:
		return IDSame
	}
	return IDAbsent
}

// text is the value of a JSON string.
func text(value []byte) (string, bool) {
	var s string
	if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, &s) != nil {
		return "", false
	}
	return s, true
}
