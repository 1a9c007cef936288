package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"knockproxy/proxy/knock/knocktest"
)

// TestMain lets the test binary be the program too: tests and scripts run it as knockproxy, in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"knockproxy": func() {
			os.Exit(run(os.Args[1:], os.Environ(), copied(os.Stdout, "stdout"), copied(os.Stderr, "stderr")))
		},
	})
}

// outputVariable names the directory where each process puts a copy of what it prints, as PID.stdout and PID.stderr, so
// that a test can read it while the process runs.
const outputVariable = "TEST_OUTPUT_DIR"

func copied(w io.Writer, name string) io.Writer {
	dir := os.Getenv(outputVariable)
	if dir == "" {
		return w
	}
	f, err := os.Create(outputFile(dir, os.Getpid(), name))
	if err != nil {
		panic(err)
	}
	return io.MultiWriter(w, f)
}

func outputFile(dir string, pid int, name string) string {
	return filepath.Join(dir, fmt.Sprintf("%d.%s", pid, name))
}

// raceOptions keep a process of a test binary made with -race from sleeping for a second before it exits, for the sake of
// goroutines that might yet race.
const raceOptions = "atexit_sleep_ms=0"

const patience = 10 * time.Second // until something that must happen counts as not happening

// eventually polls until done says so, or an error that ends the waiting. A deadline is an error too.
func eventually(what string, done func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		ok, err := done()
		switch {
		case err != nil:
			return fmt.Errorf("waiting for %s: %w", what, err)
		case ok:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("waiting for %s: not within %s", what, patience)
		}
	}
}

// TestScripts runs testdata/script/*.txtar, which read as the manual of the commands. Beside testscript's own commands
// they have those of scriptCommands. Nothing that a script has the program print may hold a secret or personal data.
func TestScripts(t *testing.T) {
	outputs := t.TempDir()
	t.Cleanup(func() { checkOutputs(t, outputs) })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                scriptCommands,
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp(outputs, "")
			if err != nil {
				return err
			}
			env.Setenv(outputVariable, dir)
			env.Setenv("GORACE", raceOptions)
			env.Setenv("KEY", knocktest.TestKey)
			env.Values[rigKey{}] = &scriptRig{outputs: dir, pids: make(map[string]int), upstreams: make(map[string]*knocktest.Server), admins: make(map[string]bool)}
			return nil
		},
	})
}

// personal are what no output of the program and no answer of its admin listener may hold, unless a command line or an
// id asked for it: marker is in every key, token and name of the scripts, the others are emails and phones of the stand-in.
var personal = regexp.MustCompile(marker + `|@example\.com|\+1\d{10}`)

func checkOutputs(t *testing.T, outputs string) {
	files, err := filepath.Glob(filepath.Join(outputs, "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the scripts left %d outputs, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := personal.Find(text); found != nil {
			t.Errorf("%s is in\n%s", found, text)
		}
	}
}

// scriptRig is what one script has running.
type scriptRig struct {
	outputs   string
	pids      map[string]int               // of background processes, by the name that ready gave them
	upstreams map[string]*knocktest.Server // by the name that upstream gave them
	admins    map[string]bool              // addresses of admin listeners: their answers are checked as outputs are
}

type rigKey struct{}

func rigOf(ts *testscript.TestScript) *scriptRig {
	rig, _ := ts.Value(rigKey{}).(*scriptRig)
	return rig
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":    cmdExits,
	"ready":    cmdReady,
	"sigterm":  cmdSigterm,
	"upstream": cmdUpstream,
	"asked":    cmdAsked,
	"http":     cmdHTTP,
	"takes":    cmdTakes,
	"try":      cmdTry,
}

// usage ends a script that uses a command wrongly.
func usage(ts *testscript.TestScript, wrong bool, how string) {
	if wrong {
		ts.Fatalf("usage: %s", how)
	}
}

// cmdExits is `exits CODE PROGRAM [ARG…]`: like exec, but with the very exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 2, "exits CODE PROGRAM [ARG…]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var failed *exec.ExitError
		if !errors.As(err, &failed) {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		code = failed.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

var (
	readyLine   = regexp.MustCompile(`(?m)^.*\bready\b.*\blisten"?[=:]"?([^" ]+)"?.*\badmin"?[=:]"?([^" ]+)"?.*\n`)
	sandboxLine = regexp.MustCompile(`(?m)^a stand-in of the Knock API is at http://(\S+)\n`)
)

// cmdReady is `ready NAME`: it waits until the background process started last listens. $NAME becomes the base URL of
// its listener, $NAME_ADDR its address, $NAME_ADMIN the base URL of the admin listener where there is one.
func cmdReady(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 1, "ready NAME")
	started := ts.BackgroundCmds()
	usage(ts, len(started) == 0, "exec knockproxy … &name&, then: ready NAME")
	process := started[len(started)-1].Process
	rig, name := rigOf(ts), args[0]
	listen, admin, err := awaitAddresses(rig.outputs, process)
	ts.Check(err)
	rig.pids[name] = process.Pid
	ts.Setenv(name, "http://"+listen)
	ts.Setenv(name+"_ADDR", listen)
	if admin != "" {
		rig.admins[admin] = true
		ts.Setenv(name+"_ADMIN", "http://"+admin)
		ts.Setenv(name+"_ADMIN_ADDR", admin)
	}
}

// awaitAddresses waits for the line that says where a process listens. A sandbox has no admin listener.
func awaitAddresses(outputs string, process *os.Process) (listen, admin string, err error) {
	err = eventually("the line that says where it listens", func() (bool, error) {
		gone := process.Signal(syscall.Signal(0)) // before the last look at what it printed
		stdout, _ := os.ReadFile(outputFile(outputs, process.Pid, "stdout"))
		stderr, _ := os.ReadFile(outputFile(outputs, process.Pid, "stderr"))
		if m := readyLine.FindSubmatch(stderr); m != nil {
			listen, admin = string(m[1]), string(m[2])
			return true, nil
		}
		if m := sandboxLine.FindSubmatch(stdout); m != nil {
			listen = string(m[1])
			return true, nil
		}
		if gone != nil {
			return false, fmt.Errorf("it ended: %s%s", stdout, stderr)
		}
		return false, nil
	})
	return listen, admin, err
}

// cmdSigterm is `sigterm NAME`, of a background process that ready has named. (SIGINT is `kill -INT name`.)
func cmdSigterm(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 1, "sigterm NAME")
	pid, ok := rigOf(ts).pids[args[0]]
	usage(ts, !ok, "ready "+args[0]+" first")
	ts.Check(syscall.Kill(pid, syscall.SIGTERM))
}

// scriptTB makes a script a knocktest.TB.
type scriptTB struct{ *testscript.TestScript }

func (scriptTB) Helper() {}

func (tb scriptTB) Cleanup(f func()) { tb.Defer(f) }

// cmdUpstream is `upstream NAME [KEY…]`: a stand-in of the Knock API that takes these keys only, or any. $NAME becomes its
// base URL, $NAME_ADDR its address.
func cmdUpstream(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 1, "upstream NAME [KEY…]")
	up := knocktest.Start(scriptTB{ts}, knocktest.Options{Keys: args[1:]})
	rigOf(ts).upstreams[args[0]] = up
	ts.Setenv(args[0], up.URL)
	ts.Setenv(args[0]+"_ADDR", strings.TrimPrefix(up.URL, "http://"))
}

// cmdAsked is `asked NAME N [KEY]`: the upstream NAME has had N requests so far, or N with KEY.
func cmdAsked(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 2 || len(args) > 3, "asked NAME N [KEY]")
	up, ok := rigOf(ts).upstreams[args[0]]
	usage(ts, !ok, "upstream "+args[0]+" first")
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	var when []knocktest.Match
	if len(args) == 3 {
		when = append(when, knocktest.Key(args[2]))
	}
	if got := up.Count(when...); got != want {
		ts.Fatalf("the upstream had %d requests, want %d", got, want)
	}
}
