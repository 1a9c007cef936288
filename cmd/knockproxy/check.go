package main

import (
	"fmt"
	"io"
)

// runCheck is `knockproxy check`: it loads the configuration as serve would and prints what is in effect, or every
// fault on its own line. Variables that look like ours and are no key are only named: Kubernetes sets some for every
// service, but one may be a key misspelt.
func runCheck(args, env []string, stdout, stderr io.Writer) int {
	fs := newFlagSet("check", "Check the configuration and print what is in effect, secrets redacted.", "[-config FILE]")
	file := fs.String("config", "", "read `FILE`; without it, defaults and the environment only")
	if code, done := parseFlags(fs, args, stdout, stderr); done {
		return code
	}
	c, err := loadConfig(*file, env)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	for _, name := range unknownVariables(env) {
		fmt.Fprintf(stderr, "%s: no key has this variable, ignored\n", name)
	}
	if _, err := stdout.Write(c.TOML()); err != nil {
		fmt.Fprintln(stderr, "writing:", err)
		return 1
	}
	return 0
}
