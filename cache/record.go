package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Codec writes values into Redis's records. A Parse error is a miss, counted.
type Codec[V any] interface {
	Append(b []byte, v V) []byte
	Parse(b []byte) (V, error)
}

// A record in Redis: a version, the epochs known when its lease was granted, its stamps in ms of Redis's clock, and the
// sealed value. The header is authenticated with the value, and so are the Redis key and the field: a record that was
// copied elsewhere or dated anew does not open. Bytes 41 to 53, the nonce, name it among others: acquire.lua compares them.
const (
	recordVersion = 1
	recordHeader  = 41
	recordTag     = recordHeader + 12
)

// stamps are a record's instants, in ms of Redis's clock.
type stamps struct{ sent, fresh, keep int64 }

// frame is a record as Redis holds it, opened or to be sealed.
type frame struct {
	epochs [2]epoch
	stamps
}

var errUnreadable = errors.New("record does not open")

func (f *frame) header() []byte {
	b := make([]byte, 0, recordHeader)
	b = append(b, recordVersion)
	b = append(b, f.epochs[0][:]...)
	b = append(b, f.epochs[1][:]...)
	for _, ms := range []int64{f.sent, f.fresh, f.keep} {
		b = binary.BigEndian.AppendUint64(b, uint64(ms)) //nolint:gosec // as bits
	}
	return b
}

// place is where a record lies: part of what is authenticated.
func place(header []byte, key, field string) []byte {
	b := make([]byte, 0, len(header)+len(key)+len(field)+1)
	b = append(b, header...)
	b = append(b, key...)
	b = append(b, 0)
	return append(b, field...)
}

// seal makes a record of a value's bytes.
func (s *sealer) seal(f *frame, key, field string, plain []byte) ([]byte, error) {
	a, err := s.aead(f.sent)
	if err != nil {
		return nil, err
	}
	header := f.header()
	out := make([]byte, 0, len(header)+len(plain)+a.Overhead())
	out = append(out, header...)
	return a.Seal(out, nil, plain, place(header, key, field)), nil //nolint:gosec // it makes its own nonce
}

// parseFrame reads a record's header, unauthenticated yet.
func parseFrame(raw []byte) (f frame, err error) {
	if len(raw) <= recordTag || raw[0] != recordVersion {
		return f, errUnreadable
	}
	copy(f.epochs[0][:], raw[1:])
	copy(f.epochs[1][:], raw[9:])
	f.sent = int64(binary.BigEndian.Uint64(raw[17:]))  //nolint:gosec // as bits
	f.fresh = int64(binary.BigEndian.Uint64(raw[25:])) //nolint:gosec // as bits
	f.keep = int64(binary.BigEndian.Uint64(raw[33:]))  //nolint:gosec // as bits
	return f, nil
}

// open returns the value's bytes of a record, in buf's memory where that is large enough.
func (s *sealer) open(buf, raw []byte, f *frame, key, field string) ([]byte, error) {
	a, err := s.aead(f.sent)
	if err != nil {
		return nil, err
	}
	plain, err := a.Open(buf[:0], nil, raw[recordHeader:], place(raw[:recordHeader], key, field))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return plain, nil
}

// tagOf names a record among others; of what is none it is whatever stands there.
func tagOf(raw []byte) string {
	if len(raw) < recordHeader {
		return ""
	}
	return string(raw[recordHeader:min(len(raw), recordTag)])
}
