package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
)

// newFlagSet returns the flag set of one subcommand. Its help is the summary, one line that says what the command
// does, the usage, which is what follows the command's name on a command line, and the flags.
func newFlagSet(name, summary, usage string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.Usage = func() {
		line := "knockproxy " + name
		if usage != "" {
			line += " " + usage
		}
		fmt.Fprintf(fs.Output(), "%s\n\nusage: %s\n", summary, line)
		fs.PrintDefaults()
	}
	return fs
}

// parseFlags parses a subcommand's arguments, of which none may be left over. Where done is true the command ends
// with code: 0 for -h, with the help on stdout, and 2 for a mistake, with what it is and the help on stderr.
func parseFlags(fs *flag.FlagSet, args []string, stdout, stderr io.Writer) (code int, done bool) {
	// flag knows one output only, and writes to it before it tells what it met.
	var out bytes.Buffer
	fs.SetOutput(&out)
	err := fs.Parse(args)
	if err == nil && fs.NArg() > 0 {
		fmt.Fprintf(&out, "unexpected argument: %s\n", fs.Arg(0))
		fs.Usage()
		err = errStrayArgument
	}
	switch {
	case err == nil:
		return 0, false
	case errors.Is(err, flag.ErrHelp):
		_, _ = stdout.Write(out.Bytes())
		return 0, true
	}
	_, _ = stderr.Write(out.Bytes())
	return 2, true
}

var errStrayArgument = errors.New("unexpected argument")
