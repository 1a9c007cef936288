package knock

import "net/http"

// Class is what an answer to a prospect read means, before anything else looks at it.
type Class uint8

// The classes. NotExist is an answer, never a failure: it arrives with a status that Knock does not document.
const (
	Answered       Class = iota // whatever is not below
	NotExist                    // the prospect does not exist
	KeyRefused                  // 401, or the gateway's own 403: the key is bad, for every prospect
	ProspectDenied              // another 403: the key may not see this prospect
	Throttled                   // 429
	Failed                      // 5xx
)

// Classify tells what an answer means. Knock's article names the error text for an unknown id, not its status: a 404 in
// Knock's shape means it, and so does any other failure that says so.
func Classify(status int, f Fields) Class {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden && f.Forbidden:
		return KeyRefused
	case status == http.StatusForbidden:
		return ProspectDenied
	case status == http.StatusTooManyRequests:
		return Throttled
	case status >= 200 && status < 300, status == http.StatusProxyAuthRequired:
		return Answered
	case status == http.StatusNotFound && f.HasErrorMessage, f.SaysNotExist:
		return NotExist
	case status >= 500:
		return Failed
	}
	return Answered
}
