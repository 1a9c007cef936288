package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A redirect would make one purge another, or take the token elsewhere: it is told, and not followed.
func TestAdminCallsFollowNoRedirect(t *testing.T) {
	var calls atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.URL.Path != "/followed" {
			http.Redirect(w, r, "/followed", http.StatusTemporaryRedirect)
		}
	}))
	defer elsewhere.Close()
	env := []string{"KNOCKPROXY_ADMIN_TOKEN=" + marker}
	for _, args := range [][]string{{"purge", "-admin", elsewhere.URL, "-all"}, {"health", "-admin", elsewhere.URL}} {
		t.Run(args[0], func(t *testing.T) {
			calls.Store(0)
			var stdout, stderr strings.Builder
			if code := run(args, env, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "307") {
				t.Errorf("exit code %d, %s", code, &stderr)
			}
			if calls.Load() != 1 {
				t.Errorf("%d calls, want 1", calls.Load())
			}
		})
	}
}
