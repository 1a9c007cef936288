package policy

import "time"

// statedFreshness is the lifetime that the upstream states (RFC 9111, section 4.2.1): s-maxage, else max-age, else
// Expires less Date. An Expires that is no date is stale. It is false where the upstream states none.
func statedFreshness(cc *CacheControl, targeted bool, res *Response, caps *Caps) (time.Duration, bool) {
	switch {
	case caps.IgnoreUpstream:
		return 0, false
	case cc.SMaxAge.Given:
		return cc.SMaxAge.Value, true
	case cc.MaxAge.Given:
		return cc.MaxAge.Value, true
	case targeted: // Expires is replaced too (RFC 9213, section 2.1)
		return 0, false
	}
	lines := res.Header["Expires"]
	if len(lines) == 0 {
		return 0, false
	}
	expires, ok := ParseDate(lines[0])
	if !ok || len(lines) > 1 {
		return 0, true
	}
	return max(expires.Sub(dateOf(res)), 0), true // never so far below zero that subtracting an age would overflow
}

// ageAtSending is the corrected initial age (RFC 9111, section 4.2.3), less the delay of the response: resident time then
// counts from the sending of the request.
func ageAtSending(res *Response) time.Duration {
	return max(res.Sent.Sub(dateOf(res)), parseAge(res.Header))
}

// dateOf is the answer's Date, or the time of receipt where it has none that is valid (RFC 9110, section 6.6.1).
func dateOf(res *Response) time.Time {
	if lines := res.Header["Date"]; len(lines) > 0 {
		if date, ok := ParseDate(lines[0]); ok {
			return date
		}
	}
	return res.Received.Round(0) // wall clock, as a Date would be
}
