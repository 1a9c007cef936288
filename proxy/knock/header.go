package knock

import (
	"net/http"
	"net/textproto"
	"strings"
)

// KeyHeader carries the credential, in the form of net/http's canonical keys.
const KeyHeader = "X-Api-Key"

// notAsked are request headers that a prospect read does not pass on: one answer serves many clients, so nothing may
// reach the upstream that makes it answer for one of them, in part, or for another method or path.
var notAsked = map[string]bool{
	// conditions and ranges: the proxy answers them itself
	"If-Match": true, "If-None-Match": true, "If-Modified-Since": true, "If-Unmodified-Since": true, "If-Range": true, "Range": true,
	// one client's own
	"Cookie": true, "Forwarded": true, "X-Real-Ip": true, "True-Client-Ip": true, "Content-Length": true, "Expect": true,
	// overrides of the method or the path
	"X-Http-Method-Override": true, "X-Http-Method": true, "X-Method-Override": true,
	"X-Original-Method": true, "X-Original-Url": true, "X-Rewrite-Url": true, "X-Original-Uri": true,
	"X-Override-Url": true, "X-Http-Path-Override": true, "X-Host": true, "X-Original-Host": true,
}

// MethodOverrides are headers by which some servers take a request for one of another method.
var MethodOverrides = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

// readHeader is what the upstream sees of a client's headers in a prospect read, with the upstream key.
func readHeader(in http.Header, key string) http.Header {
	out := make(http.Header, len(in)+2)
	for name, values := range in {
		// An underscore passes for a hyphen with some servers: X_Api_Key would be a second key.
		if !notAsked[name] && !strings.HasPrefix(name, "X-Forwarded-") && !strings.Contains(name, "_") {
			out[name] = values
		}
	}
	RemoveHopByHop(out)
	out[KeyHeader] = []string{key}
	out["Accept-Encoding"] = []string{"identity"}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = []string{""} // net/http would name itself
	}
	return out
}

var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// RemoveHopByHop deletes what concerns one connection only, and what Connection lists (RFC 9110, section 7.6.1; for the
// fields of a proxy RFC 9111, section 3.1).
func RemoveHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}
