package policy

import (
	"encoding/binary"
	"errors"
	"net/http"
	"time"
)

// Codec writes answers into records of the tier that replicas share, and reads them.
type Codec struct{}

const codecVersion = 1

// errRecord is a record that holds no answer.
var errRecord = errors.New("record holds no answer")

// Append writes an answer: version, status, flags, age, the upstream's Cache-Status, the header, the body.
func (Codec) Append(b []byte, a *Answer) []byte {
	flags := byte(0)
	if a.NotExist {
		flags = 1
	}
	b = append(b, codecVersion, flags)
	b = binary.AppendUvarint(b, uint64(a.Status)) //nolint:gosec // three digits
	b = binary.AppendUvarint(b, uint64(a.Age))    //nolint:gosec // never negative
	b = appendText(b, a.Before)
	b = binary.AppendUvarint(b, uint64(len(a.Header)))
	for name, values := range a.Header {
		b = appendText(b, name)
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, value := range values {
			b = appendText(b, value)
		}
	}
	return append(b, a.Body...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Parse reads what Append wrote. The body is a part of b, which is to be left alone afterwards.
func (Codec) Parse(b []byte) (*Answer, error) {
	if len(b) < 2 || b[0] != codecVersion {
		return nil, errRecord
	}
	r := recordReader{rest: b[2:]}
	a := &Answer{NotExist: b[1]&1 != 0}
	a.Status = int(r.number(999))                     //nolint:gosec // bounded
	a.Age = time.Duration(r.number(maxSeconds * 1e9)) //nolint:gosec // bounded
	a.Before = r.text()
	fields := r.number(uint64(len(b)))
	a.Header = make(http.Header, min(fields, 64))
	for range fields {
		name := r.text()
		count := r.number(uint64(len(r.rest)))
		values := make([]string, 0, min(count, 64))
		for range count {
			values = append(values, r.text())
		}
		if r.bad {
			return nil, errRecord
		}
		a.Header[name] = values
	}
	if r.bad || a.Status < 200 {
		return nil, errRecord
	}
	a.Body = r.rest
	return a, nil
}

// recordReader reads numbers and texts until something does not fit.
type recordReader struct {
	rest []byte
	bad  bool
}

func (r *recordReader) number(most uint64) uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > most {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *recordReader) text() string {
	n := r.number(uint64(len(r.rest)))
	if n > uint64(len(r.rest)) { // the number itself was taken off
		r.bad, r.rest = true, nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
