package policy

import (
	"net/http"
	"net/textproto"
	"strings"
)

// NotModified tells that a client holds the answer already: its conditions are met by 304 (RFC 9110, section 13.2.2).
// If-None-Match takes precedence over If-Modified-Since. Only a 200 is compared.
func NotModified(request http.Header, a *Answer) bool {
	if a.Status != http.StatusOK {
		return false
	}
	if lines := request["If-None-Match"]; len(lines) > 0 {
		return tagListed(lines, a.Header.Get("Etag"))
	}
	lines := request["If-Modified-Since"]
	if len(lines) != 1 {
		return false
	}
	since, ok := ParseDate(lines[0])
	if !ok {
		return false
	}
	modified, ok := ParseDate(a.Header.Get("Last-Modified"))
	return ok && !modified.After(since)
}

// tagListed compares weakly (RFC 9110, section 8.8.3.2) and minds commas inside quotes.
func tagListed(lines []string, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, line := range lines {
		if textproto.TrimString(line) == "*" {
			return true
		}
		for line != "" {
			var listed string
			listed, line = nextTag(line)
			if listed != "" && listed == tag {
				return true
			}
		}
	}
	return false
}

// nextTag cuts the first entity-tag off a list, without its W/. What is no tag is skipped to the next comma.
func nextTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, " \t,")
	list = strings.TrimPrefix(list, "W/")
	if !strings.HasPrefix(list, `"`) {
		_, rest, _ = strings.Cut(list, ",")
		return "", rest
	}
	end := strings.IndexByte(list[1:], '"')
	if end < 0 {
		return "", ""
	}
	return list[:end+2], list[end+2:]
}

// notModifiedFields are those of a 304 (RFC 9110, section 15.4.5).
var notModifiedFields = []string{"Cache-Control", "Content-Location", "Date", "Etag", "Expires", "Vary"}

// NotModifiedHeader is what a 304 repeats of the answer.
func (a *Answer) NotModifiedHeader() http.Header {
	h := make(http.Header, len(notModifiedFields))
	for _, name := range notModifiedFields {
		if values, ok := a.Header[name]; ok {
			h[name] = values
		}
	}
	return h
}
