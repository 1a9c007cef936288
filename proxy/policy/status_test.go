package policy

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

// TestStatus reads each member back by the grammar of RFC 9211, section 2: a list of tokens with parameters.
func TestStatus(t *testing.T) {
	for _, test := range []struct {
		name   string
		status Status
		want   string
		params map[string]any
	}{
		{"a hit", Status{TTL: 29 * time.Second, Detail: "memory"}, "knockproxy; hit; ttl=29; detail=memory", map[string]any{"hit": true, "ttl": int64(29), "detail": httpsfv.Token("memory")}},
		{"a stale hit", Status{TTL: -3 * time.Second, Detail: "stale-if-error"}, "knockproxy; hit; ttl=-3; detail=stale-if-error", map[string]any{"hit": true, "ttl": int64(-3), "detail": httpsfv.Token("stale-if-error")}},
		{"whole seconds are rounded down", Status{TTL: 1999 * time.Millisecond}, "knockproxy; hit; ttl=1", map[string]any{"hit": true, "ttl": int64(1)}},
		{"a miss", Status{Fwd: FwdMiss, FwdStatus: 200, Stored: true}, "knockproxy; fwd=uri-miss; fwd-status=200; stored", map[string]any{"fwd": httpsfv.Token("uri-miss"), "fwd-status": int64(200), "stored": true}},
		{"a collapsed miss", Status{Fwd: FwdMiss, FwdStatus: 404, Collapsed: true}, "knockproxy; fwd=uri-miss; fwd-status=404; collapsed", map[string]any{"fwd": httpsfv.Token("uri-miss"), "fwd-status": int64(404), "collapsed": true}},
		{"stale", Status{Fwd: FwdStale, FwdStatus: 200}, "knockproxy; fwd=stale; fwd-status=200", map[string]any{"fwd": httpsfv.Token("stale"), "fwd-status": int64(200)}},
		{"no answer", Status{Fwd: FwdBypass}, "knockproxy; fwd=bypass", map[string]any{"fwd": httpsfv.Token("bypass")}},
		{"a write", Status{Fwd: FwdMethod, FwdStatus: 201}, "knockproxy; fwd=method; fwd-status=201", map[string]any{"fwd": httpsfv.Token("method"), "fwd-status": int64(201)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.status.String()
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			members := cacheStatusMembers(t, got)
			if params := members[len(members)-1]; fmt.Sprint(params) != fmt.Sprint(test.params) {
				t.Errorf("%s reads as %v, want %v", got, params, test.params)
			}
		})
	}
}

// cacheStatusMembers parses a Cache-Status, whose last member must be ours and either a hit or forwarded, never both.
func cacheStatusMembers(t *testing.T, line string) []map[string]any {
	t.Helper()
	list, err := httpsfv.UnmarshalList([]string{line})
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	members := make([]map[string]any, 0, len(list))
	for _, member := range list {
		params := make(map[string]any)
		item, _ := member.(httpsfv.Item)
		for _, name := range item.Params.Names() {
			params[name], _ = item.Params.Get(name)
		}
		members = append(members, params)
	}
	ours, _ := list[len(list)-1].(httpsfv.Item)
	last := members[len(members)-1]
	if _, forwarded := last["fwd"]; ours.Value != httpsfv.Token("knockproxy") || forwarded == (last["hit"] == true) {
		t.Fatalf("%q: the last member is not ours, or both hit and forwarded, or neither", line)
	}
	return members
}

func TestHitStatus(t *testing.T) {
	for _, test := range []struct {
		name     string
		ttl      time.Duration
		notExist bool
		before   string
		want     string
	}{
		{"the usual", 29500 * time.Millisecond, false, "", "knockproxy; hit; ttl=29; detail=memory"},
		{"the last second", 400 * time.Millisecond, false, "", "knockproxy; hit; ttl=0; detail=memory"},
		{"does not exist", 4 * time.Second, true, "", "knockproxy; hit; ttl=4; detail=negative"},
		{"the last one tabled", 300 * time.Second, false, "", "knockproxy; hit; ttl=300; detail=memory"},
		{"the first not tabled", 301 * time.Second, false, "", "knockproxy; hit; ttl=301; detail=memory"},
		{"hours, does not exist", time.Hour, true, "", "knockproxy; hit; ttl=3600; detail=negative"},
		{"stale", -2 * time.Second, false, "", "knockproxy; hit; ttl=-2; detail=memory"},
		{"after the upstream's own", 29 * time.Second, false, "origin; hit, edge; fwd=miss", "origin; hit, edge; fwd=miss, knockproxy; hit; ttl=29; detail=memory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := HitStatus(test.ttl, test.notExist, test.before)
			if len(got) != 1 || got[0] != test.want {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			cacheStatusMembers(t, got[0])
		})
	}
}

// TestAgeValue: RFC 9111, section 5.1.
func TestAgeValue(t *testing.T) {
	for _, test := range []struct {
		age  time.Duration
		want string
	}{
		{-time.Second, "0"},
		{0, "0"},
		{1999 * time.Millisecond, "1"},
		{300 * time.Second, "300"},
		{301 * time.Second, "301"},
		{100 * time.Hour, "360000"},
	} {
		t.Run(test.age.String(), func(t *testing.T) {
			if got := AgeValue(test.age); len(got) != 1 || got[0] != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestHitAllocatesNothing keeps the decisions of a fresh hit off the heap, for every second that has its values tabled.
func TestHitAllocatesNothing(t *testing.T) {
	a := &Answer{Status: 200, Header: headerOf(t, `ETag: "a"`)}
	request := headerOf(t, "Accept: application/json", "X-Api-Key: k")
	for i := range tabled {
		s := time.Duration(i) * time.Second
		var status, age []string
		modified := true
		if n := testing.AllocsPerRun(1, func() {
			status, age = HitStatus(s, i%2 == 0, a.Before), AgeValue(s)
			modified = !NotModified(request, a)
		}); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
		if age[0] != strconv.Itoa(i) || status[0] != (Status{TTL: s, Detail: hitDetail(i%2 == 0)}).String() || !modified {
			t.Errorf("%s: wrong values: %q, %q", s, age, status)
		}
	}
}
