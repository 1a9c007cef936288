package knocktest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"knockproxy/proxy/knock/knocktest"
)

// A creation as in the article "Knock Prospect Creation API".
const jane = `"communityId":"b9XQN6eMvvrr07zg","sourceTitle":"Zillow","firstName":"Jane","lastName":"Doe",` +
	`"email":"janedoe@example.com","phone":"2065550155","moveDate":"2020-01-15","bedrooms":["STUDIO"],"occupants":1,` +
	`"leaseTermMonths":12,"minBudget":1000,"maxBudget":2000,"autorespond":true,"message":"Hi there","smsConsent":true,` +
	`"agent":{"username":"mock agent username"}`

func TestCreate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	up := knocktest.Start(t, knocktest.Options{Now: func() time.Time { return now }})
	ask(t, "POST", up.URL+"/prospect", "{"+jane+"}").is(t, 200, `{"prospectId":"1000001"}`)
	want := knocktest.Prospect{
		ProspectID: "1000001", CommunityID: "b9XQN6eMvvrr07zg", Source: knocktest.Source{Title: "Zillow"},
		FirstName: "Jane", LastName: "Doe", Email: "janedoe@example.com", Phone: "2065550155",
		MoveDate: "2020-01-15", Bedrooms: []any{"STUDIO"}, Occupants: 1.0, LeaseTermMonths: 12.0,
		MinBudget: 1000.0, MaxBudget: 2000.0, SMSConsent: true, Agent: knocktest.Agent{Username: "mock agent username"},
		CreatedAt: "2026-03-01T12:00:00.123456+00:00", UpdatedAt: "2026-03-01T12:00:00.123456+00:00",
		FirstContactType: "form", Status: "new",
	}
	if got := get(t, up, "1000001").prospect(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if up.Version("1000001") != 1 {
		t.Errorf("version %d", up.Version("1000001"))
	}
}

func TestCreateTakesFreshIDs(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	up.Edit("1000002", func(*knocktest.Prospect) {})
	for _, test := range []struct{ path, body, want string }{
		{"/prospect/", `{}`, "1000001"},
		{"/prospect", `{"prospectId":"77777777"}`, "1000003"},
		{"/prospect", `{"prospectId":"not a number"}`, "1000004"},
		{"/prospect", `{"prospectId":null}`, "1000005"},
	} {
		ask(t, "POST", up.URL+test.path, test.body).is(t, 200, `{"prospectId":"`+test.want+`"}`)
	}
}

func TestPostUpdates(t *testing.T) {
	for _, id := range []string{`"47569637"`, `47569637`} {
		up := knocktest.Start(t, knocktest.Options{})
		before, _ := up.Prospect(knocktest.ArticleID)
		ask(t, "POST", up.URL+"/prospect", `{"prospectId":`+id+`,`+jane+`}`).is(t, 200, `{"prospectId":"47569637"}`)
		got := get(t, up, knocktest.ArticleID).prospect(t)
		if got.FirstName != "Jane" || got.MaxBudget != 2000.0 || !got.SMSConsent || got.Agent.Username != "mock agent username" {
			t.Errorf("not updated: %+v", got)
		}
		if got.CommunityID != before.CommunityID || got.Source != before.Source || got.CreatedAt != before.CreatedAt {
			t.Errorf("updated what a repeated POST does not: %+v", got)
		}
		if got.UpdatedAt <= before.UpdatedAt || up.Version(knocktest.ArticleID) != 2 {
			t.Errorf("updatedAt %s, version %d", got.UpdatedAt, up.Version(knocktest.ArticleID))
		}
	}
}

func TestUpdateLeavesWhatIsNotSent(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	want := up.Edit("42", func(p *knocktest.Prospect) { p.MinBudget, p.SMSConsent = 900, true }) + 1
	before, _ := up.Prospect("42")
	ask(t, "PATCH", up.URL+"/prospect/42", `{"minBudget":null,"smsConsent":false,"prospectId":"43"}`).is(t, 200, `{"prospectId":"42"}`)
	after, _ := up.Prospect("42")
	before.MinBudget, before.SMSConsent, before.UpdatedAt = nil, false, after.UpdatedAt
	if !reflect.DeepEqual(before, after) || up.Version("42") != want || up.Version("43") != 1 {
		t.Errorf("got %+v, versions %d, %d", after, up.Version("42"), up.Version("43"))
	}
}

func TestWritesRefused(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	const notObject = `{"errorMessage":"Request body must be a JSON object."}`
	const missing = `{"errorMessage":"Unable to get prospect upstream - Prospect_id 0 does not exist."}`
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/prospect", `{"firstName":`, 400, notObject},
		{"POST", "/prospect", ``, 400, notObject},
		{"POST", "/prospect", `null`, 400, notObject},
		{"POST", "/appointment/request", `[]`, 400, notObject},
		{"PUT", "/prospect/42", `{"smsConsent":"true"}`, 400, `{"errorMessage":"Invalid value for smsConsent."}`},
		{"PUT", "/prospect/0", `{}`, 404, missing},
		{"DELETE", "/prospect/0", ``, 404, missing},
		{"PUT", "/prospect/x", `{}`, 400, `{"errorMessage":"Id x is not a valid prospect id. Id must be a number."}`},
		{"POST", "/prospect", strings.Repeat(" ", 10<<20+1), 413, `{"message":"Request Too Long"}`},
	} {
		ask(t, test.method, up.URL+test.path, test.body).is(t, test.status, test.want)
	}
	if up.Version("42") != 1 {
		t.Errorf("a refused write was stored")
	}
	if last := up.Last(); last.BodySize != 10<<20+1 || len(last.Body) != 64<<10 {
		t.Errorf("body of %d remembered as %d, %d", 10<<20+1, last.BodySize, len(last.Body))
	}
}

func TestDeleteMarks(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	ask(t, "DELETE", up.URL+"/prospect/42", "").is(t, 200, `{"prospectId":"42"}`)
	if p := get(t, up, "42").prospect(t); !p.IsDeleted {
		t.Error("not deleted")
	}
}

func TestAppointment(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	book := func(body string) (id string) {
		t.Helper()
		var got struct{ AppointmentID, ProspectID string }
		res := ask(t, "POST", up.URL+"/appointment/request", body)
		if err := json.Unmarshal([]byte(res.body), &got); err != nil || got.AppointmentID == "" {
			t.Fatalf("%d %s", res.status, res.body)
		}
		return got.ProspectID
	}
	if id := book(`{"prospectId":"47569637","smsConsent":true,"requestedTimes":[]}`); id != knocktest.ArticleID {
		t.Errorf("booked for %s", id)
	}
	if p, _ := up.Prospect(knocktest.ArticleID); !p.SMSConsent {
		t.Error("smsConsent was not set")
	}
	if id := book(`{"firstName":"Jane"}`); id != "1000001" {
		t.Errorf("created %s", id)
	}
}

func TestEditAndRemove(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	if v := up.Edit("5000000", func(p *knocktest.Prospect) { p.FirstName = "Zoë" }); v != 1 {
		t.Errorf("created as version %d", v)
	}
	if p := get(t, up, "5000000").prospect(t); p.FirstName != "Zoë" || p.ProspectID != "5000000" {
		t.Errorf("got %+v", p)
	}
	if v := up.Edit("42", func(p *knocktest.Prospect) { p.UpdatedAt = "then" }); v != 2 {
		t.Errorf("edited to version %d", v)
	}
	if p, _ := up.Prospect("42"); p.UpdatedAt != "then" {
		t.Errorf("updatedAt %s", p.UpdatedAt)
	}
	up.Remove("42")
	if got := get(t, up, "42"); got.status != 404 || up.Version("42") != 0 {
		t.Errorf("removed: %d, version %d", got.status, up.Version("42"))
	}
	if v := up.Edit("42", func(*knocktest.Prospect) {}); v != 4 {
		t.Errorf("created again as version %d", v)
	}
	up.Reset()
	if up.Version("42") != 1 || up.Version("5000000") != 0 {
		t.Error("reset left data behind")
	}
}

func TestProspectsAreBounded(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{Prospects: 3})
	up.Edit("42", func(p *knocktest.Prospect) { p.FirstName = "Edited" })
	for range 2 {
		ask(t, "POST", up.URL+"/prospect", `{}`)
	}
	up.Edit("42", func(*knocktest.Prospect) {}) // now the youngest
	ask(t, "POST", up.URL+"/prospect", `{}`)
	versions := fmt.Sprint(up.Version("42"), up.Version("1000001"), up.Version("1000002"), up.Version("1000003"))
	if versions != "3 0 1 1" {
		t.Errorf("versions %s", versions)
	}
	for range 3 {
		ask(t, "POST", up.URL+"/prospect", `{}`)
	}
	if p, _ := up.Prospect("42"); p.FirstName == "Edited" || up.Version("42") != 1 {
		t.Error("the oldest edit was not forgotten")
	}
}

func TestProspectsAreBoundedInBytes(t *testing.T) {
	up := knocktest.New(knocktest.Options{})
	long := strings.Repeat("x", 16<<20)
	for i := range 5 {
		up.Edit(fmt.Sprint(i+1), func(p *knocktest.Prospect) { p.Address = long })
	}
	if up.Version("1") != 1 || up.Version("2") != 1 || up.Version("5") != 2 {
		t.Errorf("versions %d, %d, %d", up.Version("1"), up.Version("2"), up.Version("5"))
	}
}

// A body that breaks off is remembered as far as it came, and not acted on.
func TestBrokenUpload(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(up.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "PUT /prospect/42 HTTP/1.1\r\nHost: h\r\nx-api-key: k\r\nContent-Length: 100\r\n\r\n{}")
	_ = conn.Close()
	up.Await(1, knocktest.IsGone)
	if r := up.Last(); string(r.Body) != "{}" || r.Status != 0 || up.Version("42") != 1 {
		t.Errorf("version %d, remembered %+v", up.Version("42"), r)
	}
}

func TestEditWantsANumber(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	knocktest.New(knocktest.Options{}).Edit("x", func(*knocktest.Prospect) {})
}
