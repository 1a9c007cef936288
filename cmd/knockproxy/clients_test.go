package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// requireTool is the path of a program that a test cannot do without. Where it is not installed the test is skipped, or
// fails if KNOCKPROXY_TEST_REQUIRE=all.
func requireTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name)
	}
	return path
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("KNOCKPROXY_TEST_REQUIRE") == "all" {
		t.Fatalf("%s is not installed, and KNOCKPROXY_TEST_REQUIRE=all", what)
	}
	t.Skipf("%s is not installed", what)
}

// requirePython is the path of a Python that has a module: the first of the PATH, or the system's.
func requirePython(t *testing.T, module string) string {
	t.Helper()
	for _, path := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(path, "-c", "import "+module).Run() == nil {
			return path
		}
	}
	missing(t, "python3 with "+module)
	return ""
}

// runTool runs a program in an environment that leads to no proxy and no settings of a user, and returns its stdout.
func runTool(t *testing.T, path string, args ...string) string {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, stdout, &stderr)
	}
	return string(stdout)
}

func startDemo(t *testing.T) *process {
	t.Helper()
	return startProcess(t, nil, "demo", "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0")
}

// What a client of the article reads: a prospect, the same from the cache, and both errors of the article.
var (
	articleIDs = []string{"47569637", "47569637", "0", "xxx"}
	articleSay = `200 47569637 false false
200 47569637 false true
404 Unable to get prospect upstream - Prospect_id 0 does not exist.
400 Id xxx is not a valid prospect id. Id must be a number.
`
)

// The article's sample works with only its base URL changed.
func TestFetch(t *testing.T) {
	node := requireTool(t, "node")
	demo := startDemo(t)
	args := append([]string{"testdata/clients/fetch.mjs", "http://" + demo.listen}, articleIDs...)
	if got := runTool(t, node, args...); got != articleSay {
		t.Errorf("printed\n%s\nwant\n%s", got, articleSay)
	}
}

func TestPythonRequests(t *testing.T) {
	python := requirePython(t, "requests")
	demo := startDemo(t)
	args := append([]string{"testdata/clients/requests_get.py", "http://" + demo.listen}, articleIDs...)
	if got := runTool(t, python, args...); got != articleSay {
		t.Errorf("printed\n%s\nwant\n%s", got, articleSay)
	}
}

// Each line that the demo prints can be pasted into a shell.
func TestCurlLines(t *testing.T) {
	requireTool(t, "curl")
	sh := requireTool(t, "sh")
	demo := startDemo(t)
	file := outputFile(demo.outputs, demo.cmd.Process.Pid, "stdout")
	for i, want := range []string{
		"fwd=uri-miss; fwd-status=200; stored",
		"knockproxy; hit; ",
		"fwd=uri-miss; fwd-status=200; stored",
		"fwd=method; fwd-status=200",
		`"smsConsent":true`,
		"HTTP/1.1 404 Not Found",
		`{"purged":1,"scope":"local"}`,
		"\nknockproxy_cache_invalidations_total",
	} {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			line, err := awaitCurlLine(file, i+1)
			if err != nil {
				t.Fatal(err)
			}
			if got := runTool(t, sh, "-c", line); !strings.Contains(got, want) {
				t.Errorf("%s\nprinted\n%s\nwant %s in it", line, got, want)
			}
		})
	}
}
