package policy

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// sent and received are the instants of the exchange that most cases are about.
var (
	sent     = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	received = sent.Add(200 * time.Millisecond)
)

// dated is a header line with an HTTP date, that long after the request was sent.
func dated(name string, after time.Duration) string {
	return name + ": " + sent.Add(after).Format(http.TimeFormat)
}

// headerOf is a header of lines as they would arrive.
func headerOf(t testing.TB, lines ...string) http.Header {
	t.Helper()
	h := make(http.Header)
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("no header line: %q", line)
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

// arbitraryHeader is a header of whatever lines are in a text: for fuzzing.
func arbitraryHeader(text string) http.Header {
	h := make(http.Header)
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}
