package policy

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"
)

// TestRefused: what forbids storing whatever the freshness (RFC 9111, sections 3, 3.5 and 5.2.2).
func TestRefused(t *testing.T) {
	const lifetime = "Cache-Control: max-age=60"
	runStorable(t, []storableCase{
		{name: "another prospectId", lines: []string{lifetime}, body: other, why: WhyIDMismatch},
		{name: "another prospectId under any status", status: 500, lines: []string{lifetime}, body: other, why: WhyIDMismatch},
		{name: "no-store, 5.2.2.5", lines: []string{lifetime, "Cache-Control: no-store"}, body: quiet, why: WhyNoStore},
		{name: "must-understand overrides no-store, 5.2.2.3", lines: []string{lifetime + ", no-store, must-understand"}, body: quiet, fresh: time.Minute},
		{name: "must-understand, not understood", status: 299, lines: []string{lifetime + ", must-understand"}, why: WhyNoStore},
		{name: "must-understand, not understood, no-store", status: 499, lines: []string{lifetime + ", no-store, must-understand"}, why: WhyNoStore},
		{name: "must-understand, understood", status: 404, lines: []string{lifetime + ", must-understand"}, fresh: 10 * time.Second},
		{name: "private, 5.2.2.7", lines: []string{lifetime + ", private"}, body: quiet, why: WhyPrivate},
		{name: "private and public", lines: []string{lifetime + ", private, public"}, body: quiet, why: WhyPrivate},
		{name: "private, qualified and not", lines: []string{lifetime, `Cache-Control: private="x-a", private`}, body: quiet, why: WhyPrivate},
		{name: "private by must-understand too", lines: []string{lifetime + ", private, no-store, must-understand"}, body: quiet, why: WhyPrivate},
		{name: "private of CDN-Cache-Control, of a wrong type", lines: []string{"CDN-Cache-Control: max-age=60, private=1"}, body: quiet, why: WhyPrivate},
		{name: "Vary: *, 4.1", lines: []string{lifetime, "Vary: *"}, body: quiet, why: WhyVary},
		{name: "Vary: foo, *", lines: []string{lifetime, "Vary: accept-encoding, *"}, body: quiet, why: WhyVary},
		{name: "Vary: * in a second line", lines: []string{lifetime, "Vary: accept-encoding", "Vary: ,*"}, body: quiet, why: WhyVary},
		{name: "Vary by any other field", lines: []string{lifetime, "Vary: Accept-Encoding, Origin"}, body: quiet, why: WhyVary},
		{name: "encoded", lines: []string{lifetime, "Content-Encoding: gzip"}, body: quiet, why: WhyEncoded},
		{name: "encoded twice", lines: []string{lifetime, "Content-Encoding: identity, br"}, body: quiet, why: WhyEncoded},
		{name: "encoded by a second line", lines: []string{lifetime, "Content-Encoding: identity", "Content-Encoding: zstd"}, body: quiet, why: WhyEncoded},
		{name: "Authorization, 3.5", auth: true, lines: []string{lifetime}, body: quiet, why: WhyAuthorization},
		{name: "Authorization with Expires", auth: true, lines: []string{dated("Expires", time.Hour)}, body: quiet, why: WhyAuthorization},
		{name: "Authorization, proxy-revalidate", auth: true, lines: []string{lifetime + ", proxy-revalidate"}, body: quiet, why: WhyAuthorization},
		{name: "Authorization, public", auth: true, lines: []string{lifetime + ", public"}, body: quiet, fresh: time.Minute},
		{name: "Authorization, must-revalidate", auth: true, lines: []string{lifetime + ", must-revalidate"}, body: quiet, fresh: time.Minute},
		{name: "Authorization, s-maxage", auth: true, lines: []string{"Cache-Control: s-maxage=60"}, body: quiet, fresh: time.Minute},
		{name: "Authorization, public of CDN-Cache-Control", auth: true, lines: []string{"CDN-Cache-Control: max-age=60, public", "Cache-Control: private"}, body: quiet, fresh: time.Minute},
	})
}

// TestReasonsInOrder takes away, one after the other, what forbids storing an answer for every reason at once.
func TestReasonsInOrder(t *testing.T) {
	req := Request{Authorization: true}
	res := Response{
		Status: http.StatusForbidden, Body: other, Sent: sent, Received: received,
		Header: headerOf(t, "Cache-Control: no-store, private", "Vary: Origin", "Content-Encoding: gzip", "Set-Cookie: a=b", "Content-Type: text/html"),
	}
	caps := defaults()
	caps.TTL = 0
	var got []Reason
	for _, takeAway := range []func(){
		func() { res.Status = http.StatusOK },
		func() { res.Body = quiet },
		func() { res.Header.Set("Cache-Control", "private") },
		func() { res.Header.Del("Cache-Control") },
		func() { res.Header.Del("Vary") },
		func() { res.Header.Del("Content-Encoding") },
		func() { req.Authorization = false },
		func() { res.Header.Del("Set-Cookie") },
		func() { res.Header.Set("Content-Type", "application/json") },
		func() { caps.TTL = time.Second },
	} {
		got = append(got, Storable(&req, &res, caps).Why)
		takeAway()
	}
	if !slices.Equal(got, Reasons) {
		t.Errorf("\n got %q\nwant %q", got, Reasons)
	}
	if last := Storable(&req, &res, caps); last.Keep != time.Second {
		t.Errorf("in the end it is not stored: %+v", last)
	}
}

func TestStorableChangesNothing(t *testing.T) {
	h := headerOf(t, `Cache-Control: private="x-a", max-age=60`, "Age: 1", "X-A: 1", "Set-Cookie: a=b")
	before := maps.Clone(h)
	Storable(&Request{}, &Response{Status: 200, Header: h, Body: quiet, Sent: sent, Received: received}, defaults())
	if !reflect.DeepEqual(h, before) {
		t.Errorf("the header became %v", h)
	}
}

// FuzzStorable holds the verdict on arbitrary answers to the bounds that no upstream can talk the cache out of.
func FuzzStorable(f *testing.F) {
	for _, seed := range []struct {
		status  int
		choices uint8
		header  string
	}{
		{200, 0b0000_1001, "Content-Type: application/json"},
		{200, 0b0000_0001, "Content-Type: application/json\nCache-Control: max-age=99999999999\nAge: 2"},
		{404, 0b0000_1100, "Cache-Control: s-maxage=1\nDate: Fri, 31 Dec 9999 23:59:59 GMT"},
		{200, 0b0001_1001, "CDN-Cache-Control: max-age=60\nExpires: 0"},
		{500, 0b0000_0000, "Expires: Mon, 01 Jan 0001 00:00:00 GMT\nAge: 10\nDate: Fri, 31 Dec 9999 23:59:59 GMT"},
		{200, 0b0000_0010, "Cache-Control: no-store, must-understand, max-age=60"},
		{200, 0b0010_1001, "Cache-Control: no-store, private"},
	} {
		f.Add(seed.status, seed.choices, seed.header)
	}
	caps := Caps{TTL: 40 * time.Second, TTLWithConsent: 10 * time.Second, NegativeTTL: 5 * time.Second, MaxTTL: 300 * time.Second}
	f.Fuzz(func(t *testing.T, status int, choices uint8, text string) {
		is := func(bit int) bool { return choices&(1<<bit) != 0 }
		caps := caps
		caps.IgnoreUpstream = is(5)
		res := Response{Status: status, Header: arbitraryHeader(text), Body: Body{Prospect: is(0), Other: is(1), NotExist: is(2), NoConsent: is(3)}, Sent: sent, Received: received}
		life := Storable(&Request{Authorization: is(4)}, &res, &caps)
		if (life.Keep == 0) != (life.Why != "") || life.Why != "" && !slices.Contains(Reasons, life.Why) {
			t.Fatalf("neither stored nor refused, or both: %+v", life)
		}
		if life.Why != "" {
			return
		}
		if life.Fresh <= 0 || life.Keep < life.Fresh || life.Age < 0 {
			t.Errorf("stored for no time, or from the future: %+v", life)
		}
		if bound := mostFresh(&res, &caps); life.Fresh+life.Age > bound {
			t.Errorf("older than %s while fresh: %+v", bound, life)
		}
		if status < 200 || slices.Contains([]int{206, 304, 401, 403, 407, 429}, status) || res.Body.Other {
			t.Errorf("status %d, body %+v: stored", status, res.Body)
		}
	})
}

// mostFresh is the highest age at which an answer may be served as fresh.
func mostFresh(res *Response, caps *Caps) time.Duration {
	bound := caps.TTL
	if len(res.Header["Cache-Control"])+len(res.Header["Cdn-Cache-Control"])+len(res.Header["Expires"]) > 0 && !caps.IgnoreUpstream {
		bound = caps.MaxTTL
	}
	if res.Body.NotExist {
		bound = min(bound, caps.NegativeTTL)
	}
	if !res.Body.NoConsent {
		bound = min(bound, caps.TTLWithConsent)
	}
	return bound
}
