package knocktest

import (
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// eventPage is a page of events as the article "Get Prospect Events API" shows it.
type eventPage struct {
	Edges    []eventEdge `json:"edges"`
	PageInfo pageInfo    `json:"pageInfo"`
}

type eventEdge struct {
	Node event `json:"node"`
}

type pageInfo struct {
	EndCursor   *string `json:"endCursor"` // null on a page without events
	HasNextPage bool    `json:"hasNextPage"`
}

type event struct {
	Type        string         `json:"type"`
	Description string         `json:"description"`
	EventTime   string         `json:"eventTime"`
	CreatedAt   string         `json:"createdAt"`
	Source      Source         `json:"source"`
	Agent       Agent          `json:"agent"`
	Data        map[string]any `json:"data"`
}

// The sizes of a page are not documented.
const (
	defaultFirst = 10
	maxFirst     = 100
)

func (s *Server) events(r *Request) Answer {
	p, version := s.store.get(r.ProspectID)
	if version == 0 {
		return doesNotExist(http.StatusNotFound, r.ProspectID)
	}
	query, _ := url.ParseQuery(r.Query)
	first, after := defaultFirst, 0
	if text := query.Get("first"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxFirst {
			return knockError(http.StatusBadRequest, "first must be a number from 1 to %d.", maxFirst)
		}
		first = n
	}
	if text := query.Get("after"); text != "" {
		n, ok := readCursor(text)
		if !ok {
			return knockError(http.StatusBadRequest, "after is not a valid cursor.")
		}
		after = n
	}
	return jsonAnswer(http.StatusOK, page(eventsOf(p), after, first))
}

// page returns the first events after the given number of them.
func page(all []event, after, first int) eventPage {
	after = min(after, len(all))
	end := min(after+first, len(all))
	p := eventPage{Edges: []eventEdge{}, PageInfo: pageInfo{HasNextPage: end < len(all)}}
	for _, e := range all[after:end] {
		p.Edges = append(p.Edges, eventEdge{Node: e})
	}
	if end > after {
		cursor := base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(end)))
		p.PageInfo.EndCursor = &cursor
	}
	return p
}

// readCursor reads the article's kind: base64 of the number of events so far, "MQ==" after the first.
func readCursor(text string) (int, bool) {
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(string(decoded))
	return n, err == nil && n >= 0
}

// eventsOf makes up 0 to 40 events from the prospect's id. The article's prospect has 12.
func eventsOf(p Prospect) []event {
	id, _ := strconv.ParseUint(p.ProspectID, 10, 64)
	r := rand.New(rand.NewPCG(id, 0x6576656e74))
	count := r.IntN(41)
	if p.ProspectID == ArticleID {
		count = 12
	}
	events := make([]event, count)
	at := parseStamp(p.CreatedAt)
	for i := range events {
		at = at.Add(time.Duration(1+r.IntN(72)) * time.Hour)
		events[i] = event{EventTime: stamp(at), CreatedAt: stamp(at), Source: p.Source, Agent: p.Agent}
		events[i].tell(r, at)
	}
	return events
}

// tell fills in what happened. The article names the kinds of events, but only the first one's type and data.
func (e *event) tell(r *rand.Rand, at time.Time) {
	e.Type = pick(r, []string{"APPOINTMENT_CREATED", "EMAIL_MESSAGE", "SMS_MESSAGE", "WEB_MESSAGE"})
	if e.Type != "APPOINTMENT_CREATED" {
		e.Description = "A message was received"
		e.Data = map[string]any{"message": "Is there anything free in the spring?"}
		return
	}
	start := at.Truncate(time.Hour).AddDate(0, 0, 5)
	e.Description = "A tour appointment was scheduled via knock"
	e.Data = map[string]any{
		"startTime": start.Format(slotLayout),
		"endTime":   start.Add(30 * time.Minute).Format(slotLayout),
		"status":    "confirmed",
		"tourType":  "IN_PERSON",
	}
}

// slotLayout is the article's for appointments, in UTC.
const slotLayout = "2006-01-02T15:04:05+00:00"

type timeSlot struct {
	StartTime string `json:"startTime"`
	EndTime   string `json:"endTime"`
}

// availableTimes offers three half hours on each of the next three days. The article does not show the answer.
func availableTimes(now time.Time) Answer {
	var slots []timeSlot
	midnight := now.UTC().Truncate(24 * time.Hour)
	for day := 1; day <= 3; day++ {
		for _, hour := range []int{17, 18, 20} {
			start := midnight.AddDate(0, 0, day).Add(time.Duration(hour) * time.Hour)
			slots = append(slots, timeSlot{start.Format(slotLayout), start.Add(30 * time.Minute).Format(slotLayout)})
		}
	}
	return jsonAnswer(http.StatusOK, map[string]any{"availableTimes": slots})
}
