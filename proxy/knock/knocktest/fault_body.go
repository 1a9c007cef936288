package knocktest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// Change does anything to an answer before it is sent. It runs on many goroutines at once.
func Change(change func(a *Answer)) Fault {
	return changing(func(x *exchange) { change(x.answer) })
}

// Body replaces the body; status and headers stay.
func Body(body string) Fault {
	return Change(func(a *Answer) { a.Body = []byte(body) })
}

// InvalidJSON breaks the body's JSON off in the middle. The answer is whole as HTTP goes.
func InvalidJSON() Fault {
	return Change(func(a *Answer) { a.Body = a.Body[:len(a.Body)/2] })
}

// LongBody makes the body n bytes long, by spaces after its JSON, which it stays. A longer one stays as it is.
func LongBody(n int) Fault {
	return Change(func(a *Answer) {
		if spaces := n - len(a.Body); spaces > 0 {
			a.Body = slices.Concat(a.Body, bytes.Repeat([]byte{' '}, spaces))
		}
	})
}

// Gzip encodes the body, whether the client accepts that or not.
func Gzip() Fault {
	return Change(func(a *Answer) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(a.Body) // a Buffer does not fail
		_ = z.Close()
		a.Body = b.Bytes()
		a.Header.Set("Content-Encoding", "gzip")
	})
}

// The faults below work on the top level of a 2xx answer that is a JSON object, and leave others as they are.

// Field gives the members of that name another value, which is JSON, or is to be invalid: Field("smsConsent", `"true"`),
// Field("prospectId", `"43"`). Where there is none, one is added.
func Field(name, value string) Fault {
	return editing(func(o object) object {
		found := false
		for i := range o {
			if o[i].name == name {
				o[i].value, found = value, true
			}
		}
		if !found {
			o = append(o, member{name, value})
		}
		return o
	})
}

// ExtraField adds a member at the end, though there may be one of that name: ExtraField("smsConsent", "true"), or in
// another case: ExtraField("SMSConsent", "true").
func ExtraField(name, value string) Fault {
	return editing(func(o object) object { return append(o, member{name, value}) })
}

// NoField removes the members of that name.
func NoField(name string) Fault {
	return editing(func(o object) object {
		return slices.DeleteFunc(o, func(m member) bool { return m.name == name })
	})
}

// Rename renames a member: Rename("prospectId", "id") answers a write as a comment in the article "Knock Prospect
// Creation API" has it.
func Rename(from, to string) Fault {
	return editing(func(o object) object {
		for i := range o {
			if o[i].name == from {
				o[i].name = to
			}
		}
		return o
	})
}

// NumericID makes prospectId, and id, a number.
func NumericID() Fault {
	return editing(func(o object) object {
		for i, m := range o {
			if m.name == "prospectId" || m.name == "id" {
				o[i].value = strings.Trim(m.value, `"`)
			}
		}
		return o
	})
}

// object is a JSON object with the order of its members, and with duplicates.
type object []member

type member struct {
	name  string
	value string // JSON
}

func editing(edit func(object) object) Fault {
	return Change(func(a *Answer) {
		if a.Status < 200 || a.Status >= http.StatusMultipleChoices {
			return
		}
		if o, ok := parseObject(a.Body); ok {
			a.Body = edit(o).encode()
		}
	})
}

func parseObject(body []byte) (object, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, false
	}
	var o object
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, false
		}
		text, _ := name.(string) // the decoder allows nothing else here
		o = append(o, member{text, string(value)})
	}
	_, err := d.Token()
	return o, err == nil
}

func (o object) encode() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(encode(m.name))
		b.WriteByte(':')
		b.WriteString(m.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}
