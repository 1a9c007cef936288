package policy

import (
	"strconv"
	"time"
)

// Forward is why a request was not answered from cache: fwd of RFC 9211, section 2.2.
type Forward string

// The reasons to go forward.
const (
	FwdMiss   Forward = "uri-miss"
	FwdStale  Forward = "stale"
	FwdBypass Forward = "bypass"
	FwdMethod Forward = "method"
)

// Status says in Cache-Status (RFC 9211) how the cache handled a request.
type Status struct {
	Fwd       Forward // if empty, a hit
	FwdStatus int     // the upstream's status; if zero, none came
	Stored    bool
	Collapsed bool
	TTL       time.Duration // of a hit: what is left of its freshness
	Detail    string
}

// String is our member of Cache-Status.
func (s Status) String() string {
	b := make([]byte, 0, 64)
	b = append(b, "knockproxy; "...)
	if s.Fwd == "" {
		b = append(b, "hit; ttl="...)
		b = strconv.AppendInt(b, int64(s.TTL/time.Second), 10)
	} else {
		b = append(append(b, "fwd="...), s.Fwd...)
	}
	if s.FwdStatus != 0 {
		b = strconv.AppendInt(append(b, "; fwd-status="...), int64(s.FwdStatus), 10)
	}
	if s.Stored {
		b = append(b, "; stored"...)
	}
	if s.Collapsed {
		b = append(b, "; collapsed"...)
	}
	if s.Detail != "" {
		b = append(append(b, "; detail="...), s.Detail...)
	}
	return string(b)
}

// HitStatus is the Cache-Status line of a hit with whole seconds of freshness left, made once for the usual ones.
func HitStatus(ttl time.Duration, notExist bool, before string) []string {
	seconds := int64(ttl / time.Second)
	if before == "" && seconds >= 0 && seconds < tabled {
		if notExist {
			return negativeHits[seconds]
		}
		return memoryHits[seconds]
	}
	s := Status{TTL: ttl, Detail: hitDetail(notExist)}.String()
	if before != "" {
		s = before + ", " + s
	}
	return []string{s}
}

func hitDetail(notExist bool) string {
	if notExist {
		return "negative"
	}
	return "memory"
}

// tabled is how many seconds, from 0, have their header values made in advance.
const tabled = 301

var (
	memoryHits, negativeHits = hitTable(false), hitTable(true)
	ages                     = ageTable()
)

func hitTable(notExist bool) (table [tabled][]string) {
	for i := range table {
		table[i] = []string{Status{TTL: time.Duration(i) * time.Second, Detail: hitDetail(notExist)}.String()}
	}
	return table
}

func ageTable() (table [tabled][]string) {
	for i := range table {
		table[i] = []string{strconv.Itoa(i)}
	}
	return table
}

// AgeValue is the value of Age, in whole seconds (RFC 9111, section 5.1).
func AgeValue(age time.Duration) []string {
	seconds := int64(max(age, 0) / time.Second)
	if seconds < tabled {
		return ages[seconds]
	}
	return []string{strconv.FormatInt(seconds, 10)}
}
