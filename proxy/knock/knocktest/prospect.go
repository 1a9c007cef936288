package knocktest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const (
	// ArticleID is the prospect of the article "Knock Get Prospect API".
	ArticleID = "47569637"

	// LastMadeUpID is the greatest of the ids that exist from the start, 1 being the least. Ids of created prospects
	// begin after it.
	LastMadeUpID = 1_000_000
)

// Prospect is the answer to a read, its fields in the order of the article "Knock Get Prospect API". Fields of type any
// are null in the article, which names no other type; the articles on writing give some ("2020-01-15" for moveDate,
// ["STUDIO"] for bedrooms, numbers for occupants, leaseTermMonths and the budgets). Nil is null.
type Prospect struct {
	ProspectID       string `json:"prospectId"`
	CommunityID      string `json:"communityId"`
	Email            string `json:"email"`
	Phone            string `json:"phone"`
	Agent            Agent  `json:"agent"`
	Address          any    `json:"address"`
	Unit             any    `json:"unit"`
	City             any    `json:"city"`
	State            any    `json:"state"`
	Zip              any    `json:"zip"`
	Source           Source `json:"source"`
	FirstName        string `json:"firstName"`
	LastName         string `json:"lastName"`
	MoveDate         any    `json:"moveDate"`
	Bedrooms         any    `json:"bedrooms"`
	Pets             any    `json:"pets"`
	Occupants        any    `json:"occupants"`
	LeaseTermMonths  any    `json:"leaseTermMonths"`
	MinBudget        any    `json:"minBudget"`
	MaxBudget        any    `json:"maxBudget"`
	SMSConsent       bool   `json:"smsConsent"`
	IsDeleted        bool   `json:"isDeleted"`
	NotProspect      bool   `json:"notProspect"`
	CreatedAt        string `json:"createdAt"`
	UpdatedAt        string `json:"updatedAt"`
	FirstContactType string `json:"firstContactType"`
	Status           string `json:"status"`
}

// Agent is the agent that a prospect is assigned to.
type Agent struct {
	Username string `json:"username"`
}

// Source is where a prospect came from.
type Source struct {
	Title string `json:"title"`
}

// stampLayout is the article's: microseconds, UTC as an offset.
const stampLayout = "2006-01-02T15:04:05.000000+00:00"

func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

// parseStamp returns the zero time for what an Edit made unreadable.
func parseStamp(s string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, s)
	return t
}

// isNumber says whether Knock takes id for one: digits, and at least one of them.
func isNumber(id string) bool {
	return id != "" && strings.Trim(id, "0123456789") == ""
}

// canonical returns a number without its leading zeros.
func canonical(id string) string {
	if short := strings.TrimLeft(id, "0"); short != "" || id == "" {
		return short
	}
	return "0"
}

// original returns a prospect as it exists before any write, by its canonical id.
func original(id string) (Prospect, bool) {
	if id == ArticleID {
		return articleProspect(), true
	}
	n, err := strconv.Atoi(id)
	if err != nil || n < 1 || n > LastMadeUpID {
		return Prospect{}, false
	}
	return madeUp(n), true
}

func articleProspect() Prospect {
	return Prospect{
		ProspectID:       ArticleID,
		CommunityID:      "191b65d2686d11e9",
		Phone:            "+10551234567",
		Agent:            Agent{Username: "2be16a9e-b3ab-4b1f-9632-575aca1a3d20"},
		Source:           Source{Title: "Property Website"},
		FirstName:        "New",
		LastName:         "Lead",
		CreatedAt:        "2021-10-14T18:10:34.515181+00:00",
		UpdatedAt:        "2021-10-14T18:10:34.694332+00:00",
		FirstContactType: "form",
		Status:           "new",
	}
}

var (
	firstNames  = []string{"Ada", "Ben", "Carmen", "Dmitri", "Esra", "Femi", "Grace", "Hiro", "Ines", "Jamal", "Kaya", "Liam", "Mei", "Noor", "Óscar", "Priya", "Quinn", "Rosa", "Sven", "Tara"}
	lastNames   = []string{"Abara", "Brown", "Castillo", "Dahl", "Evans", "Fischer", "García", "Haddad", "Ito", "Jones", "Kowalski", "Lopez", "Müller", "Nguyen", "O'Neill", "Park", "Rossi", "Singh", "Tran", "Williams"}
	areaCodes   = []int{206, 303, 312, 415, 512, 602, 617, 702, 718, 813}
	sources     = []string{"Property Website", "Apartments.com", "Zillow", "Walk-in", "Referral"}
	bedrooms    = []string{"STUDIO", "1", "2", "3"}
	pets        = []string{"cat", "dog"}
	contacts    = []string{"form", "email", "phone", "sms", "chat"}
	statuses    = []string{"new", "contacted", "touring", "toured", "applied", "leased"}
	communities = []string{"191b65d2686d11e9", "b9XQN6eMvvrr07zg", "5c1e0f7a2b8d43d6"}
)

// madeUp makes a prospect up from its id alone. Its data reach nobody: example.com is reserved (RFC 2606), and so are
// the telephone numbers 555-0100 to 555-0199 of each area.
func madeUp(id int) Prospect {
	r := rand.New(rand.NewPCG(uint64(id), 0x6b6e6f636b)) // not for secrets; the stream of PCG is fixed
	created := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.Int64N(4*365*24*3600*1e6)) * time.Microsecond)
	p := Prospect{
		ProspectID:       strconv.Itoa(id),
		CommunityID:      pick(r, communities),
		Phone:            fmt.Sprintf("+1%d55501%02d", pick(r, areaCodes), r.IntN(100)),
		Agent:            Agent{Username: uuid(bytesFrom(r))},
		Source:           Source{Title: pick(r, sources)},
		FirstName:        pick(r, firstNames),
		LastName:         pick(r, lastNames),
		SMSConsent:       r.IntN(2) == 0,
		CreatedAt:        stamp(created),
		UpdatedAt:        stamp(created.Add(time.Duration(r.Int64N(90*24*3600*1e6)) * time.Microsecond)),
		FirstContactType: pick(r, contacts),
		Status:           pick(r, statuses),
	}
	p.Email = fmt.Sprintf("prospect.%d@example.com", id)
	p.MoveDate = maybe(r, created.AddDate(0, 1+r.IntN(6), 0).Format(time.DateOnly))
	p.Bedrooms = maybe(r, []string{pick(r, bedrooms)})
	p.Pets = maybe(r, []string{pick(r, pets)})
	p.Occupants = maybe(r, 1+r.IntN(5))
	p.LeaseTermMonths = maybe(r, 6+r.IntN(13))
	minimum := 800 + 50*r.IntN(40)
	p.MinBudget = maybe(r, minimum)
	p.MaxBudget = maybe(r, minimum+100*r.IntN(20))
	return p
}

// maybe is v three times out of four, else null.
func maybe(r *rand.Rand, v any) any {
	if r.IntN(4) == 0 {
		return nil
	}
	return v
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func bytesFrom(r *rand.Rand) []byte {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
