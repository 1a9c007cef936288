package main

import (
	"fmt"
	"io"
	"net/http"
)

// runHealth is `knockproxy health`: the health check of a container without a shell.
func runHealth(args, _ []string, stdout, stderr io.Writer) int {
	fs := newFlagSet("health", "Exit with 0 if a running proxy is ready, else with 1.", "[-admin URL]")
	admin := fs.String("admin", defaultAdminURL, "`URL` of the admin listener")
	if code, done := parseFlags(fs, args, stdout, stderr); done {
		return code
	}
	code, body, err := callAdmin(http.MethodGet, *admin, "/readyz", "")
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "health:", err)
		return exitFailed
	case code != http.StatusOK:
		fmt.Fprintf(stderr, "health: not ready: %d %s\n", code, body)
		return exitFailed
	}
	fmt.Fprintln(stdout, body)
	return exitDone
}
