package knocktest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"knockproxy/proxy/knock/knocktest"
)

// reply is an answer as a client sees it, whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with TestKey; header lines are given as name, value, name, value.
func ask(t *testing.T, method, url, body string, header ...string) reply {
	t.Helper()
	got, err := try(method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func try(method, url, body string, header ...string) (reply, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("x-api-key", knocktest.TestKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(got)}, err
}

func get(t *testing.T, up *knocktest.Server, id string) reply {
	t.Helper()
	return ask(t, "GET", up.URL+"/prospect/"+id, "")
}

// is compares status and body, and checks what every answer has.
func (r reply) is(t *testing.T, status int, body string) {
	t.Helper()
	if r.status != status || r.body != body {
		t.Errorf("got %d %s\nwant %d %s", r.status, r.body, status, body)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	for _, name := range []string{"x-amzn-RequestId", "x-amz-apigw-id", "Date"} {
		if r.header.Get(name) == "" {
			t.Errorf("no %s", name)
		}
	}
}

func (r reply) prospect(t *testing.T) knocktest.Prospect {
	t.Helper()
	var p knocktest.Prospect
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.status != 200 {
		t.Fatalf("not a prospect: %d %s: %v", r.status, r.body, err)
	}
	return p
}

// article is the answer in "Knock Get Prospect API".
const article = `{"prospectId":"47569637","communityId":"191b65d2686d11e9","email":"","phone":"+10551234567",` +
	`"agent":{"username":"2be16a9e-b3ab-4b1f-9632-575aca1a3d20"},` +
	`"address":null,"unit":null,"city":null,"state":null,"zip":null,"source":{"title":"Property Website"},` +
	`"firstName":"New","lastName":"Lead","moveDate":null,"bedrooms":null,"pets":null,"occupants":null,` +
	`"leaseTermMonths":null,"minBudget":null,"maxBudget":null,"smsConsent":false,"isDeleted":false,` +
	`"notProspect":false,"createdAt":"2021-10-14T18:10:34.515181+00:00",` +
	`"updatedAt":"2021-10-14T18:10:34.694332+00:00","firstContactType":"form","status":"new"}`

func TestDocumentedAnswers(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	const noToken = `{"message":"Missing Authentication Token"}`
	tests := []struct {
		name, method, path string
		status             int
		body               string
	}{
		{"the article's prospect", "GET", "/prospect/47569637", 200, article},
		{"slash at the end", "GET", "/prospect/47569637/", 200, article},
		{"percent-encoded digits", "GET", "/prospect/4756963%37", 200, article},
		{"prospect 0", "GET", "/prospect/0", 404, `{"errorMessage":"Unable to get prospect upstream - Prospect_id 0 does not exist."}`},
		{"past the made-up ones", "GET", "/prospect/1000001", 404, `{"errorMessage":"Unable to get prospect upstream - Prospect_id 1000001 does not exist."}`},
		{"more than 64 bits", "GET", "/prospect/99999999999999999999", 404, `{"errorMessage":"Unable to get prospect upstream - Prospect_id 99999999999999999999 does not exist."}`},
		{"letters", "GET", "/prospect/xxx", 400, `{"errorMessage":"Id xxx is not a valid prospect id. Id must be a number."}`},
		{"a sign", "GET", "/prospect/-1", 400, `{"errorMessage":"Id -1 is not a valid prospect id. Id must be a number."}`},
		{"encoded slash and markup", "GET", "/prospect/1%2F%3Cb%3E", 400, `{"errorMessage":"Id 1/<b> is not a valid prospect id. Id must be a number."}`},
		{"no id", "GET", "/prospect/", 403, noToken},
		{"unknown path", "GET", "/community/1", 403, noToken},
		{"unknown method", "POST", "/prospect/42", 403, noToken},
		{"below a prospect", "GET", "/prospect/42/notes", 403, noToken},
		{"the root", "GET", "/", 403, noToken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ask(t, test.method, up.URL+test.path, "").is(t, test.status, test.body)
		})
	}
}

func TestHead(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	got := ask(t, "HEAD", up.URL+"/prospect/47569637", "")
	got.is(t, 200, "")
	if want := fmt.Sprint(len(article)); got.header.Get("Content-Length") != want {
		t.Errorf("Content-Length %s, want %s", got.header.Get("Content-Length"), want)
	}
}

func TestGatewayIDsDiffer(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	a, b := get(t, up, "42"), get(t, up, "42")
	for _, name := range []string{"x-amzn-RequestId", "x-amz-apigw-id"} {
		if a.header.Get(name) == b.header.Get(name) {
			t.Errorf("%s is twice %s", name, a.header.Get(name))
		}
	}
}

func TestMadeUpProspects(t *testing.T) {
	up, other := knocktest.Start(t, knocktest.Options{}), knocktest.Start(t, knocktest.Options{Seed: 7})
	phone := regexp.MustCompile(`^\+1\d{3}55501\d\d$`)
	consents, noBudget := map[bool]int{}, 0
	for _, id := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "42", "999999", "1000000"} {
		got := get(t, up, id)
		p := got.prospect(t)
		if again := get(t, other, id); again.body != got.body {
			t.Errorf("prospect %s differs between servers", id)
		}
		if p.ProspectID != id || !phone.MatchString(p.Phone) || !strings.HasSuffix(p.Email, "@example.com") {
			t.Errorf("prospect %s: %+v", id, p)
		}
		if _, err := time.Parse(time.RFC3339Nano, p.UpdatedAt); err != nil || p.UpdatedAt < p.CreatedAt {
			t.Errorf("prospect %s: created %s, updated %s", id, p.CreatedAt, p.UpdatedAt)
		}
		consents[p.SMSConsent]++
		if p.MinBudget == nil {
			noBudget++
		}
	}
	if len(consents) != 2 || noBudget == 0 {
		t.Errorf("consents %v, %d without a budget", consents, noBudget)
	}
	if p := get(t, up, "0042").prospect(t); p.ProspectID != "42" {
		t.Errorf("0042 is %s", p.ProspectID)
	}
}

func TestKeys(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{Keys: []string{"a", "b"}})
	url := up.URL + "/prospect/42"
	for key, want := range map[string]int{"a": 200, "b": 200, "c": 403, "": 403} {
		if got := ask(t, "GET", url, "", "x-api-key", key); got.status != want {
			t.Errorf("key %q: %d, want %d", key, got.status, want)
		}
	}
	ask(t, "GET", url, "", "x-api-key", "").is(t, 403, `{"message":"Forbidden"}`)
	up.SetKeys("c")
	if got := ask(t, "GET", url, "", "x-api-key", "a"); got.status != 403 {
		t.Errorf("a key taken back: %d", got.status)
	}
	up.SetKeys()
	if got := ask(t, "GET", url, "", "x-api-key", "anything"); got.status != 200 {
		t.Errorf("any key: %d", got.status)
	}
}

func TestViewPerKey(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{View: knocktest.TagByKey})
	for _, key := range []string{"a", "b"} {
		if p := ask(t, "GET", up.URL+"/prospect/42", "", "x-api-key", key).prospect(t); p.LastName != key {
			t.Errorf("key %s sees %s", key, p.LastName)
		}
	}
	if p, _ := up.Prospect("42"); p.LastName == "a" || p.LastName == "b" {
		t.Error("the view changed the prospect itself")
	}
	up.SetView(nil)
	if p := get(t, up, "42").prospect(t); p.LastName == knocktest.TestKey {
		t.Error("the view is still there")
	}
}

func TestEvents(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	type page struct {
		Edges []struct {
			Node struct {
				Type      string
				EventTime string
			}
		}
		PageInfo struct {
			EndCursor   string
			HasNextPage bool
		}
	}
	read := func(query string) page {
		t.Helper()
		got := ask(t, "GET", up.URL+"/prospect/47569637/events"+query, "")
		var p page
		if err := json.Unmarshal([]byte(got.body), &p); err != nil || got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		return p
	}
	whole := read("?first=100")
	if len(whole.Edges) != 12 || whole.PageInfo.HasNextPage {
		t.Fatalf("%d events, more %t", len(whole.Edges), whole.PageInfo.HasNextPage)
	}
	if first := read("?first=1"); first.PageInfo.EndCursor != "MQ==" || !first.PageInfo.HasNextPage {
		t.Errorf("the article's cursor: %+v", first.PageInfo)
	}
	var paged page
	var sizes []int
	for next := "?first=5"; next != ""; {
		p := read(next)
		paged.Edges = append(paged.Edges, p.Edges...)
		sizes = append(sizes, len(p.Edges))
		next = ""
		if p.PageInfo.HasNextPage {
			next = "?first=5&after=" + url.QueryEscape(p.PageInfo.EndCursor)
		}
	}
	if !slices.Equal(sizes, []int{5, 5, 2}) || !reflect.DeepEqual(paged.Edges, whole.Edges) {
		t.Errorf("pages of %v: %+v", sizes, paged.Edges)
	}
}

func TestEventsRefused(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	ask(t, "GET", up.URL+"/prospect/0/events", "").is(t, 404, `{"errorMessage":"Unable to get prospect upstream - Prospect_id 0 does not exist."}`)
	ask(t, "GET", up.URL+"/prospect/x/events", "").is(t, 400, `{"errorMessage":"Id x is not a valid prospect id. Id must be a number."}`)
	ask(t, "GET", up.URL+"/prospect/42/events?first=0", "").is(t, 400, `{"errorMessage":"first must be a number from 1 to 100."}`)
	ask(t, "GET", up.URL+"/prospect/42/events?after=x", "").is(t, 400, `{"errorMessage":"after is not a valid cursor."}`)
	past := ask(t, "GET", up.URL+"/prospect/42/events?after=OTk5", "")
	past.is(t, 200, `{"edges":[],"pageInfo":{"endCursor":null,"hasNextPage":false}}`)
}

func TestAvailableTimes(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	up := knocktest.Start(t, knocktest.Options{Now: func() time.Time { return now }})
	got := ask(t, "GET", up.URL+"/community/191b65d2686d11e9/available-times", "")
	if want := `{"availableTimes":[{"startTime":"2026-03-02T17:00:00+00:00","endTime":"2026-03-02T17:30:00+00:00"},`; !strings.HasPrefix(got.body, want) {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// New's Server works in any http.Server, TLS and HTTP/2 too.
func TestNewOverHTTP2(t *testing.T) {
	up := knocktest.New(knocktest.Options{})
	listener := httptest.NewUnstartedServer(up)
	listener.EnableHTTP2 = true
	listener.StartTLS()
	defer listener.Close()
	defer func() { _ = up.Close() }()
	up.Next("42", knocktest.ConnectionReset())
	for i, want := range []string{"", "HTTP/2.0"} {
		req, err := http.NewRequest("GET", listener.URL+"/prospect/42", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-api-key", "k")
		res, err := listener.Client().Do(req)
		if (err != nil) != (want == "") {
			t.Fatalf("request %d: %v", i, err)
		}
		if err == nil {
			_ = res.Body.Close()
			if res.Proto != want || res.StatusCode != 200 {
				t.Errorf("%s %d", res.Proto, res.StatusCode)
			}
		}
	}
}
