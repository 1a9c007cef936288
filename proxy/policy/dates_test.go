package policy

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestParseDate: RFC 9110, section 5.6.7.
func TestParseDate(t *testing.T) {
	want := time.Date(1994, time.November, 6, 8, 49, 37, 0, time.UTC)
	for _, test := range []struct {
		name, date string
		ok         bool
	}{
		{"IMF-fixdate", "Sun, 06 Nov 1994 08:49:37 GMT", true},
		{"rfc850-date", "Sunday, 06-Nov-94 08:49:37 GMT", true},
		{"asctime-date", "Sun Nov  6 08:49:37 1994", true},
		{"upper case", "SUN, 06 NOV 1994 08:49:37 GMT", true},
		{"lower case", "sun, 06 nov 1994 08:49:37 gmt", true},
		{"gMT", "Sun, 06 Nov 1994 08:49:37 gMT", true},
		{"rfc850-date in odd case", "sUNDAY, 06-nOV-94 08:49:37 gMt", true},
		{"asctime-date in odd case", "sUN nOV  6 08:49:37 1994", true},
		{"two spaces", "Sun,  06 Nov 1994 08:49:37 GMT", false},
		{"two spaces before the time", "Sun, 06 Nov 1994  08:49:37 GMT", false},
		{"space before", " Sun, 06 Nov 1994 08:49:37 GMT", false},
		{"space after", "Sun, 06 Nov 1994 08:49:37 GMT ", false},
		{"a tab", "Sun, 06\tNov 1994 08:49:37 GMT", false},
		{"no comma", "Sun 06 Nov 1994 08:49:37 GMT", false},
		{"one digit in the hour", "Sun, 06 Nov 1994 8:49:37 GMT", false},
		{"one digit in the day", "Sun, 6 Nov 1994 08:49:37 GMT", false},
		{"asctime-date with a zero", "Sun Nov 06 08:49:37 1994", false},
		{"asctime-date with one space", "Sun Nov 6 08:49:37 1994", false},
		{"a year of two digits", "Sun, 06 Nov 94 08:49:37 GMT", false},
		{"a year of four digits in an rfc850-date", "Sunday, 06-Nov-1994 08:49:37 GMT", false},
		{"dashes", "Sun, 06-Nov-1994 08:49:37 GMT", false},
		{"dots in the time", "Sun, 06 Nov 1994 08.49.37 GMT", false},
		{"a fraction of a second", "Sun, 06 Nov 1994 08:49:37.000 GMT", false},
		{"no seconds", "Sun, 06 Nov 1994 08:49 GMT", false},
		{"UTC", "Sun, 06 Nov 1994 08:49:37 UTC", false},
		{"AEST", "Sun, 06 Nov 1994 08:49:37 AEST", false},
		{"an offset", "Sun, 06 Nov 1994 08:49:37 +0000", false},
		{"no zone", "Sun, 06 Nov 1994 08:49:37", false},
		{"another day of the week", "Mon, 06 Nov 1994 08:49:37 GMT", false},
		{"a long day of the week", "Sunday, 06 Nov 1994 08:49:37 GMT", false},
		{"no such day", "Thu, 31 Nov 1994 08:49:37 GMT", false},
		{"no such hour", "Sun, 06 Nov 1994 24:49:37 GMT", false},
		{"letters that fold to ASCII", "ſun, 06 Nov 1994 08:49:37 GMT", false},
		{"two dates", "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", false},
		{"zero", "0", false},
		{"empty", "", false},
		{"garbage", "thursday", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := ParseDate(test.date); ok != test.ok || ok && !got.Equal(want) {
				t.Errorf("%q is %s, %t", test.date, got, ok)
			}
		})
	}
}

func FuzzParseDate(f *testing.F) {
	for _, seed := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "ſun, 06 Nov 1994 08:49:37 GMT",
		"mon, 01 JAN 0001 00:00:00 gmt", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 29 Feb 2024 23:59:60 GMT", "0", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, date string) {
		got, ok := ParseDate(date)
		if !ok {
			if canonical, err := time.Parse(http.TimeFormat, date); err == nil && canonical.Format(http.TimeFormat) == date {
				t.Errorf("%q is refused", date)
			}
			return
		}
		if got.Location() != time.UTC || got.Nanosecond() != 0 {
			t.Errorf("%q is no whole second of UTC: %s", date, got)
		}
		same := false
		for _, form := range []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
			same = same || asciiLower(got.Format(form)) == asciiLower(date)
		}
		if !same {
			t.Errorf("%q is taken for %s, which no form of a date writes so", date, got)
		}
		if again, ok := ParseDate(got.Format(http.TimeFormat)); !ok || !again.Equal(got) {
			t.Errorf("%q is %s, but written anew %s, %t", date, got, again, ok)
		}
	})
}

// asciiLower folds letters as RFC 9110 has them: those of ASCII, and no others.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
