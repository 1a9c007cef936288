package knock

import (
	"encoding/json"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxIDDigits bounds a prospect id: 20 digits hold any 64-bit number.
const maxIDDigits = 20

// IDForm tells what the proxy may do with an id as a client wrote it.
type IDForm uint8

// The forms of an id.
const (
	IDCanonical IDForm = iota // digits without leading zeros, or 0: the only form that is cached
	IDOdd                     // a number to the upstream perhaps, but leading zeros or percent-encoded: forwarded
	IDMalformed               // no number: answered in Knock's words
)

// ParseID reads one path segment, still escaped. Knock's article: an id is "a number without spaces or special characters".
func ParseID(segment string) (id string, form IDForm) {
	if strings.IndexByte(segment, '%') < 0 {
		return segment, idForm(segment)
	}
	decoded, err := url.PathUnescape(segment)
	if err != nil || idForm(decoded) == IDMalformed {
		return segment, IDMalformed
	}
	return decoded, IDOdd
}

func idForm(s string) IDForm {
	if s == "" || len(s) > maxIDDigits {
		return IDMalformed
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return IDMalformed
		}
	}
	if s[0] == '0' && len(s) > 1 {
		return IDOdd
	}
	return IDCanonical
}

// CanonicalID is the id that digits mean: leading zeros cut. It is false for anything that is no prospect id.
func CanonicalID(digits string) (string, bool) {
	if trimmed := strings.TrimLeft(digits, "0"); trimmed != "" || digits == "" {
		digits = trimmed
	} else {
		digits = "0"
	}
	return digits, idForm(digits) == IDCanonical
}

// MalformedID is Knock's answer to a segment that is no id: the JSON body of its documented error, quoting what was given,
// percent-decoded and cut at 64 bytes.
func MalformedID(segment string) []byte {
	given := segment
	if decoded, err := url.PathUnescape(segment); err == nil {
		given = decoded
	}
	return ErrorBody("Id " + cut(given, 64) + " is not a valid prospect id. Id must be a number.")
}

// cut shortens s to at most n bytes, at a rune's border where it is UTF-8.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n]
}

// ErrorBody is a body in the shape of Knock's errors: details at errorMessage.
func ErrorBody(message string) []byte {
	body, _ := json.Marshal(map[string]string{"errorMessage": message}) // strings always marshal
	return body
}
