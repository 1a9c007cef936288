package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// place is where something was said.
type place struct {
	variable string // the environment variable, or
	line     int    // the line of the file; 0 where there is none
	path     string // the key's path there: that of the twin, where a file was named
}

// fault is one thing that is wrong.
type fault struct {
	file string
	place
	what string // one line; no secret in it
}

func (f fault) String() string {
	switch {
	case f.variable != "":
		return f.variable + ": " + f.path + ": " + f.what
	case f.line == 0:
		return f.file + ": " + f.path + ": " + f.what
	}
	return f.file + ":" + strconv.Itoa(f.line) + ": " + f.path + ": " + f.what
}

// faults are those of the file in its order, then those of the environment in the order of the table.
type faults []fault

// Error has one fault a line.
func (f faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

func (f faults) sort() {
	slices.SortStableFunc(f, func(a, b fault) int {
		if (a.variable == "") != (b.variable == "") {
			return cmp.Compare(a.variable, b.variable)
		}
		return cmp.Compare(a.line, b.line)
	})
}
