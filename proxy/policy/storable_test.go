package policy

import (
	"net/http"
	"testing"
	"time"
)

// Bodies of answers, as proxy/knock finds them to be.
var (
	quiet    = Body{Prospect: true, NoConsent: true} // this prospect, smsConsent false
	consents = Body{Prospect: true}                  // this prospect, smsConsent true or doubtful
	other    = Body{Other: true}                     // another prospect
	missing  = Body{NotExist: true, NoConsent: true} // "does not exist"
)

// defaults are the caps as they are without a configuration.
func defaults() *Caps {
	return &Caps{TTL: 30 * time.Second, TTLWithConsent: 10 * time.Second, NegativeTTL: 5 * time.Second, MaxTTL: 5 * time.Minute}
}

type storableCase struct {
	name   string
	auth   bool     // the request carried Authorization
	status int      // if zero, 200
	lines  []string // beside Content-Type: application/json, unless they say another
	body   Body
	caps   func(*Caps)
	fresh  time.Duration // stored, and fresh that long from the sending of the request
	age    time.Duration // at the sending
	why    Reason        // not stored
}

func (c *storableCase) run(t *testing.T) {
	t.Helper()
	caps := defaults()
	if c.caps != nil {
		c.caps(caps)
	}
	res := Response{Status: c.status, Header: headerOf(t, c.lines...), Body: c.body, Sent: sent, Received: received}
	if res.Status == 0 {
		res.Status = http.StatusOK
	}
	if res.Header["Content-Type"] == nil {
		res.Header.Set("Content-Type", "application/json")
	}
	got := Storable(&Request{Authorization: c.auth}, &res, caps)
	if want := (Lifetime{Fresh: c.fresh, Keep: c.fresh, Age: c.age, Why: c.why}); got != want {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func runStorable(t *testing.T, cases []storableCase) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.name, test.run)
	}
}

const (
	second = time.Second
	minute = time.Minute
)

// TestStatedFreshness: RFC 9111, sections 4.2.1 and 4.2.3.
func TestStatedFreshness(t *testing.T) {
	runStorable(t, []storableCase{
		{name: "max-age", lines: []string{"Cache-Control: max-age=60"}, body: quiet, fresh: minute},
		{name: "s-maxage before max-age", lines: []string{"Cache-Control: max-age=60, s-maxage=20"}, body: quiet, fresh: 20 * second},
		{name: "s-maxage before max-age, longer as it is", lines: []string{"Cache-Control: s-maxage=60", "Cache-Control: max-age=20"}, body: quiet, fresh: minute},
		{name: "an invalid s-maxage before max-age", lines: []string{"Cache-Control: max-age=60, s-maxage=x"}, body: quiet, why: WhyNoFreshness},
		{name: "max-age before Expires", lines: []string{"Cache-Control: max-age=60", dated("Expires", time.Hour)}, body: quiet, fresh: minute},
		{name: "max-age=0 before Expires", lines: []string{"Cache-Control: max-age=0", dated("Expires", time.Hour)}, body: quiet, why: WhyNoFreshness},
		{name: "an invalid max-age is stale", lines: []string{"Cache-Control: max-age=60.0"}, body: quiet, why: WhyNoFreshness},
		{name: "Expires less Date", lines: []string{dated("Date", 0), dated("Expires", minute)}, body: quiet, fresh: minute},
		{name: "Expires less the receipt", lines: []string{dated("Expires", minute)}, body: quiet, fresh: minute - 200*time.Millisecond},
		{name: "Expires less the receipt where Date is invalid", lines: []string{"Date: now", dated("Expires", minute)}, body: quiet, fresh: minute - 200*time.Millisecond},
		{name: "Expires past", lines: []string{dated("Expires", -second)}, body: quiet, why: WhyNoFreshness},
		{name: "Expires now", lines: []string{dated("Date", 0), dated("Expires", 0)}, body: quiet, why: WhyNoFreshness},
		{name: "Expires: 0 is stale, 5.3", lines: []string{"Expires: 0"}, body: quiet, why: WhyNoFreshness},
		{name: "Expires with two spaces is stale", lines: []string{"Expires: Sun,  01 Mar 2026 13:00:00 GMT"}, body: quiet, why: WhyNoFreshness},
		{name: "an empty Expires is stale", lines: []string{"Expires:"}, body: quiet, why: WhyNoFreshness},
		{name: "two Expires are stale", lines: []string{dated("Expires", minute), dated("Expires", minute)}, body: quiet, why: WhyNoFreshness},
		{name: "Expires in the year 1 is stale, with an age too", lines: []string{"Expires: Mon, 01 Jan 0001 00:00:00 GMT", "Age: 10"}, body: quiet, why: WhyNoFreshness},
		{name: "Expires in the year 9999", lines: []string{"Expires: Fri, 31 Dec 9999 23:59:59 GMT"}, body: quiet, fresh: 5 * minute},
		{name: "a Date that is slow makes an age", lines: []string{dated("Date", -10*second), "Cache-Control: max-age=60"}, body: quiet, fresh: 50 * second, age: 10 * second},
		{name: "a Date that is slow, past its lifetime", lines: []string{dated("Date", -minute), "Cache-Control: max-age=60"}, body: quiet, why: WhyNoFreshness},
		{name: "a Date that is fast makes none", lines: []string{dated("Date", time.Hour), "Cache-Control: max-age=60"}, body: quiet, fresh: minute},
		{name: "a Date that is fast does not shorten Expires", lines: []string{dated("Date", time.Hour), dated("Expires", time.Hour+minute)}, body: quiet, fresh: minute},
		{name: "a Date that is fast does not lengthen Expires", lines: []string{dated("Date", time.Hour), dated("Expires", minute)}, body: quiet, why: WhyNoFreshness},
		{name: "a Date in the year 9999 makes no age", lines: []string{"Date: Fri, 31 Dec 9999 23:59:59 GMT", "Cache-Control: max-age=60"}, body: quiet, fresh: minute},
		{name: "a Date in the year 1 makes an age", lines: []string{"Date: Mon, 01 Jan 0001 00:00:00 GMT", "Cache-Control: max-age=60"}, body: quiet, why: WhyNoFreshness},
		{name: "Age counts", lines: []string{"Age: 20", "Cache-Control: max-age=60"}, body: quiet, fresh: 40 * second, age: 20 * second},
		{name: "Age counts with Expires", lines: []string{"Age: 20", dated("Date", 0), dated("Expires", minute)}, body: quiet, fresh: 40 * second, age: 20 * second},
		{name: "the larger of Age and what Date says", lines: []string{"Age: 20", dated("Date", -30*second), "Cache-Control: max-age=60"}, body: quiet, fresh: 30 * second, age: 30 * second},
		{name: "the larger of what Date says and Age", lines: []string{"Age: 30", dated("Date", -20*second), "Cache-Control: max-age=60"}, body: quiet, fresh: 30 * second, age: 30 * second},
		{name: "Age as old as the lifetime", lines: []string{"Age: 60", "Cache-Control: max-age=60"}, body: quiet, why: WhyNoFreshness},
		{name: "Age: 7200, 0", lines: []string{"Age: 7200, 0", "Cache-Control: max-age=3600"}, body: quiet, why: WhyNoFreshness},
		{name: "Age: 7200.0 is ignored", lines: []string{"Age: 7200.0", "Cache-Control: max-age=60"}, body: quiet, fresh: minute},
		{name: "an Age that overflows", lines: []string{"Age: 99999999999999999999", "Cache-Control: max-age=99999999999999999999"}, body: quiet, why: WhyNoFreshness},
		{name: "CDN-Cache-Control replaces Cache-Control, RFC 9213", lines: []string{"CDN-Cache-Control: max-age=20", "Cache-Control: no-store"}, body: quiet, fresh: 20 * second},
		{name: "CDN-Cache-Control replaces Expires", lines: []string{"CDN-Cache-Control: public", dated("Expires", 0)}, body: quiet, fresh: 30 * second},
		{name: "CDN-Cache-Control forbids", lines: []string{"CDN-Cache-Control: no-store", "Cache-Control: max-age=60"}, body: quiet, why: WhyNoStore},
		{name: "CDN-Cache-Control with a lifetime of a wrong type", lines: []string{"CDN-Cache-Control: max-age=(60)"}, body: quiet, why: WhyNoFreshness},
		{name: "CDN-Cache-Control malformed", lines: []string{"CDN-Cache-Control: max-age=,", "Cache-Control: max-age=60"}, body: quiet, fresh: minute},
		{name: "no-cache with a lifetime, 5.2.2.4", lines: []string{"Cache-Control: no-cache, max-age=60"}, body: quiet, why: WhyNoFreshness},
		{name: "no-cache of some fields", lines: []string{`Cache-Control: no-cache="x-a", max-age=60`}, body: quiet, fresh: minute},
		{name: "private of some fields", lines: []string{`Cache-Control: private="x-a", max-age=60`}, body: quiet, fresh: minute},
		{name: "Set-Cookie with a lifetime: stored, without it", lines: []string{"Set-Cookie: a=b", "Cache-Control: max-age=60"}, body: quiet, fresh: minute},
		{name: "any type of content", lines: []string{"Content-Type: text/html", "Cache-Control: max-age=60"}, body: Body{NoConsent: true}, fresh: minute},
		{name: "identity is no encoding", lines: []string{"Content-Encoding: Identity", "Cache-Control: max-age=60"}, body: quiet, fresh: minute},
		{name: "Vary: Accept-Encoding, which all reads send alike", lines: []string{"Vary: , accept-encoding", "Cache-Control: max-age=60"}, body: quiet, fresh: minute},
	})
}

// TestStatedFreshnessOfStatuses: RFC 9111, section 3: any final status with a freshness of its own, but those that concern
// one exchange or one key only. None but a 200 can be provably without consent.
func TestStatedFreshnessOfStatuses(t *testing.T) {
	lines := []string{"Cache-Control: max-age=60"}
	for _, status := range []int{203, 204, 299, 300, 301, 302, 307, 308, 404, 405, 410, 418, 499, 500, 501, 502, 503, 504, 599} {
		test := storableCase{status: status, lines: lines, fresh: 10 * second}
		t.Run(http.StatusText(status), test.run)
	}
	for _, status := range []int{100, 101, 103, 206, 304, 401, 403, 407, 429} {
		test := storableCase{status: status, lines: lines, why: WhyStatus}
		t.Run("never "+http.StatusText(status), test.run)
	}
	for _, status := range []int{201, 203, 204, 301, 302, 400, 404, 410, 500, 503} {
		for _, said := range []string{"X-A: b", "Cache-Control: public", "Cache-Control: no-cache", "Cache-Control: must-revalidate"} {
			test := storableCase{status: status, lines: []string{said}, body: consents, why: WhyStatus}
			t.Run("none stated "+said+" "+http.StatusText(status), test.run)
		}
	}
}

// TestDefaultFreshness: what is ours to give where the upstream states nothing.
func TestDefaultFreshness(t *testing.T) {
	runStorable(t, []storableCase{
		{name: "ttl", body: quiet, fresh: 30 * second},
		{name: "ttl with parameters of the type", lines: []string{"Content-Type: Application/JSON; charset=utf-8"}, body: quiet, fresh: 30 * second},
		{name: "ttl with +json", lines: []string{"Content-Type: application/problem+json"}, body: quiet, fresh: 30 * second},
		{name: "ttl of zero", body: quiet, caps: func(c *Caps) { c.TTL = 0 }, why: WhyNoFreshness},
		{name: "max_ttl caps what is stated, not ttl", body: quiet, caps: func(c *Caps) { c.MaxTTL = second }, fresh: 30 * second},
		{name: "directives that state no freshness", lines: []string{"Cache-Control: public, must-revalidate, foo=1"}, body: quiet, fresh: 30 * second},
		{name: "Age counts", lines: []string{"Age: 20"}, body: quiet, fresh: 10 * second, age: 20 * second},
		{name: "Age past it", lines: []string{"Age: 30"}, body: quiet, why: WhyNoFreshness},
		{name: "a Date that is slow does not count", lines: []string{dated("Date", -time.Hour)}, body: quiet, fresh: 30 * second},
		{name: "no default for no-cache", lines: []string{"Cache-Control: no-cache"}, body: quiet, why: WhyNoFreshness},
		{name: "no default beside a bad Expires", lines: []string{"Expires: -1"}, body: quiet, why: WhyNoFreshness},
		{name: "no default beside a bad max-age", lines: []string{"Cache-Control: max-age=1.5"}, body: quiet, why: WhyNoFreshness},
		{name: "no default for a cookie", lines: []string{"Set-Cookie: a=b"}, body: quiet, why: WhySetCookie},
		{name: "no default for Authorization", auth: true, body: quiet, why: WhyAuthorization},
		{name: "no default for Authorization, public as it is", auth: true, lines: []string{"Cache-Control: public"}, body: quiet, why: WhyAuthorization},
		{name: "no default for another type", lines: []string{"Content-Type: text/html"}, body: quiet, why: WhyNotJSON},
		{name: "no default for a type that only begins so", lines: []string{"Content-Type: application/jsonp"}, body: quiet, why: WhyNotJSON},
		{name: "no default without a type", lines: []string{"Content-Type:"}, body: quiet, why: WhyNotJSON},
		{name: "no default without prospectId", body: Body{NoConsent: true}, why: WhyNotJSON},
		{name: "does not exist", status: 404, body: missing, fresh: 5 * second},
		{name: "does not exist, as another status", status: 500, body: missing, fresh: 5 * second},
		{name: "does not exist, Age counts", status: 404, lines: []string{"Age: 2"}, body: missing, fresh: 3 * second, age: 2 * second},
		{name: "does not exist, of any type", status: 404, lines: []string{"Content-Type: text/plain"}, body: missing, fresh: 5 * second},
		{name: "does not exist, with a cookie", status: 404, lines: []string{"Set-Cookie: a=b"}, body: missing, why: WhySetCookie},
		{name: "does not exist, with Authorization", auth: true, status: 404, body: missing, why: WhyAuthorization},
		{name: "does not exist, no-store", status: 404, lines: []string{"Cache-Control: no-store"}, body: missing, why: WhyNoStore},
		{name: "does not exist, stated shorter", status: 404, lines: []string{"Cache-Control: max-age=2"}, body: missing, fresh: 2 * second},
		{name: "does not exist, stated longer", status: 404, lines: []string{"Cache-Control: max-age=60"}, body: missing, fresh: 5 * second},
		{name: "does not exist, not to be cached", status: 404, body: missing, caps: func(c *Caps) { c.NegativeTTL = 0 }, why: WhyNoFreshness},
		{name: "does not exist, not to be cached, stated as it is", status: 404, lines: []string{"Cache-Control: max-age=60"}, body: missing, caps: func(c *Caps) { c.NegativeTTL = 0 }, why: WhyNoFreshness},
	})
}

// TestCaps: the operator's bounds, and the one on consent that survives whatever anyone states.
func TestCaps(t *testing.T) {
	runStorable(t, []storableCase{
		{name: "max_ttl", lines: []string{"Cache-Control: max-age=3600"}, body: quiet, fresh: 5 * minute},
		{name: "max_ttl counts Age", lines: []string{"Cache-Control: max-age=3600", "Age: 100"}, body: quiet, fresh: 200 * second, age: 100 * second},
		{name: "max_ttl with Expires", lines: []string{dated("Date", 0), dated("Expires", time.Hour)}, body: quiet, fresh: 5 * minute},
		{name: "consent caps ttl", body: consents, fresh: 10 * second},
		{name: "consent caps what is stated", lines: []string{"Cache-Control: max-age=3600"}, body: consents, fresh: 10 * second},
		{name: "consent caps another type of content", lines: []string{"Content-Type: text/html", "Cache-Control: max-age=3600"}, fresh: 10 * second},
		{name: "consent: Age counts", lines: []string{"Cache-Control: max-age=3600", "Age: 4"}, body: consents, fresh: 6 * second, age: 4 * second},
		{name: "consent: Age counts without a lifetime", lines: []string{"Age: 4"}, body: consents, fresh: 6 * second, age: 4 * second},
		{name: "consent: Age past it", lines: []string{"Cache-Control: max-age=3600", "Age: 10"}, body: consents, why: WhyNoFreshness},
		{name: "consent: a shorter lifetime stays", lines: []string{"Cache-Control: max-age=3"}, body: consents, fresh: 3 * second},
		{name: "consent: a shorter ttl stays", body: consents, caps: func(c *Caps) { c.TTL = 3 * second }, fresh: 3 * second},
		{name: "consent: a cap of zero", lines: []string{"Cache-Control: max-age=3600"}, body: consents, caps: func(c *Caps) { c.TTLWithConsent = 0 }, why: WhyNoFreshness},
		{name: "without consent a cap of zero is no matter", body: quiet, caps: func(c *Caps) { c.TTLWithConsent = 0 }, fresh: 30 * second},
		{name: "a larger cap adds nothing", body: consents, caps: func(c *Caps) { c.TTLWithConsent = time.Hour }, fresh: 30 * second},
	})
}

// TestIgnoreUpstreamCacheControl: cache.ttl rules, over what forbids storing too; the rest of the rules hold.
func TestIgnoreUpstreamCacheControl(t *testing.T) {
	cases := []storableCase{
		{name: "no-store", lines: []string{"Cache-Control: no-store"}, body: quiet, fresh: 30 * second},
		{name: "private, no-cache", lines: []string{"Cache-Control: private, no-cache"}, body: quiet, fresh: 30 * second},
		{name: "a longer lifetime", lines: []string{"Cache-Control: max-age=3600"}, body: quiet, fresh: 30 * second},
		{name: "a shorter lifetime", lines: []string{"Cache-Control: max-age=0"}, body: quiet, fresh: 30 * second},
		{name: "an invalid lifetime", lines: []string{"Cache-Control: max-age=x"}, body: quiet, fresh: 30 * second},
		{name: "Expires", lines: []string{"Expires: 0"}, body: quiet, fresh: 30 * second},
		{name: "CDN-Cache-Control", lines: []string{"CDN-Cache-Control: no-store"}, body: quiet, fresh: 30 * second},
		{name: "Age still counts", lines: []string{"Cache-Control: no-store", "Age: 20"}, body: quiet, fresh: 10 * second, age: 20 * second},
		{name: "consent still caps", lines: []string{"Cache-Control: no-store"}, body: consents, fresh: 10 * second},
		{name: "does not exist", status: 404, lines: []string{"Cache-Control: no-store"}, body: missing, fresh: 5 * second},
		{name: "a cookie", lines: []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}, body: quiet, why: WhySetCookie},
		{name: "Vary", lines: []string{"Vary: *"}, body: quiet, why: WhyVary},
		{name: "another id", body: other, why: WhyIDMismatch},
		{name: "Authorization, public as it is", auth: true, lines: []string{"Cache-Control: public"}, body: quiet, why: WhyAuthorization},
		{name: "another status", status: 500, lines: []string{"Cache-Control: max-age=60"}, why: WhyStatus},
		{name: "another type", lines: []string{"Content-Type: text/html", "Cache-Control: max-age=60"}, body: quiet, why: WhyNotJSON},
	}
	for i := range cases {
		cases[i].caps = func(c *Caps) { c.IgnoreUpstream = true }
	}
	runStorable(t, cases)
}
