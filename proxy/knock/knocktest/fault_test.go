package knocktest_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"knockproxy/proxy/knock/knocktest"
)

func TestFaultsThatAnswer(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	other, _ := up.Prospect("43")
	raw := knocktest.Answer{Status: 299, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte("raw")}
	for name, test := range map[string]struct {
		fault  knocktest.Fault
		status int
		body   string
	}{
		"status":           {knocktest.Status(503), 503, `{"errorMessage":"Service Unavailable"}`},
		"unnamed status":   {knocktest.Status(599), 599, `{"errorMessage":"Status 599"}`},
		"good status":      {knocktest.Status(203), 203, article},
		"failure 500":      {knocktest.Failure(500), 500, `{"errorMessage":"Internal Server Error"}`},
		"failure 403":      {knocktest.Failure(403), 403, `{"message":"Forbidden"}`},
		"failure 404":      {knocktest.Failure(404), 404, `{"errorMessage":"Unable to get prospect upstream - Prospect_id 47569637 does not exist."}`},
		"failure 429":      {knocktest.Failure(429), 429, `{"message":"Too Many Requests"}`},
		"failure 504":      {knocktest.Failure(504), 504, `{"message":"Endpoint request timed out"}`},
		"does not exist":   {knocktest.DoesNotExist(500), 500, `{"errorMessage":"Unable to get prospect upstream - Prospect_id 47569637 does not exist."}`},
		"forbidden":        {knocktest.Forbidden(), 403, `{"message":"Forbidden"}`},
		"limit exceeded":   {knocktest.LimitExceeded(), 429, `{"message":"Limit Exceeded"}`},
		"gateway timeout":  {knocktest.GatewayTimeout(), 504, `{"message":"Endpoint request timed out"}`},
		"raw":              {knocktest.Raw(raw), 299, "raw"},
		"show another":     {knocktest.Show(other), 200, get(t, up, "43").body},
		"nothing":          {knocktest.Fault{}, 200, article},
		"with probability": {knocktest.Status(503).Rate(1), 503, `{"errorMessage":"Service Unavailable"}`},
		"improbable":       {knocktest.Status(503).Rate(0), 200, article},
	} {
		t.Run(name, func(t *testing.T) {
			up.Next(knocktest.ArticleID, test.fault)
			get(t, up, knocktest.ArticleID).is(t, test.status, test.body)
			get(t, up, knocktest.ArticleID).is(t, 200, article)
		})
	}
}

func TestRetryAfter(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	for wait, want := range map[time.Duration]string{0: "", time.Second: "1", 1500 * time.Millisecond: "2"} {
		up.Next("42", knocktest.TooManyRequests(wait))
		if got := get(t, up, "42"); got.status != 429 || got.header.Get("Retry-After") != want {
			t.Errorf("%v: %d %q", wait, got.status, got.header.Get("Retry-After"))
		}
	}
}

func TestFaultsOfTheBody(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	swap := func(from, to string) string { return strings.Replace(article, from, to, 1) }
	const id, consent = `"prospectId":"47569637"`, `"smsConsent":false`
	for name, test := range map[string]struct {
		fault knocktest.Fault
		body  string
	}{
		"numeric id":         {knocktest.NumericID(), swap(id, `"prospectId":47569637`)},
		"another's id":       {knocktest.Field("prospectId", `"43"`), swap(id, `"prospectId":"43"`)},
		"renamed id":         {knocktest.Rename("prospectId", "id"), swap(id, `"id":"47569637"`)},
		"consent a string":   {knocktest.Field("smsConsent", `"true"`), swap(consent, `"smsConsent":"true"`)},
		"consent null":       {knocktest.Field("smsConsent", `null`), swap(consent, `"smsConsent":null`)},
		"consent missing":    {knocktest.NoField("smsConsent"), swap(consent+",", "")},
		"consent twice":      {knocktest.ExtraField("smsConsent", `true`), swap(`"status":"new"`, `"status":"new","smsConsent":true`)},
		"consent in capital": {knocktest.ExtraField("SMSConsent", `true`), swap(`"status":"new"`, `"status":"new","SMSConsent":true`)},
		"field added":        {knocktest.Field("extra", `{"a":[1]}`), swap(`"status":"new"`, `"status":"new","extra":{"a":[1]}`)},
		"invalid value":      {knocktest.Field("smsConsent", `tru`), swap(consent, `"smsConsent":tru`)},
		"invalid JSON":       {knocktest.InvalidJSON(), article[:len(article)/2]},
		"another body":       {knocktest.Body("[]"), "[]"},
		"no body":            {knocktest.Body(""), ""},
		"long body":          {knocktest.LongBody(5000), article + strings.Repeat(" ", 5000-len(article))},
		"long enough":        {knocktest.LongBody(10), article},
		"chunked":            {knocktest.Chunked(), article},
	} {
		t.Run(name, func(t *testing.T) {
			up.Next(knocktest.ArticleID, test.fault)
			get(t, up, knocktest.ArticleID).is(t, 200, test.body)
		})
	}
	up.Next("0", knocktest.Field("smsConsent", "true"))
	get(t, up, "0").is(t, 404, `{"errorMessage":"Unable to get prospect upstream - Prospect_id 0 does not exist."}`)
}

func TestAnswerToWritesRenamed(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	up.Always(knocktest.All, knocktest.Rename("prospectId", "id").When(knocktest.IsWrite), knocktest.NumericID())
	ask(t, "POST", up.URL+"/prospect", `{}`).is(t, 200, `{"id":1000001}`)
	get(t, up, knocktest.ArticleID).is(t, 200, article)
}

func TestHeaders(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	remove := up.Always("42", knocktest.Header("cache-control", "max-age=60", "private"), knocktest.NoHeader("date"),
		knocktest.NoHeader("Content-Type"), knocktest.NoHeader("x-amzn-requestid"))
	h := get(t, up, "42").header
	if got := h.Values("Cache-Control"); len(got) != 2 || got[0] != "max-age=60" || got[1] != "private" {
		t.Errorf("Cache-Control %q", got)
	}
	for _, name := range []string{"Date", "Content-Type", "X-Amzn-Requestid"} {
		if h.Values(name) != nil {
			t.Errorf("%s is there", name)
		}
	}
	up.Next("42", knocktest.ContentType("text/html"))
	if got := get(t, up, "42").header.Get("Content-Type"); got != "text/html" {
		t.Errorf("Content-Type %s", got)
	}
	remove()
	if h := get(t, up, "42").header; h.Get("Cache-Control") != "" || h.Get("Content-Type") != "application/json" {
		t.Errorf("after removal: %v", h)
	}
}

func TestGzip(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	up.Always(knocktest.ArticleID, knocktest.Gzip())
	got := ask(t, "GET", up.URL+"/prospect/47569637", "", "Accept-Encoding", "identity")
	z, err := gzip.NewReader(strings.NewReader(got.body))
	if err != nil || got.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v: %v", got.header, err)
	}
	if plain, err := io.ReadAll(z); err != nil || string(plain) != article {
		t.Errorf("%s: %v", plain, err)
	}
}

func TestTruncate(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	for name, test := range map[string]struct {
		faults []knocktest.Fault
		want   string
	}{
		"in the middle": {[]knocktest.Fault{knocktest.Truncate(100)}, article[:100]},
		"at once":       {[]knocktest.Fault{knocktest.Truncate(0)}, ""},
		"past its end":  {[]knocktest.Fault{knocktest.Truncate(9999)}, article},
		"chunked":       {[]knocktest.Fault{knocktest.Truncate(100), knocktest.Chunked()}, article[:100]},
	} {
		t.Run(name, func(t *testing.T) {
			up.Next(knocktest.ArticleID, test.faults...)
			got, err := try("GET", up.URL+"/prospect/47569637", "")
			if !errors.Is(err, io.ErrUnexpectedEOF) || got.status != 200 || got.body != test.want {
				t.Errorf("got %d %q: %v", got.status, got.body, err)
			}
		})
	}
}

func TestConnectionReset(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	up.Next("42", knocktest.ConnectionReset())
	if _, err := try("GET", up.URL+"/prospect/42", ""); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	up.Await(1, func(r *knocktest.Request) bool { return r.Done })
	if r := up.Last(); r.Status != 0 || r.Gone {
		t.Errorf("remembered as %+v", r)
	}
}

func TestWritesLostOrStored(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	for name, test := range map[string]struct {
		fault  knocktest.Fault
		stored bool
	}{
		"failed and lost":   {knocktest.Status(503), false},
		"failed but stored": {knocktest.Status(503).Late(), true},
		"cut and lost":      {knocktest.ConnectionReset(), false},
		"cut but stored":    {knocktest.ConnectionReset().Late(), true},
		"truncated":         {knocktest.Truncate(3).Early(), true}, // changes an answer: Early does nothing
	} {
		before := up.Version("42")
		up.Next("42", test.fault)
		_, _ = try("PUT", up.URL+"/prospect/42", `{}`)
		if stored := up.Version("42") == before+1; stored != test.stored {
			t.Errorf("%s: stored %t", name, stored)
		}
	}
}

// Both end when the client leaves; Close at the end of the test would otherwise hang.
func TestHang(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	for name, fault := range map[string]knocktest.Fault{"headers": knocktest.Hang(), "body": knocktest.HangBody(10)} {
		t.Run(name, func(t *testing.T) {
			up.ForgetRequests()
			up.Next("42", fault)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, _ := http.NewRequestWithContext(ctx, "GET", up.URL+"/prospect/42", nil)
			req.Header.Set("x-api-key", "k")
			ended := make(chan error, 1)
			go func() {
				res, err := http.DefaultTransport.RoundTrip(req)
				if err == nil {
					_, err = io.ReadFull(res.Body, make([]byte, 10))
					leave()
					_ = res.Body.Close()
				}
				ended <- err
			}()
			up.Await(1)
			if name == "headers" {
				leave()
			}
			if err := <-ended; (name == "headers") != errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			up.Await(1, knocktest.IsGone)
		})
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	up := knocktest.New(knocktest.Options{})
	listener := httptest.NewServer(up)
	up.Always("1", knocktest.Hang())
	up.Always("2", knocktest.HangBody(1))
	up.Always("3", knocktest.Latency(time.Hour))
	up.Gate("4")
	ended := make(chan error)
	for _, id := range []string{"1", "2", "3", "4"} {
		go func() {
			_, err := try("GET", listener.URL+"/prospect/"+id, "")
			ended <- err
		}()
	}
	up.Await(4)
	_ = up.Close()
	_ = up.Close()
	for range 4 {
		if err := <-ended; err == nil {
			t.Error("a request was answered")
		}
	}
	listener.Close()
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			fault knocktest.Fault
			want  string
		}{
			"the answer is old": {knocktest.Latency(3 * time.Second), "1"},
			"the answer is new": {knocktest.Latency(3 * time.Second).Early(), "2"},
			"none":              {knocktest.Latency(0), "1"},
		} {
			up := knocktest.New(knocktest.Options{})
			up.Always("42", test.fault, knocktest.ShowVersion())
			began, w := time.Now(), httptest.NewRecorder()
			time.AfterFunc(time.Second, func() { up.Edit("42", func(*knocktest.Prospect) {}) })
			r := httptest.NewRequest("GET", "/prospect/42", nil)
			r.Header.Set("x-api-key", "k")
			up.ServeHTTP(w, r)
			took := time.Since(began)
			if got := w.Header().Get("X-Knocktest-Version"); got != test.want || (took != 3*time.Second) != (name == "none") {
				t.Errorf("%s: version %s after %v", name, got, took)
			}
		}
	})
}

func TestRateIsRepeatable(t *testing.T) {
	run := func(seed uint64) (verdicts string) {
		up := knocktest.New(knocktest.Options{Seed: seed})
		up.Always(knocktest.All, knocktest.Status(500).Rate(0.25))
		for range 400 {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/prospect/42", nil)
			r.Header.Set("x-api-key", "k")
			up.ServeHTTP(w, r)
			verdicts += map[int]string{200: ".", 500: "x"}[w.Code]
		}
		return verdicts
	}
	a := run(1)
	if b := run(1); a != b {
		t.Errorf("the same seed gave\n%s\n%s", a, b)
	}
	if run(2) == a {
		t.Error("another seed gave the same")
	}
	if n := strings.Count(a, "x"); n < 60 || n > 140 {
		t.Errorf("%d of 400 failed at a rate of 0.25", n)
	}
}

func TestNextAfterNext(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	up.Always("42", knocktest.Status(500))
	up.Next("42", knocktest.Status(503), knocktest.Header("Retry-After", "1"))
	up.NextN("42", 2, knocktest.Status(502))
	up.Next("42", knocktest.Status(504).When(knocktest.Method("PUT")))
	up.Next(knocktest.All, knocktest.Status(501).When(knocktest.Key("other")))
	up.NextN("42", 0, knocktest.Status(505))
	var got []int
	for range 5 {
		got = append(got, get(t, up, "42").status)
	}
	got = append(got, get(t, up, "43").status, ask(t, "PUT", up.URL+"/prospect/42", "").status,
		ask(t, "GET", up.URL+"/prospect/43", "", "x-api-key", "other").status)
	if want := []int{503, 502, 502, 500, 500, 200, 504, 501}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	up.ClearFaults()
	if got := get(t, up, "42"); got.status != 200 {
		t.Errorf("cleared: %d", got.status)
	}
}

func TestFaultsReachAProspectByItsBody(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	up.Always("42", knocktest.Status(503))
	for body, want := range map[string]int{`{"prospectId":"42"}`: 503, `{"prospectId":42}`: 503, `{"prospectId":43}`: 200} {
		if got := ask(t, "POST", up.URL+"/prospect", body); got.status != want {
			t.Errorf("%s: %d", body, got.status)
		}
	}
}

func TestValidators(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	url := up.URL + "/prospect/42"
	if h := get(t, up, "42").header; h.Get("ETag") != "" || h.Get("Last-Modified") != "" {
		t.Errorf("validators by default: %v", h)
	}
	up.Always(knocktest.All, knocktest.Validators())
	h := get(t, up, "42").header
	etag, modified := h.Get("ETag"), h.Get("Last-Modified")
	at, err := http.ParseTime(modified)
	if err != nil {
		t.Fatal(err)
	}
	earlier := at.Add(-time.Second).Format(http.TimeFormat)
	for name, test := range map[string]struct {
		header []string
		want   int
	}{
		"same tag":            {[]string{"If-None-Match", etag}, 304},
		"in a list, weak":     {[]string{"If-None-Match", `"x", W/` + etag}, 304},
		"any":                 {[]string{"If-None-Match", "*"}, 304},
		"other tag":           {[]string{"If-None-Match", `"x"`}, 200},
		"same time":           {[]string{"If-Modified-Since", modified}, 304},
		"earlier":             {[]string{"If-Modified-Since", earlier}, 200},
		"the tag decides":     {[]string{"If-None-Match", `"x"`, "If-Modified-Since", modified}, 200},
		"not a time":          {[]string{"If-Modified-Since", "yesterday"}, 200},
		"no condition at all": {nil, 200},
	} {
		if got := ask(t, "GET", url, "", test.header...); got.status != test.want || (got.body == "") != (test.want == 304) || got.header.Get("ETag") != etag {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	up.Edit("42", func(*knocktest.Prospect) {})
	if got := ask(t, "GET", url, "", "If-None-Match", etag); got.status != 200 || got.header.Get("ETag") == etag {
		t.Errorf("edited: %d %s", got.status, got.header.Get("ETag"))
	}
	if h := get(t, up, "0").header; h.Get("ETag") != "" {
		t.Errorf("a tag on what does not exist: %v", h)
	}
}
