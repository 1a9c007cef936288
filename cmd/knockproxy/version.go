package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// release is the version of a release build, set by -ldflags "-X main.release=1.2.3".
var release = ""

// runVersion is `knockproxy version`.
func runVersion(args, _ []string, stdout, stderr io.Writer) int {
	fs := newFlagSet("version", "Print version, commit and Go version.", "")
	if code, done := parseFlags(fs, args, stdout, stderr); done {
		return code
	}
	fmt.Fprintf(stdout, "knockproxy %s, commit %s, %s\n", version(), revision(), runtime.Version())
	return exitDone
}

func version() string {
	if release != "" {
		return release
	}
	return "devel"
}

// revision is the commit that was built, marked where the tree had changes; "unknown" where the build did not record it.
func revision() string {
	info, _ := debug.ReadBuildInfo()
	found, dirty := "unknown", ""
	if info == nil {
		return found
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			found = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	return found + dirty
}
