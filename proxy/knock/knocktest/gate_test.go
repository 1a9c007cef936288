package knocktest_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"knockproxy/proxy/knock/knocktest"
)

func TestGateSide(t *testing.T) {
	for name, test := range map[string]struct {
		side func(knocktest.Fault) knocktest.Fault
		want string
	}{
		"by itself":      {func(f knocktest.Fault) knocktest.Fault { return f }, "1"},
		"late":           {knocktest.Fault.Late, "1"},
		"early":          {knocktest.Fault.Early, "2"},
		"there and back": {func(f knocktest.Fault) knocktest.Fault { return f.Early().Late() }, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			up := knocktest.Start(t, knocktest.Options{})
			gate := up.NewGate()
			up.Next("42", test.side(gate.Hold()), knocktest.ShowVersion())
			answers := make(chan reply, 1)
			go func() {
				got, _ := try("GET", up.URL+"/prospect/42", "")
				answers <- got
			}()
			gate.Wait(1)
			up.Edit("42", func(*knocktest.Prospect) {})
			gate.Open()
			if got := (<-answers).header.Get("X-Knocktest-Version"); got != test.want {
				t.Errorf("version %s, want %s", got, test.want)
			}
		})
	}
}

func TestGatePass(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	gate := up.Gate("42", knocktest.Method("GET"))
	ask(t, "HEAD", up.URL+"/prospect/42", "") // not the gate's
	done := make(chan string)
	for i, key := range []string{"first", "second"} {
		go func() {
			_, _ = try("GET", up.URL+"/prospect/42", "", "x-api-key", key)
			done <- key
		}()
		gate.Wait(i + 1)
	}
	gate.Pass(1)
	if got := <-done; got != "first" {
		t.Errorf("the %s passed first", got)
	}
	gate.Pass(2) // one more than is held
	<-done
	get(t, up, "42")
	if gate.Arrived() != 3 {
		t.Errorf("%d arrived", gate.Arrived())
	}
	gate.Open()
	get(t, up, "42")
	gate.Close()
	go func() {
		_, _ = try("GET", up.URL+"/prospect/42", "")
		done <- "last"
	}()
	gate.Wait(5)
	up.Reset()
	<-done
}

// A client that leaves uses up no Pass.
func TestGateForgetsWhoLeft(t *testing.T) {
	up := knocktest.Start(t, knocktest.Options{})
	gate := up.Gate("42")
	r := httptest.NewRequest("GET", "/prospect/42", nil)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan any)
	go func() {
		defer func() { left <- recover() }()
		up.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
	}()
	gate.Wait(1)
	leave()
	if cut := <-left; cut == nil {
		t.Error("not cut")
	}
	done := make(chan struct{})
	go func() {
		_, _ = try("GET", up.URL+"/prospect/42", "")
		close(done)
	}()
	gate.Wait(2)
	gate.Pass(1)
	<-done
}
