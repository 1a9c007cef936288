package knock

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Target is the upstream's URL for a path and query as a client gave them, below the base URL, byte for byte: nothing is
// cleaned or decoded, so that the upstream sees what it would have seen without the proxy. Only bytes that no URI may
// hold are percent-encoded.
func (c *Client) Target(in *url.URL) *url.URL {
	out := &url.URL{Scheme: c.base.Scheme, Host: c.base.Host, RawQuery: in.RawQuery, ForceQuery: in.ForceQuery}
	if in.Path == "*" { // OPTIONS *, RFC 9110, section 7.1
		out.Path = "*"
		return out
	}
	base := strings.TrimSuffix(c.base.Path, "/")
	out.Path = base + in.Path
	out.RawPath = strings.TrimSuffix(c.base.EscapedPath(), "/") + escapedPath(in)
	return out
}

// escapedPath is a path as it was given. (url.URL's EscapedPath encodes all of it anew where it holds a byte that no URI may
// hold, and a %2F becomes a slash.)
func escapedPath(in *url.URL) string {
	if in.RawPath == "" {
		return in.EscapedPath()
	}
	var b strings.Builder
	for i := range len(in.RawPath) {
		switch c := in.RawPath[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', strings.IndexByte("/%-._~!$&'()*+,;=:@[]", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Origin names the upstream and the base path below it: what an upstream key is a key for.
func (c *Client) Origin() string {
	return strings.ToLower(c.base.Scheme+"://"+withPort(c.base)) + strings.TrimSuffix(c.base.EscapedPath(), "/")
}

// Relative turns a Location on the upstream's own origin into one that holds at the proxy: relative to its root, without
// the base path. Anything else is returned as it is.
func (c *Client) Relative(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Opaque != "" || u.User != nil {
		return location
	}
	base := strings.TrimSuffix(c.base.EscapedPath(), "/")
	switch {
	case u.Host != "":
		if u.Scheme == "" {
			u.Scheme = c.base.Scheme
		}
		if u.Scheme != c.base.Scheme || !strings.EqualFold(withPort(u), withPort(c.base)) {
			return location
		}
	case u.Scheme != "" || base == "" || !strings.HasPrefix(location, "/"):
		return location // already relative
	}
	path, below := strings.CutPrefix(u.EscapedPath(), base)
	if !below || path != "" && path[0] != '/' || strings.HasPrefix(path, "//") {
		return location // elsewhere on that origin; or it would read as another host
	}
	return relativeReference(path, u)
}

func relativeReference(path string, u *url.URL) string {
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		path += "?" + u.RawQuery
	}
	if u.Fragment != "" {
		path += "#" + u.EscapedFragment()
	}
	return path
}

// withPort is a URL's host with the port that its scheme implies.
func withPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http":
		port = "80"
	default:
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
