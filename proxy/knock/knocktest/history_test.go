package knocktest_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"knockproxy/proxy/knock/knocktest"
)

func TestRequestsAreRemembered(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	up := knocktest.Start(t, knocktest.Options{Now: func() time.Time { return now }})
	ask(t, "PUT", up.URL+"/prospect/4%32?a=b%20c&", `{"firstName":"J"}`, "x-api-key", "k", "X-Other", "v")
	r := up.Last()
	got := fmt.Sprintf("%s %s | %s %s | id %s key %s other %s | %s %d | %d %t %t %t", r.Method, r.URI, r.Path, r.Query,
		r.ProspectID, r.Key(), r.Header.Get("x-other"), r.Body, r.BodySize, r.Status, r.Done, r.Gone, r.Arrived.Equal(now))
	want := `PUT /prospect/4%32?a=b%20c& | /prospect/4%32 a=b%20c& | id 42 key k other v | {"firstName":"J"} 17 | 200 true false true`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r.Host != strings.TrimPrefix(up.URL, "http://") {
		t.Errorf("host %s", r.Host)
	}
	if zero := up.Last(knocktest.Method("GET")); zero.Method != "" {
		t.Errorf("last GET %+v", zero)
	}
}

func TestQuestions(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	get(t, up, "42")
	get(t, up, "43")
	get(t, up, "0")
	ask(t, "HEAD", up.URL+"/prospect/42", "", "x-api-key", "other")
	ask(t, "GET", up.URL+"/prospect/42/events", "")
	ask(t, "POST", up.URL+"/prospect", `{"prospectId":"42"}`)
	ask(t, "GET", up.URL+"/prospect/42", "", "x-api-key", "")
	count := func(when ...knocktest.Match) string { return fmt.Sprint(up.Count(when...)) }
	got := []string{
		fmt.Sprint(up.Reads("42")), fmt.Sprint(up.Reads("43")), fmt.Sprint(up.Reads("44")), fmt.Sprint(up.Reads(knocktest.All)),
		count(), count(knocktest.Of("42")), count(knocktest.Of("42"), knocktest.IsRead), count(knocktest.IsWrite),
		count(knocktest.Key("other")), count(knocktest.Path("/prospect/42")), count(knocktest.Not(knocktest.Method("GET"))),
	}
	if want := []string{"3", "1", "0", "5", "7", "5", "3", "1", "1", "3", "2"}; !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	totals := up.Totals()
	if s := fmt.Sprintf("%+v", totals); s != "{Requests:7 Reads:5 Writes:1 ByStatus:map[200:5 403:1 404:1] InFlight:0 MaxInFlight:1}" {
		t.Errorf("totals %s", s)
	}
	up.ForgetRequests()
	if len(up.Requests()) != 0 || up.Reads("42") != 0 || up.Totals().Requests != 0 {
		t.Error("not forgotten")
	}
}

func TestHistoryIsBounded(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{History: 3})
	for i := range 5 {
		get(t, up, fmt.Sprint(i+1))
	}
	var ids []string
	for _, r := range up.Requests() {
		ids = append(ids, r.ProspectID)
	}
	if !slices.Equal(ids, []string{"3", "4", "5"}) {
		t.Errorf("remembers %v", ids)
	}
	if up.Reads("1") != 1 || up.Totals().Reads != 5 {
		t.Errorf("counted %d, %d", up.Reads("1"), up.Totals().Reads)
	}
	none := knocktest.Start(t, knocktest.Options{History: -1})
	get(t, none, "42")
	if len(none.Requests()) != 0 || none.Reads("42") != 1 {
		t.Errorf("remembers %d, counted %d", len(none.Requests()), none.Reads("42"))
	}
}

func TestHistoryIsBoundedInBytes(t *testing.T) {
	up := knocktest.New(knocktest.Options{})
	body := strings.Repeat("x", 100<<10)
	for range 1100 {
		up.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/prospect", strings.NewReader(body)))
	}
	if n := up.Count(); n > 1024 || n < 1000 {
		t.Errorf("remembers %d requests with 64 KiB each", n)
	}
}

func TestMaxConcurrent(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	get(t, up, "42")
	gate := up.Gate(knocktest.All)
	var clients sync.WaitGroup
	for _, id := range []string{"42", "42", "42", "43"} {
		clients.Go(func() { _, _ = try("GET", up.URL+"/prospect/"+id, "") })
	}
	gate.Wait(4)
	if got := up.Totals().InFlight; got != 4 {
		t.Errorf("%d in flight", got)
	}
	gate.Open()
	clients.Wait()
	get(t, up, "43")
	got := fmt.Sprint(up.MaxConcurrent(), up.MaxConcurrent(knocktest.Of("42")), up.MaxConcurrent(knocktest.Of("43")), up.Totals().MaxInFlight)
	if got != "4 3 1 4" {
		t.Errorf("at most %s at a time", got)
	}
}

// tb fails as a test does, for tests of failing.
type tb struct {
	testing.TB
	failure string
}

func (f *tb) Fatalf(format string, args ...any) { f.failure = fmt.Sprintf(format, args...) }

func TestWaitingInVainFails(t *testing.T) {
	failing := &tb{TB: t}
	up := knocktest.Start(failing, knocktest.Options{Patience: time.Nanosecond})
	up.NewGate().Wait(1)
	if failing.failure != "knocktest: waiting at a gate: 0 of 1 requests arrived" {
		t.Errorf("got %q", failing.failure)
	}
	up.Await(2)
	if failing.failure != "knocktest: waiting for requests: 0 of 2 came" {
		t.Errorf("got %q", failing.failure)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic without Start")
		}
	}()
	knocktest.New(knocktest.Options{Patience: time.Nanosecond}).Await(1)
}

func TestConcurrentUse(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{History: 50, Prospects: 20})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 30 {
				id := fmt.Sprint(n % 5)
				_, _ = try("GET", up.URL+"/prospect/"+id, "")
				_, _ = try("POST", up.URL+"/prospect", `{"prospectId":"`+id+`","firstName":"A"}`)
				remove := up.Always(id, knocktest.Status(503).Rate(0.5), knocktest.Field("smsConsent", "null"))
				up.Next(knocktest.All, knocktest.Truncate(i))
				up.Edit(id, func(p *knocktest.Prospect) { p.LastName = id })
				up.Requests(knocktest.Of(id))
				up.MaxConcurrent()
				up.Totals()
				up.SetKeys()
				up.SetView(knocktest.TagByKey)
				remove()
			}
		})
	}
	all.Wait()
	if got := up.Totals().Requests; got != 8*30*2 {
		t.Errorf("%d requests", got)
	}
}
