package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	defaultAdminURL = "http://127.0.0.1:8081"
	adminTimeout    = 30 * time.Second
)

// runPurge is `knockproxy purge`.
func runPurge(args, env []string, stdout, stderr io.Writer) int {
	fs := newFlagSet("purge", "Empty a prospect, a partner or all from a running proxy's cache.\n"+
		"The token is taken from KNOCKPROXY_ADMIN_TOKEN, or from the file that KNOCKPROXY_ADMIN_TOKEN_FILE names.",
		"[-admin URL] (-prospect ID | -partner NAME | -all)")
	admin := fs.String("admin", defaultAdminURL, "`URL` of the admin listener")
	prospect := fs.String("prospect", "", "purge the prospect with this `ID`, for every partner")
	partner := fs.String("partner", "", "purge all that the partner with this `NAME` has in the cache")
	all := fs.Bool("all", false, "purge everything")
	if code, done := parseFlags(fs, args, stdout, stderr); done {
		return code
	}
	path, ok := purgePath(*prospect, *partner, *all)
	if !ok {
		fmt.Fprintln(stderr, "exactly one of -prospect, -partner and -all is needed")
		fs.SetOutput(stderr)
		fs.Usage()
		return exitUsage
	}
	token, err := adminToken(env)
	if err != nil {
		fmt.Fprintln(stderr, "purge:", err)
		return exitFailed
	}
	code, body, err := callAdmin(http.MethodDelete, *admin, path, token)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "purge:", err)
		return exitFailed
	case code != http.StatusOK:
		fmt.Fprintf(stderr, "purge: the proxy answered %d: %s\n", code, body)
		return exitFailed
	}
	fmt.Fprintln(stdout, body)
	return exitDone
}

// purgePath is the admin call for what is to be purged; false: not exactly one thing is.
func purgePath(prospect, partner string, all bool) (string, bool) {
	var paths []string
	if prospect != "" {
		paths = append(paths, "/cache/prospects/"+segment(prospect))
	}
	if partner != "" {
		paths = append(paths, "/cache/partners/"+segment(partner))
	}
	if all {
		paths = append(paths, "/cache")
	}
	if len(paths) != 1 {
		return "", false
	}
	return paths[0], true
}

// segment is one segment of a path, whatever is in it: the segment ".." as it is would make a partner's path that of all.
func segment(s string) string { return strings.ReplaceAll(url.PathEscape(s), ".", "%2E") }

// adminToken is the token as serve would take it from the environment.
func adminToken(env []string) (string, error) {
	values := make(map[string]string)
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		values[name] = value
	}
	name := variableName("admin.token")
	if values[name] != "" {
		return values[name], nil
	}
	file := values[name+"_FILE"]
	if file == "" {
		return "", fmt.Errorf("%s is not set", name)
	}
	content, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	token := cutNewline(string(content))
	if token == "" {
		return "", fmt.Errorf("%s_FILE: %s is empty", name, file)
	}
	return token, nil
}

// callAdmin calls the admin listener and returns its answer's status and body.
func callAdmin(method, base, path, token string) (code int, body string, err error) {
	req, err := http.NewRequest(method, strings.TrimSuffix(base, "/")+path, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{
		Timeout:       adminTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it would be another call
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	content, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, strings.TrimSpace(string(content)), err
}
