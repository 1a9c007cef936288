package main

import (
	"fmt"
	"io"
	"strings"
)

// Exit codes of every command.
const (
	exitDone   = 0 // -h too
	exitFailed = 1 // the job failed
	exitUsage  = 2
)

// command is one subcommand.
type command struct {
	name, summary string
	run           func(args, env []string, stdout, stderr io.Writer) int
}

func commands() []command {
	return []command{
		{"serve", "run the proxy (also what a bare knockproxy does)", runServe},
		{"demo", "run the proxy over a stand-in of the Knock API, on this machine alone", runDemo},
		{"sandbox", "run the stand-in of the Knock API alone, for integration tests", runSandbox},
		{"check", "validate the configuration and print what is in effect", runCheck},
		{"purge", "empty a prospect, a partner or all from a running proxy's cache", runPurge},
		{"health", "tell by the exit code whether a running proxy is ready", runHealth},
		{"version", "print version, commit and Go version", runVersion},
	}
}

// run is the program: it returns the exit code.
func run(args, env []string, stdout, stderr io.Writer) int {
	name := "serve"
	if len(args) > 0 && (!strings.HasPrefix(args[0], "-") || isHelp(args[0])) {
		name, args = args[0], args[1:]
	}
	if isHelp(name) || name == "help" {
		printHelp(stdout)
		return exitDone
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(args, env, stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "knockproxy: no such command: %s\n\n", name)
	printHelp(stderr)
	return exitUsage
}

func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

func printHelp(w io.Writer) {
	fmt.Fprint(w, "knockproxy: a caching read-through proxy in front of Knock's prospect API\n\nusage: knockproxy [command] [flags]\n\ncommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\nknockproxy COMMAND -h tells more of one.\n")
}
