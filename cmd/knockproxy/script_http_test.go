package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdHTTP is `http METHOD URL ['Header: value'…] [-d BODY]`. What was answered becomes stdout: the status on a line, one
// line a header, an empty line, the body. `! http` is for who gets no answer at all, and stderr says why.
func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) < 2, "http METHOD URL ['Header: value'…] [-d BODY]")
	r := request{method: args[0], url: args[1]}
	for rest := args[2:]; len(rest) > 0; rest = rest[1:] {
		if rest[0] != "-d" {
			r.headers = append(r.headers, rest[0])
			continue
		}
		usage(ts, len(rest) != 2, "http … -d BODY")
		r.body, rest = rest[1], rest[1:]
	}
	answered, err := r.do(rigOf(ts).admins)
	switch {
	case err != nil:
		_, _ = fmt.Fprintln(ts.Stderr(), err)
		if !neg {
			ts.Fatalf("no answer: %v", err)
		}
		return
	case neg:
		ts.Fatalf("answered: %s", answered)
	}
	_, _ = io.WriteString(ts.Stdout(), answered)
}

// cmdTakes is `takes DURATION METHOD URL …`: http, but the answer is not to come before that time.
func cmdTakes(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 3, "takes DURATION METHOD URL …")
	least, err := time.ParseDuration(args[0])
	ts.Check(err)
	began := time.Now()
	cmdHTTP(ts, false, args[1:])
	if took := time.Since(began); took < least {
		ts.Fatalf("took %s, want %s or more", took, least)
	}
}

// request is an HTTP request of a script.
type request struct {
	method, url string
	headers     []string // "Name: value"
	body        string
}

// plainClient does what it is told to: a connection for each request, no redirects, no decompression, no proxy.
var plainClient = &http.Client{
	Timeout:       patience,
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do returns the answer as text. Answers of the admin listeners, which are given by address, may hold nothing personal.
func (r *request) do(admins map[string]bool) (string, error) {
	req, err := http.NewRequest(r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return "", err
	}
	for _, line := range r.headers {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return "", fmt.Errorf("no header: %s", line)
		}
		req.Header.Add(name, value)
	}
	res, err := plainClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	fmt.Fprintln(&text, res.Status)
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		for _, value := range res.Header[name] {
			fmt.Fprintf(&text, "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(&text, "\n%s\n", strings.TrimSuffix(string(body), "\n"))
	if admins[req.URL.Host] && personal.MatchString(text.String()) {
		return "", fmt.Errorf("the admin listener tells something personal:\n%s", text.String())
	}
	return text.String(), nil
}

// cmdTry is `try NAME N`: it sends the Nth request that the process NAME proposes with a line of curl, as http would.
func cmdTry(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 2, "try NAME N")
	rig := rigOf(ts)
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	line, err := awaitCurlLine(outputFile(rig.outputs, rig.pids[args[0]], "stdout"), n)
	ts.Check(err)
	r, err := parseCurl(line)
	ts.Check(err)
	answered, err := r.do(rig.admins)
	ts.Check(err)
	_, _ = io.WriteString(ts.Stdout(), answered)
}

var curlLine = regexp.MustCompile(`(?m)^ *(curl .*)\n`)

// awaitCurlLine waits for the nth line of a file that is one of curl.
func awaitCurlLine(file string, n int) (line string, err error) {
	err = eventually(fmt.Sprintf("curl line %d", n), func() (bool, error) {
		text, _ := os.ReadFile(file)
		lines := curlLine.FindAllSubmatch(text, -1)
		if len(lines) < n {
			return false, nil
		}
		line = string(lines[n-1][1])
		return true, nil
	})
	return line, err
}

// word is one of a shell's words: bare or in single quotes.
var word = regexp.MustCompile(`'([^']*)'|[^\s']+`)

// parseCurl reads a line of curl with the options -i, -H, -X and -d. What follows # is a comment.
func parseCurl(line string) (*request, error) {
	var words []string
	for _, m := range word.FindAllStringSubmatch(line, -1) {
		if m[0] == "#" {
			break
		}
		if m[0][0] == '\'' {
			m[0] = m[1]
		}
		words = append(words, m[0])
	}
	r := &request{method: http.MethodGet}
	flags := flag.NewFlagSet("curl", flag.ContinueOnError)
	flags.Bool("i", false, "")
	flags.StringVar(&r.method, "X", r.method, "")
	flags.Func("H", "", func(header string) error { r.headers = append(r.headers, header); return nil })
	flags.Func("d", "", func(body string) error { r.method, r.body = http.MethodPost, body; return nil })
	if err := flags.Parse(words[1:]); err != nil {
		return nil, err
	}
	if flags.NArg() != 1 {
		return nil, fmt.Errorf("not one URL: %s", line)
	}
	r.url = flags.Arg(0)
	return r, nil
}
