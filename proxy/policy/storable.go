package policy

import (
	"mime"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// Reason is why an answer is not stored: the value of a metric's label.
type Reason string

// The reasons, in the order in which the first that applies is given.
const (
	WhyStatus        Reason = "status"
	WhyIDMismatch    Reason = "id_mismatch"
	WhyNoStore       Reason = "no_store"
	WhyPrivate       Reason = "private"
	WhyVary          Reason = "vary"
	WhyEncoded       Reason = "encoded"
	WhyAuthorization Reason = "authorization"
	WhySetCookie     Reason = "set_cookie"
	WhyNotJSON       Reason = "not_json"
	WhyNoFreshness   Reason = "no_freshness"
)

// Reasons lists them all.
var Reasons = []Reason{WhyStatus, WhyIDMismatch, WhyNoStore, WhyPrivate, WhyVary, WhyEncoded, WhyAuthorization, WhySetCookie, WhyNotJSON, WhyNoFreshness}

// Caps are the operator's bounds on freshness, each a configuration key.
type Caps struct {
	TTL            time.Duration // cache.ttl
	TTLWithConsent time.Duration // cache.ttl_with_consent
	NegativeTTL    time.Duration // cache.negative_ttl
	MaxTTL         time.Duration // cache.max_ttl
	IgnoreUpstream bool          // cache.ignore_upstream_cache_control
}

// Request is what a decision needs to know of the request that was sent upstream.
type Request struct {
	Authorization bool // it carried Authorization (RFC 9111, section 3.5)
}

// Body is what the body of an answer was found to be.
type Body struct {
	Prospect  bool // an object whose prospectId is the id asked for
	Other     bool // an object with another prospectId
	NotExist  bool // the prospect does not exist
	NoConsent bool // provably without consent: 200 and smsConsent false, or NotExist
}

// Response is what a decision needs to know of the upstream's answer.
type Response struct {
	Status         int
	Header         http.Header
	Body           Body
	Sent, Received time.Time // of its request; of its headers
}

// Lifetime is the verdict on an answer: how long it is fresh and of use, from the sending of its request.
type Lifetime struct {
	Fresh, Keep time.Duration // Keep 0: do not store
	Age         time.Duration // how old the answer was when its request was sent
	Why         Reason        // why it is not stored
}

// Storable decides whether an answer may be stored (RFC 9111, section 3), how long it is fresh (section 4.2), and then
// applies the caps, here alone.
func Storable(req *Request, res *Response, caps *Caps) Lifetime {
	cc, targeted := ParseCacheControl(res.Header)
	if caps.IgnoreUpstream {
		cc = CacheControl{Fields: cc.Fields}
	}
	stated, isStated := statedFreshness(&cc, targeted, res, caps)
	if why := refuse(req, res, &cc, isStated); why != "" {
		return Lifetime{Why: why}
	}
	life := Lifetime{Age: parseAge(res.Header)}
	if isStated {
		life.Age = ageAtSending(res)
		life.Fresh = min(stated, caps.MaxTTL)
	} else {
		var why Reason
		if life.Fresh, why = defaultFreshness(req, res, caps); why != "" {
			return Lifetime{Why: why}
		}
	}
	if res.Body.NotExist {
		life.Fresh = min(life.Fresh, caps.NegativeTTL)
	}
	if !res.Body.NoConsent {
		life.Fresh = min(life.Fresh, caps.TTLWithConsent)
	}
	life.Fresh -= life.Age
	if life.Fresh <= 0 || cc.NoCache {
		return Lifetime{Why: WhyNoFreshness}
	}
	life.Keep = life.Fresh
	return life
}

// refuse gives the first reason that forbids storing, whatever the freshness.
func refuse(req *Request, res *Response, cc *CacheControl, stated bool) Reason {
	switch {
	case neverStored(res.Status), !stated && res.Status != http.StatusOK && !res.Body.NotExist:
		return WhyStatus
	case res.Body.Other:
		return WhyIDMismatch
	case cc.MustUnderstand && !understood(res.Status), cc.NoStore && !cc.MustUnderstand:
		return WhyNoStore // RFC 9111, section 5.2.2.3
	case cc.Private:
		return WhyPrivate
	case varies(res.Header):
		return WhyVary
	case encoded(res.Header):
		return WhyEncoded
	case req.Authorization && !cc.Public && !cc.MustRevalidate && !cc.SMaxAge.Given:
		return WhyAuthorization // RFC 9111, section 3.5
	}
	return ""
}

// defaultFreshness is that of an answer which states none: of this prospect's JSON, and of "does not exist".
func defaultFreshness(req *Request, res *Response, caps *Caps) (time.Duration, Reason) {
	switch {
	case req.Authorization:
		return 0, WhyAuthorization
	case len(res.Header["Set-Cookie"]) > 0:
		return 0, WhySetCookie
	case res.Body.NotExist:
		return caps.NegativeTTL, ""
	case !res.Body.Prospect || !jsonType(res.Header.Get("Content-Type")):
		return 0, WhyNotJSON
	}
	return caps.TTL, ""
}

// neverStored are the statuses that concern one exchange or one key only, or only a part of an answer.
func neverStored(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusTooManyRequests,
		http.StatusPartialContent, http.StatusNotModified:
		return true
	}
	return status < 200
}

// understood are the statuses whose caching this cache implements (RFC 9111, section 5.2.2.3).
func understood(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 500, 501, 502, 503, 504:
		return true
	}
	return false
}

// varies tells that an answer depends on request headers. Not on Accept-Encoding: all reads ask for identity.
func varies(h http.Header) bool {
	for _, line := range h["Vary"] {
		for field := range strings.SplitSeq(line, ",") {
			if field = textproto.TrimString(field); field != "" && !strings.EqualFold(field, "Accept-Encoding") {
				return true
			}
		}
	}
	return false
}

// encoded tells that an answer came encoded though identity was asked for.
func encoded(h http.Header) bool {
	for _, line := range h["Content-Encoding"] {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = textproto.TrimString(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				return true
			}
		}
	}
	return false
}

// jsonType tells that a Content-Type is JSON: application/json, text/json or any +json.
func jsonType(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return mediaType == "application/json" || mediaType == "text/json" || strings.HasSuffix(mediaType, "+json")
}
