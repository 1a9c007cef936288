package knock

import (
	"slices"
	"strconv"
	"testing"
)

// TestClassify goes through every shape of a body under every status that means something, and its neighbours.
func TestClassify(t *testing.T) {
	const (
		prospect  = `{"prospectId":"42","smsConsent":false}`
		says      = `{"errorMessage":"Unable to get prospect upstream - Prospect_id 0 does not exist."}`
		otherwise = `{"errorMessage":"Something is wrong."}`
		refused   = `{"message":"Forbidden"}`
		notJSON   = `<p>does not exist</p>`
		empty     = ``
	)
	ordinary := []int{200, 201, 202, 204, 206, 226, 299, 407}
	for _, test := range []struct {
		name     string
		statuses []int
		want     map[string]Class // of each body
	}{
		{"2xx and 407 are never taken for anything else", ordinary, map[string]Class{
			prospect: Answered, says: Answered, otherwise: Answered, refused: Answered, notJSON: Answered, empty: Answered,
		}},
		{"404: an errorMessage is enough", []int{404}, map[string]Class{
			prospect: Answered, says: NotExist, otherwise: NotExist, refused: Answered, notJSON: Answered, empty: Answered,
		}},
		{"3xx and other 4xx: what errorMessage says", []int{300, 301, 302, 304, 307, 308, 400, 402, 405, 409, 410, 422, 428, 430, 499}, map[string]Class{
			prospect: Answered, says: NotExist, otherwise: Answered, refused: Answered, notJSON: Answered, empty: Answered,
		}},
		{"5xx: the same, else failed", []int{500, 501, 502, 503, 504, 599, 600, 999}, map[string]Class{
			prospect: Failed, says: NotExist, otherwise: Failed, refused: Failed, notJSON: Failed, empty: Failed,
		}},
		{"401 refuses the key, whatever it says", []int{401}, map[string]Class{
			prospect: KeyRefused, says: KeyRefused, otherwise: KeyRefused, refused: KeyRefused, notJSON: KeyRefused, empty: KeyRefused,
		}},
		{"403 refuses the key in the gateway's shape only", []int{403}, map[string]Class{
			prospect: ProspectDenied, says: ProspectDenied, otherwise: ProspectDenied, refused: KeyRefused, notJSON: ProspectDenied, empty: ProspectDenied,
		}},
		{"429 throttles, whatever it says", []int{429}, map[string]Class{
			prospect: Throttled, says: Throttled, otherwise: Throttled, refused: Throttled, notJSON: Throttled, empty: Throttled,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, status := range test.statuses {
				for body, want := range test.want {
					if got := Classify(status, ReadFields([]byte(body), "42")); got != want {
						t.Errorf("%d %q is of class %d, want %d", status, body, got, want)
					}
				}
			}
		})
	}
}

func TestStatusReason(t *testing.T) {
	for reason, statuses := range map[string][]int{
		"":           {200, 204, 302, 400, 401, 403, 404, 407, 428, 499},
		"status_429": {429},
		"status_5xx": {500, 502, 503, 504, 599, 999},
	} {
		for _, status := range statuses {
			t.Run(strconv.Itoa(status), func(t *testing.T) {
				if got := statusReason(status); got != reason {
					t.Errorf("got %q, want %q", got, reason)
				}
			})
		}
	}
}

// TestReasonsAreMetricLabels: every fault has a name of its own, and a reason out of the closed set of CONTRACT's
// knockproxy_upstream_errors_total, or none.
func TestReasonsAreMetricLabels(t *testing.T) {
	names := make(map[string]Fault)
	for fault := range nFaults {
		if before, twice := names[fault.String()]; twice || fault.String() == "" {
			t.Errorf("faults %d and %d are both called %q", before, fault, fault)
		}
		names[fault.String()] = fault
		if !slices.Contains([]string{"", "timeout", "connect", "tls", "too_large", "malformed"}, fault.Reason()) {
			t.Errorf("%s: %q is no reason", fault, fault.Reason())
		}
	}
}
