package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"knockproxy/proxy/knock/knocktest"
)

// process is the program in a process of its own.
type process struct {
	*testing.T
	cmd           *exec.Cmd
	outputs       string
	listen, admin string
}

// startProcess starts the program and waits until it listens. env is all its environment.
func startProcess(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath("knockproxy")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{T: t, outputs: t.TempDir(), cmd: exec.Command(path, args...)}
	p.cmd.Env = slices.Concat(env, []string{outputVariable + "=" + p.outputs, "GORACE=" + raceOptions})
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil { // the test ended before it
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	if p.listen, p.admin, err = awaitAddresses(p.outputs, p.cmd.Process); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) signal(sig syscall.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.Fatal(err)
	}
}

func (p *process) wantExit(want int) {
	p.Helper()
	_ = p.cmd.Wait() // an exit code but 0 is an error too
	if code := p.cmd.ProcessState.ExitCode(); code != want {
		log, _ := os.ReadFile(outputFile(p.outputs, p.cmd.Process.Pid, "stderr"))
		p.Errorf("exit code %d, want %d: %s", code, want, log)
	}
}

// startServing starts `knockproxy serve` before a stand-in that holds every answer, and one read that is held there.
func startServing(t *testing.T, env ...string) (p *process, gate *knocktest.Gate, read <-chan string) {
	t.Helper()
	up := knocktest.Start(t, knocktest.Options{})
	p = startProcess(t, append(env, "KNOCKPROXY_SERVER_LISTEN=127.0.0.1:0", "KNOCKPROXY_ADMIN_LISTEN=127.0.0.1:0", "KNOCKPROXY_UPSTREAM_URL="+up.URL), "serve")
	gate = up.Gate(knocktest.All)
	read = ask(http.MethodGet, p.listen, "/prospect/42")
	gate.Wait(1)
	return p, gate, read
}

func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Run("drains", func(t *testing.T) {
				p, gate, read := startServing(t)
				p.signal(sig)
				awaitRefused(t, p.listen)
				gate.Open()
				if got := <-read; got[:4] != "200 " {
					t.Errorf("the request in flight got %s", got)
				}
				p.wantExit(exitDone)
			})
			t.Run("twice", func(t *testing.T) {
				p, _, read := startServing(t, "KNOCKPROXY_SERVER_DRAIN=1h")
				p.signal(sig)
				awaitRefused(t, p.listen)
				p.signal(sig)
				p.wantExit(exitFailed)
				if got := <-read; got[:6] != "error:" {
					t.Errorf("the request in flight got %s", got)
				}
			})
			t.Run("drain runs out", func(t *testing.T) {
				p, _, read := startServing(t, "KNOCKPROXY_SERVER_DRAIN=20ms")
				p.signal(sig)
				p.wantExit(exitFailed)
				if got := <-read; got[:6] != "error:" {
					t.Errorf("the request in flight got %s", got)
				}
			})
		})
	}
}

// TestSilentConnectionsDoNotHoldTheDrain: nor does half a request.
func TestSilentConnectionsDoNotHoldTheDrain(t *testing.T) {
	p, gate, read := startServing(t, "KNOCKPROXY_SERVER_DRAIN=100ms")
	gate.Open()
	<-read
	for _, sent := range []string{"", "GET /prospect/1 HTTP/1.1\r\nHo"} {
		conn, err := net.Dial("tcp", p.listen)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(exitDone)
}
