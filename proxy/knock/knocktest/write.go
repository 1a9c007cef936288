package knocktest

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// writeAnswer says which prospect a write reached ("Knock Prospect Creation API").
type writeAnswer struct {
	AppointmentID string `json:"appointmentId,omitempty"`
	ProspectID    string `json:"prospectId"`
}

// create updates the prospect that the body names, if it exists, and else creates one.
func (s *Server) create(x *exchange) Answer {
	id, failure := s.save(x)
	if failure != nil {
		return *failure
	}
	return jsonAnswer(http.StatusOK, writeAnswer{ProspectID: id})
}

// book does what create does, and answers with an appointment. The appointment is not kept.
func (s *Server) book(x *exchange) Answer {
	id, failure := s.save(x)
	if failure != nil {
		return *failure
	}
	appointment := strconv.Itoa(7_000_000 + s.history.total())
	return jsonAnswer(http.StatusOK, writeAnswer{AppointmentID: appointment, ProspectID: id})
}

func (s *Server) save(x *exchange) (id string, failure *Answer) {
	sent, failure := decode(x.body)
	if failure != nil {
		return "", failure
	}
	// The body's values were checked by decode: apply cannot fail from here.
	if id := x.request.ProspectID; isNumber(id) && s.store.update(id, sent.update) > 0 {
		return canonical(id), nil
	}
	return s.store.create(sent.create), nil
}

func (s *Server) update(id string, body []byte) Answer {
	sent, failure := decode(body)
	if failure != nil {
		return *failure
	}
	if s.store.update(id, sent.update) == 0 {
		return doesNotExist(http.StatusNotFound, id)
	}
	return jsonAnswer(http.StatusOK, writeAnswer{ProspectID: canonical(id)})
}

func (s *Server) markDeleted(id string) Answer {
	if s.store.update(id, func(p *Prospect) { p.IsDeleted = true }) == 0 {
		return doesNotExist(http.StatusNotFound, id)
	}
	return jsonAnswer(http.StatusOK, writeAnswer{ProspectID: canonical(id)})
}

// sent are the members of a write's body.
type sent map[string]json.RawMessage

// decode reads a body that is a JSON object whose members have the types of the fields they are for.
func decode(body []byte) (sent, *Answer) {
	var members sent
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		failure := knockError(http.StatusBadRequest, "Request body must be a JSON object.")
		return nil, &failure
	}
	for name, field := range creatable(&Prospect{}) {
		if value, ok := members[name]; ok && json.Unmarshal(value, field) != nil {
			failure := knockError(http.StatusBadRequest, "Invalid value for %s.", name)
			return nil, &failure
		}
	}
	return members, nil
}

func (m sent) update(p *Prospect) { m.apply(updatable(p)) }
func (m sent) create(p *Prospect) { m.apply(creatable(p)) }

func (m sent) apply(fields map[string]any) {
	for name, field := range fields {
		if value, ok := m[name]; ok {
			_ = json.Unmarshal(value, field) // checked by decode
		}
	}
}

// updatable are the fields that a repeated POST changes ("Assign Prospect to Agent API"), and smsConsent, which
// POST /appointment/request may set ("Scheduling API for ILS Partners").
func updatable(p *Prospect) map[string]any {
	return map[string]any{
		"agent":           &p.Agent,
		"firstName":       &p.FirstName,
		"lastName":        &p.LastName,
		"phone":           &p.Phone,
		"email":           &p.Email,
		"moveDate":        &p.MoveDate,
		"leaseTermMonths": &p.LeaseTermMonths,
		"bedrooms":        &p.Bedrooms,
		"occupants":       &p.Occupants,
		"minBudget":       &p.MinBudget,
		"maxBudget":       &p.MaxBudget,
		"smsConsent":      &p.SMSConsent,
	}
}

// creatable are those that the first POST sets.
func creatable(p *Prospect) map[string]any {
	fields := updatable(p)
	fields["communityId"] = &p.CommunityID
	fields["sourceTitle"] = &p.Source.Title
	fields["firstContactType"] = &p.FirstContactType
	fields["address"] = &p.Address
	fields["unit"] = &p.Unit
	fields["city"] = &p.City
	fields["state"] = &p.State
	fields["zip"] = &p.Zip
	fields["pets"] = &p.Pets
	return fields
}

// bodyProspectID returns the prospectId of a JSON object, a string or a number, else "".
func bodyProspectID(body []byte) string {
	var members sent
	if json.Unmarshal(body, &members) != nil {
		return ""
	}
	var text string
	if json.Unmarshal(members["prospectId"], &text) == nil {
		return text
	}
	var number json.Number
	_ = json.Unmarshal(members["prospectId"], &number)
	return number.String()
}
