package policy

import (
	"strings"
	"time"
)

// dateForms are the three forms of an HTTP date (RFC 9110, section 5.6.7), in capitals.
var dateForms = [...]string{
	"Mon, 02 Jan 2006 15:04:05 GMT",
	"Monday, 02-Jan-06 15:04:05 GMT",
	"Mon Jan _2 15:04:05 2006",
}

// ParseDate reads an HTTP date strictly, but in any letter case. (net/http's ParseTime takes double spaces and hours of
// one digit, and refuses gMT.)
func ParseDate(s string) (time.Time, bool) {
	upper := strings.ToUpper(s)
	for _, form := range dateForms {
		t, err := time.Parse(form, upper)
		if err != nil {
			continue
		}
		if as := t.Format(form); len(as) == len(s) && strings.EqualFold(as, s) { // of one length: ſun is not Sun
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
