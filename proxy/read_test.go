package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"knockproxy/cache"
	"knockproxy/proxy"
	"knockproxy/proxy/knock/knocktest"
)

const (
	missStored = "knockproxy; fwd=uri-miss; fwd-status=200; stored"
	miss       = "knockproxy; fwd=uri-miss; fwd-status=200"
)

func isHit(a answer) bool { return strings.HasPrefix(a.cacheStatus(), "knockproxy; hit; ttl=") }

func TestReadIsAnsweredFromMemoryTheSecondTime(t *testing.T) {
	r := newRig(t)
	first, second := r.get("47569637"), r.get("47569637")
	if first.cacheStatus() != missStored || first.Header.Get("Age") != "" {
		t.Errorf("first: %s, Age %q", first.cacheStatus(), first.Header.Get("Age"))
	}
	if !isHit(second) || !strings.HasSuffix(second.cacheStatus(), "; detail=memory") || second.Header.Get("Age") != "0" {
		t.Errorf("second: %s, Age %q", second.cacheStatus(), second.Header.Get("Age"))
	}
	if first.body != second.body || first.body == "" {
		t.Errorf("bodies differ: %s, %s", first.body, second.body)
	}
	for _, name := range []string{"Etag", "Date", "Content-Type", "Content-Length", "Cache-Control"} {
		if first.Header.Get(name) != second.Header.Get(name) || first.Header.Get(name) == "" {
			t.Errorf("%s: %q, then %q", name, first.Header.Get(name), second.Header.Get(name))
		}
	}
	if second.Header.Get("X-Amzn-Requestid") != "" || first.Header.Get("X-Amzn-Requestid") == "" {
		t.Error("the gateway's id of one exchange is for that exchange alone")
	}
	if n := len(second.Header); n > 8 {
		t.Errorf("%d headers on a hit: %v", n, second.Header)
	}
	r.wantReads("47569637", 1)
}

// TestBodyIsByteForByte: odd white space, key order, escapes and duplicates are the upstream's to choose.
func TestBodyIsByteForByte(t *testing.T) {
	r := newRig(t)
	odd := "\n{ \"prospectId\" : \"7\",\t\"smsConsent\":true, \"SMSConsent\":false, \"x\":\"\\u00e9é\\/\", \"x\":1.50 }\r\n"
	r.up.Always("7", knocktest.Body(odd))
	if a, b := r.get("7"), r.get("7"); a.body != odd || b.body != odd || !isHit(b) {
		t.Errorf("got %q, then %q (%s)", a.body, b.body, b.cacheStatus())
	}
}

func TestHeadSharesTheAnswerOfGet(t *testing.T) {
	r := newRig(t)
	head := r.ask(http.MethodHead, "/prospect/12")
	get := r.get("12")
	if head.body != "" || head.Header.Get("Content-Length") != fmt.Sprint(len(get.body)) || !isHit(get) {
		t.Errorf("HEAD: %q, length %s; GET: %d bytes, %s", head.body, head.Header.Get("Content-Length"), len(get.body), get.cacheStatus())
	}
	if got := r.up.Last(); got.Method != http.MethodGet {
		t.Errorf("the upstream was asked by %s", got.Method)
	}
}

func TestColdReadsShareOneUpstreamRead(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		gate := r.up.Gate("42")
		var clients sync.WaitGroup
		for i := range 500 {
			clients.Go(func() {
				if a := r.get("42", "x-api-key: "+[]string{"one", "two"}[i%2]); a.StatusCode != 200 {
					t.Errorf("got %d", a.StatusCode)
				}
			})
		}
		synctest.Wait()
		gate.Open()
		clients.Wait()
		r.wantReads("42", 2)
		r.wantMetric(2, "cache_requests_total", "result=miss")
		r.wantMetric(498, "cache_requests_total", "result=collapsed")
	})
}

// TestColdBurstOverRealConnections: whoever comes late finds the answer stored, so one read is all there is.
func TestColdBurstOverRealConnections(t *testing.T) {
	r := newRig(t)
	gate := r.up.Gate("42")
	var clients sync.WaitGroup
	for i := range 500 {
		clients.Go(func() {
			if a, err := r.try(http.MethodGet, "/prospect/42", "x-api-key: "+[]string{"one", "two"}[i%2]); err != nil || a.StatusCode != 200 {
				t.Errorf("%d: %v", a.StatusCode, err)
			}
		})
	}
	gate.Wait(2)
	gate.Open()
	clients.Wait()
	r.wantReads("42", 2)
}

func TestCollapsedReadSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		gate := r.up.Gate("42")
		answers := make(chan answer, 2)
		for range 2 {
			go func() { answers <- r.get("42") }()
		}
		synctest.Wait()
		gate.Open()
		got := (<-answers).cacheStatus() + " | " + (<-answers).cacheStatus()
		const a, b = missStored, missStored + "; collapsed"
		if got != a+" | "+b && got != b+" | "+a {
			t.Error(got)
		}
	})
}

// TestFirstCallerMayLeave: the read goes on for the others, and is stored.
func TestFirstCallerMayLeave(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		gate := r.up.Gate("42")
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := r.tryContext(ctx, http.MethodGet, "/prospect/42")
			left <- err
		}()
		synctest.Wait()
		leave()
		if err := <-left; err == nil {
			t.Fatal("the first caller got an answer")
		}
		second := make(chan answer)
		go func() { second <- r.get("42") }()
		synctest.Wait()
		gate.Open()
		if a := <-second; a.StatusCode != 200 || a.cacheStatus() != missStored+"; collapsed" {
			t.Errorf("the second caller got %d, %s", a.StatusCode, a.cacheStatus())
		}
		r.wantReads("42", 1)
		if a := r.get("42"); !isHit(a) {
			t.Errorf("the third caller: %s", a.cacheStatus())
		}
	})
}

// TestNoAnswerCrossesPartners reads 50 prospects with 8 keys at once, while entries are dropped: each answer names the key it
// was fetched for.
func TestNoAnswerCrossesPartners(t *testing.T) {
	const clients, reads, prospects, keys = 20, 5000, 50, 8
	r := newRig(t, func(s *setup) {
		s.knock = knocktest.Options{View: knocktest.TagByKey, History: -1}
		s.proxy.Caps.TTL, s.proxy.Caps.TTLWithConsent = time.Hour, time.Hour
		s.proxy.Partners = []proxy.Partner{{Name: "a", APIKey: "key-0", Tokens: []string{"token-0"}}, {Name: "b", APIKey: "key-1", Tokens: []string{"token-1"}}}
	})
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(c)))
			for range reads {
				k := random.IntN(keys)
				sent, tag := fmt.Sprintf("key-%d", k), fmt.Sprintf("key-%d", k)
				if k < 2 && random.IntN(2) == 0 {
					sent = fmt.Sprintf("token-%d", k)
				}
				id := fmt.Sprint(1 + random.IntN(prospects))
				if random.IntN(200) == 0 {
					_, _ = r.cache.Drop(t.Context(), cache.Prospect(id), cache.ByWrite)
				}
				req := httptest.NewRequest(http.MethodGet, "/prospect/"+id, nil)
				req.Header.Set("x-api-key", sent)
				rec := httptest.NewRecorder()
				r.proxy.ServeHTTP(rec, req)
				var p knocktest.Prospect
				if json.Unmarshal(rec.Body.Bytes(), &p) != nil || p.LastName != tag || p.ProspectID != id {
					t.Errorf("key %s, prospect %s: got %d %q of %q", sent, id, rec.Code, p.ProspectID, p.LastName)
					return
				}
			}
		})
	}
	all.Wait()
	hits, misses := r.metric("knockproxy_cache_requests_total", "result=hit"), r.metric("knockproxy_cache_requests_total", "result=miss")
	if hits < clients*reads/2 || misses < clients*reads/200 {
		t.Errorf("%v hits, %v misses: little was shown", hits, misses)
	}
}

func TestClientConditions(t *testing.T) {
	r := newRig(t)
	modified := "Tue, 01 Nov 2022 10:00:00 GMT"
	r.up.Always("1", knocktest.Header("ETag", `W/"v1"`), knocktest.Header("Last-Modified", modified), knocktest.Header("Expires", "Tue, 01 Nov 2022 10:00:00 GMT"))
	r.up.Always("1", knocktest.Header("Cache-Control", "max-age=60"))
	made := r.get("2").Header.Get("Etag")
	for _, tc := range []struct {
		name, id string
		lines    []string
		status   int
	}{
		{"the tag that we made", "2", []string{"If-None-Match: " + made}, 304},
		{"another tag", "2", []string{`If-None-Match: "x"`}, 200},
		{"any tag", "2", []string{"If-None-Match: *"}, 304},
		{"a weak tag in a list with commas", "1", []string{`If-None-Match: "a,b", "v1"`}, 304},
		{"a tag beats a date", "1", []string{`If-None-Match: "x"`, "If-Modified-Since: " + modified}, 200},
		{"at that date", "1", []string{"If-Modified-Since: " + modified}, 304},
		{"after that date", "1", []string{"If-Modified-Since: Tue, 01 Nov 2022 10:00:01 GMT"}, 304},
		{"before that date", "1", []string{"If-Modified-Since: Tue, 01 Nov 2022 09:59:59 GMT"}, 200},
		{"a date, and no Last-Modified", "2", []string{"If-Modified-Since: Tue, 01 Nov 2099 10:00:00 GMT"}, 200},
		{"no date", "1", []string{"If-Modified-Since: yesterday"}, 200},
		{"on what does not exist", "0", []string{"If-None-Match: *"}, 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, temperature := range []string{"cold", "warm"} {
				a := r.get(tc.id, tc.lines...)
				if a.StatusCode != tc.status || tc.status == 304 && (a.body != "" || a.Header.Get("Etag") == "" || a.Header.Get("Content-Type") != "") {
					t.Errorf("%s: %d %v %q", temperature, a.StatusCode, a.Header, a.body)
				}
			}
		})
	}
	for _, req := range r.up.Requests() {
		if h := req.Header; h.Get("If-None-Match")+h.Get("If-Modified-Since") != "" {
			t.Errorf("a client's condition reached the upstream: %v", h)
		}
	}
}

func TestFreshness(t *testing.T) {
	const consenting, without = "47", "48"
	for _, tc := range []struct {
		name   string
		id     string
		faults []knocktest.Fault
		change func(*setup)
		ttl    int // of the second answer; 0: it is no hit
	}{
		{name: "default", id: without, ttl: 29},
		{name: "default, consenting", id: consenting, ttl: 9},
		{name: "does not exist", id: "0", ttl: 4},
		{name: "does not exist, under 500", id: without, faults: is(knocktest.DoesNotExist(500)), ttl: 4},
		{name: "max-age", id: without, faults: is(knocktest.Header("Cache-Control", "max-age=100")), ttl: 99},
		{name: "max-age above max_ttl", id: without, faults: is(knocktest.Header("Cache-Control", "max-age=1000")), ttl: 299},
		{name: "max-age, consenting", id: consenting, faults: is(knocktest.Header("Cache-Control", "max-age=100")), ttl: 9},
		{name: "s-maxage above max-age", id: without, faults: is(knocktest.Header("Cache-Control", "max-age=1", "s-maxage=100")), ttl: 99},
		{name: "upstream age", id: without, faults: is(knocktest.Header("Cache-Control", "max-age=100"), knocktest.Header("Age", "40")), ttl: 59},
		{name: "upstream age under the default", id: consenting, faults: is(knocktest.Header("Age", "4")), ttl: 5},
		{name: "no-store", id: without, faults: is(knocktest.Header("Cache-Control", "no-store"))},
		{name: "private", id: without, faults: is(knocktest.Header("Cache-Control", "private, max-age=100"))},
		{name: "no-cache", id: without, faults: is(knocktest.Header("Cache-Control", "no-cache, max-age=100"))},
		{name: "no-store, ignored", id: without, faults: is(knocktest.Header("Cache-Control", "no-store")), change: func(s *setup) { s.proxy.Caps.IgnoreUpstream = true }, ttl: 29},
		{name: "max-age, ignored", id: without, faults: is(knocktest.Header("Cache-Control", "max-age=100")), change: func(s *setup) { s.proxy.Caps.IgnoreUpstream = true }, ttl: 29},
		{name: "no default", id: without, change: func(s *setup) { s.proxy.Caps.TTL = 0 }},
		{name: "no negative", id: "0", change: func(s *setup) { s.proxy.Caps.NegativeTTL = 0 }},
		{name: "consent as a string", id: without, faults: is(knocktest.Field("smsConsent", `"false"`)), ttl: 9},
		{name: "consent null", id: without, faults: is(knocktest.Field("smsConsent", `null`)), ttl: 9},
		{name: "no consent field", id: without, faults: is(knocktest.NoField("smsConsent")), ttl: 9},
		{name: "consent twice", id: without, faults: is(knocktest.ExtraField("smsConsent", "false")), ttl: 9},
		{name: "consent in another case too", id: without, faults: is(knocktest.ExtraField("SMSConsent", "true")), ttl: 9},
		{name: "id as a number", id: without, faults: is(knocktest.NumericID()), ttl: 29},
		{name: "another id", id: without, faults: is(knocktest.Field("prospectId", `"49"`), knocktest.Header("Cache-Control", "max-age=100"))},
		{name: "no id", id: without, faults: is(knocktest.NoField("prospectId"))},
		{name: "not JSON by its type", id: without, faults: is(knocktest.ContentType("text/html"))},
		{name: "not JSON by its body", id: without, faults: is(knocktest.InvalidJSON())},
		{name: "not JSON, with freshness of its own", id: without, faults: is(knocktest.InvalidJSON(), knocktest.Header("Cache-Control", "max-age=100")), ttl: 9},
		{name: "cookie", id: without, faults: is(knocktest.Header("Set-Cookie", "a=b"))},
		{name: "encoded", id: without, faults: is(knocktest.Gzip(), knocktest.Header("Cache-Control", "max-age=100"))},
		{name: "vary", id: without, faults: is(knocktest.Header("Vary", "Accept-Language"), knocktest.Header("Cache-Control", "max-age=100"))},
		{name: "vary by what never varies", id: without, faults: is(knocktest.Header("Vary", "Accept-Encoding")), ttl: 29},
		{name: "500", id: without, faults: is(knocktest.Status(500))},
		{name: "another 404, with freshness of its own", id: without, faults: is(knocktest.Status(404), knocktest.Body("gone"), knocktest.Header("Cache-Control", "max-age=100")), ttl: 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, func(s *setup) {
				if tc.change != nil {
					tc.change(s)
				}
			})
			r.up.Edit(consenting, func(p *knocktest.Prospect) { p.SMSConsent = true })
			r.up.Edit(without, func(p *knocktest.Prospect) { p.SMSConsent = false })
			r.up.Always(tc.id, tc.faults...)
			first, second := r.get(tc.id), r.get(tc.id)
			if first.StatusCode != second.StatusCode || first.body != second.body {
				t.Errorf("%d %s, then %d %s", first.StatusCode, first.body, second.StatusCode, second.body)
			}
			if tc.ttl == 0 {
				if isHit(second) || strings.Contains(first.cacheStatus(), "stored") {
					t.Errorf("%s, then %s", first.cacheStatus(), second.cacheStatus())
				}
				return
			}
			// A Date is in whole seconds: an answer that states its freshness may look up to a second older than it is.
			if got := second.cacheStatus(); !strings.Contains(got, fmt.Sprintf("hit; ttl=%d;", tc.ttl)) && !strings.Contains(got, fmt.Sprintf("hit; ttl=%d;", tc.ttl-1)) {
				t.Errorf("%s, want ttl=%d", got, tc.ttl)
			}
		})
	}
}

func is(faults ...knocktest.Fault) []knocktest.Fault { return faults }

// TestCookieIsNotReplayed: with freshness of its own such an answer is stored, without the cookie.
func TestCookieIsNotReplayed(t *testing.T) {
	r := newRig(t)
	r.up.Always("1", knocktest.Header("Set-Cookie", "session=1"), knocktest.Header("X-Trace", "t"), knocktest.Header("Cache-Control", `max-age=60, private="X-Trace"`))
	first, second := r.get("1"), r.get("1")
	if first.Header.Get("Set-Cookie") == "" || first.Header.Get("X-Trace") == "" {
		t.Error("the request that was answered did not get its own headers")
	}
	if !isHit(second) || second.Header.Get("Set-Cookie")+second.Header.Get("X-Trace") != "" {
		t.Errorf("%s: %v", second.cacheStatus(), second.Header)
	}
}

func TestUnstorableAnswerIsNotShared(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.up.Always("42", knocktest.Header("Cache-Control", "no-store"))
		gate := r.up.Gate("42")
		answers := make(chan answer, 5)
		for range 5 {
			go func() { answers <- r.get("42") }()
		}
		synctest.Wait()
		r.wantReads("42", 1)
		gate.Open()
		for range 5 {
			if a := <-answers; a.cacheStatus() != miss {
				t.Error(a.cacheStatus())
			}
		}
		r.wantReads("42", 5)
	})
}

func TestErrorsAreSharedAndNotStored(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fault  knocktest.Fault
		status int
	}{
		{"500", knocktest.Status(500).Late(), 500},
		{"503", knocktest.Status(503).Late(), 503},
		{"429", knocktest.TooManyRequests(0).Late(), 429},
		{"another 403", knocktest.Status(403).Late(), 403},
		{"truncated", knocktest.Truncate(10), 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				gate := r.up.Gate("42")
				r.up.Always("42", tc.fault)
				statuses := make(chan int, 5)
				for range 5 {
					go func() { statuses <- r.get("42").StatusCode }()
				}
				synctest.Wait()
				gate.Open()
				for range 5 {
					if got := <-statuses; got != tc.status {
						t.Errorf("got %d", got)
					}
				}
				r.wantReads("42", 1)
				r.up.ClearFaults()
				if a := r.get("42"); a.StatusCode != 200 {
					t.Errorf("afterwards: %d", a.StatusCode)
				}
			})
		})
	}
}

// TestExpiry: an answer is served up to its freshness, and not a moment longer.
func TestExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.up.Edit("1", func(p *knocktest.Prospect) { p.SMSConsent = false })
		r.up.Edit("2", func(p *knocktest.Prospect) { p.SMSConsent = true })
		r.up.Always(knocktest.All, knocktest.Latency(time.Second))
		for _, tc := range []struct {
			id  string
			ttl time.Duration // from the sending of the upstream request
		}{{"1", 30 * time.Second}, {"2", 10 * time.Second}, {"0", 5 * time.Second}} {
			r.get(tc.id)
			time.Sleep(tc.ttl - time.Second - time.Nanosecond)
			if a := r.get(tc.id); !isHit(a) || a.Header.Get("Age") != fmt.Sprint(int(tc.ttl.Seconds())-1) || !strings.Contains(a.cacheStatus(), "ttl=0;") {
				t.Errorf("%s, just before its end: %s, Age %s", tc.id, a.cacheStatus(), a.Header.Get("Age"))
			}
			time.Sleep(time.Nanosecond)
			if a := r.get(tc.id); !strings.HasPrefix(a.cacheStatus(), "knockproxy; fwd=") { // stale, or swept already
				t.Errorf("%s, at its end: %s", tc.id, a.cacheStatus())
			}
		}
	})
}

// TestTimeouts: a try has its time, and all tries of a read have theirs.
func TestTimeouts(t *testing.T) {
	for _, tc := range []struct {
		name              string
		timeout, deadline time.Duration
		fault             knocktest.Fault
		after             time.Duration
	}{
		{"no headers", 3 * time.Second, 8 * time.Second, knocktest.Hang(), 3 * time.Second},
		{"no whole body", 3 * time.Second, 8 * time.Second, knocktest.HangBody(10), 3 * time.Second},
		{"a shorter deadline", 3 * time.Second, time.Second, knocktest.Hang(), time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.up.Always("42", tc.fault)
				began := time.Now()
				a := r.get("42")
				a.wantOwnError(t, http.StatusGatewayTimeout, "http_response_timeout")
				if took := time.Since(began); took != tc.after {
					t.Errorf("answered after %v", took)
				}
				r.wantMetric(1, "upstream_errors_total", "reason=timeout")
				r.wantMetric(1, "cache_requests_total", "result=error")
			}, func(s *setup) { s.client.Timeout, s.deadline = tc.timeout, tc.deadline })
		})
	}
}

// TestAuthorizationIsNeitherSharedNorStored, unless the upstream says so (RFC 9111, section 3.5).
func TestAuthorizationIsNeitherSharedNorStored(t *testing.T) {
	r := newRig(t)
	for range 2 {
		if a := r.get("42", "Authorization: Bearer a"); a.cacheStatus() != miss {
			t.Error(a.cacheStatus())
		}
	}
	if got := r.up.Last().Header.Get("Authorization"); got != "Bearer a" {
		t.Errorf("the upstream saw %q", got)
	}
	gate := r.up.Gate("43")
	answers := make(chan answer, 2)
	for _, token := range []string{"a", "b"} {
		go func() { answers <- r.get("43", "Authorization: Bearer "+token) }()
	}
	gate.Wait(2)
	gate.Open()
	<-answers
	<-answers
	r.wantReads("43", 2)
	r.up.Always("44", knocktest.Header("Cache-Control", "public, max-age=60"))
	r.get("44", "Authorization: Bearer a")
	if a := r.get("44", "Authorization: Bearer b"); !isHit(a) {
		t.Errorf("public: %s", a.cacheStatus())
	}
}

// TestUpstreamSeesAnHonestRead: one answer serves many, so nothing of one client that could change it goes along.
func TestUpstreamSeesAnHonestRead(t *testing.T) {
	r := newRig(t)
	r.get("42", "X-Api-Key: secret", "Content-Type: application/json", "Accept: application/json", "User-Agent: bot/1", "Traceparent: 00-1",
		"Accept-Encoding: gzip", "Range: bytes=0-1", "If-None-Match: *", "Cookie: a=b", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil",
		"Forwarded: for=evil", "X-HTTP-Method-Override: DELETE", "X-Original-URL: /prospect/1", "Connection: X-Hop", "X-Hop: 1", "Te: trailers")
	got := r.up.Last()
	for name, want := range map[string]string{
		"X-Api-Key": "secret", "Content-Type": "application/json", "Accept": "application/json", "User-Agent": "bot/1", "Traceparent": "00-1",
		"Accept-Encoding": "identity", "Range": "", "If-None-Match": "", "Cookie": "", "X-Forwarded-For": "", "X-Forwarded-Host": "",
		"Forwarded": "", "X-Http-Method-Override": "", "X-Original-Url": "", "X-Hop": "", "Te": "", "X-Request-Id": "", "Via": "",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	if got.URI != "/prospect/42" {
		t.Errorf("asked for %s", got.URI)
	}
}

func TestKeyRefusedEmptiesThePartition(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault knocktest.Fault
		left  string // of 1 and 2 with this key, and 1 with another, what is still a hit; 3 was refused
	}{
		{"401", knocktest.Status(401), "other"},
		{"the gateway's 403", knocktest.Forbidden(), "other"},
		{"another 403", knocktest.Status(403), "1 2 other"},
		{"429", knocktest.TooManyRequests(0), "1 2 other"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.get("1")
			r.get("2")
			r.get("1", "x-api-key: other")
			r.up.Next("3", tc.fault)
			r.get("3")
			var left []string
			for _, id := range []string{"1", "2"} {
				if isHit(r.get(id)) {
					left = append(left, id)
				}
			}
			if isHit(r.get("1", "x-api-key: other")) {
				left = append(left, "other")
			}
			if got := strings.Join(left, " "); got != tc.left {
				t.Errorf("still hits: %q, want %q", got, tc.left)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	r := newRig(t)
	r.up.Always(knocktest.All, knocktest.Header("X-Request-Id", "upstream"))
	for _, path := range []string{"/prospect/1", "/prospect/1", "/prospect/1/events", "/prospect/x"} {
		if got := r.ask(http.MethodGet, path, "X-Request-Id: Mine_1.2-3").Header["X-Request-Id"]; len(got) != 1 || got[0] != "Mine_1.2-3" {
			t.Errorf("%s: %v", path, got)
		}
	}
	seen := map[string]bool{}
	for _, given := range []string{"", strings.Repeat("x", 65), "a b", "ä", "a\"b"} {
		got := r.get("1", "X-Request-Id: "+given).Header["X-Request-Id"]
		if len(got) != 1 || got[0] == given || got[0] == "upstream" || seen[got[0]] {
			t.Errorf("%q: %v", given, got)
		}
		seen[got[0]] = true
	}
}
