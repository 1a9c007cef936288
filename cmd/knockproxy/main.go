// Command knockproxy is a caching read-through proxy in front of Knock's prospect API.
package main

import (
	"io"
	"log"
	"os"
)

func main() {
	log.SetOutput(io.Discard) // net/http quotes there what an upstream sends unasked: it may be personal data
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
