package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"knockproxy/proxy/knock/knocktest"
)

// runSandbox is `knockproxy sandbox`.
func runSandbox(args, _ []string, stdout, stderr io.Writer) int {
	fs := newFlagSet("sandbox", "Run the stand-in of the Knock API alone, for integration tests.\n"+
		"Prospect 47569637 is that of Knock's article; ids 1 to 1000000 exist too. Any x-api-key is taken.",
		"[-listen ADDR] [-latency D] [-error-rate F] [-error-status N]")
	address := fs.String("listen", "127.0.0.1:9090", "`ADDR` to listen on")
	latency := fs.Duration("latency", 0, "how long each answer takes")
	rate := fs.Float64("error-rate", 0, "`share` of requests that fail, 0 to 1")
	failure := fs.Int("error-status", http.StatusInternalServerError, "`status` of those that fail")
	if code, done := parseFlags(fs, args, stdout, stderr); done {
		return code
	}
	if *latency < 0 || !(*rate >= 0 && *rate <= 1) || *failure < 400 || *failure > 599 {
		fmt.Fprintln(stderr, "-latency cannot be negative, -error-rate is 0 to 1, -error-status 400 to 599")
		return exitUsage
	}
	knock := knocktest.New(knocktest.Options{})
	defer knock.Close() //nolint:errcheck // never fails
	if *latency > 0 {
		knock.Always(knocktest.All, knocktest.Latency(*latency))
	}
	if *rate > 0 {
		knock.Always(knocktest.All, knocktest.Failure(*failure).Rate(*rate))
	}
	signals, stop := shutdownSignals()
	defer stop()
	l, err := net.Listen("tcp", *address)
	if err != nil {
		fmt.Fprintln(stderr, "sandbox:", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "a stand-in of the Knock API is at http://%s\n\n  curl -H 'x-api-key: %s' http://%s/prospect/%s\n",
		l.Addr(), knocktest.TestKey, l.Addr(), knocktest.ArticleID)
	return sandboxUntilSignal(l, knock, signals, stderr)
}

func sandboxUntilSignal(l net.Listener, h http.Handler, signals <-chan os.Signal, stderr io.Writer) int {
	s := newServer(h, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		fmt.Fprintln(stderr, "sandbox:", err)
		return exitFailed
	case <-signals:
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	go func() { <-signals; cancel() }()
	if err := s.Shutdown(ctx); err != nil {
		fmt.Fprintln(stderr, "sandbox: ended before all requests were answered")
		return exitFailed
	}
	return exitDone
}

// runDemo is `knockproxy demo`: nothing is taken from the environment.
func runDemo(args, _ []string, stdout, stderr io.Writer) int {
	fs := newFlagSet("demo", "Run the proxy over an in-process stand-in of the Knock API, memory cache only.", "[-listen ADDR] [-admin ADDR]")
	c := defaultConfig()
	fs.StringVar(&c.Server.Listen, "listen", "127.0.0.1:8080", "`ADDR` of the proxy")
	fs.StringVar(&c.Admin.Listen, "admin", "127.0.0.1:8081", "`ADDR` of the admin listener")
	if code, done := parseFlags(fs, args, stdout, stderr); done {
		return code
	}
	knock := knocktest.New(knocktest.Options{})
	defer knock.Close() //nolint:errcheck // never fails
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitFailed
	}
	upstream := newServer(knock, slog.New(slog.DiscardHandler))
	defer upstream.Close() //nolint:errcheck // ending anyhow
	go func() {
		if err := upstream.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(stderr, "demo: the stand-in ended:", err)
		}
	}()
	c.Upstream.URL = &url.URL{Scheme: "http", Host: l.Addr().String()}
	c.Admin.Token = demoToken
	c.Log.Format = "text"
	signals, stop := shutdownSignals()
	defer stop()
	return serve(c, newLog(c, stderr), signals, func(listen, admin string) {
		fmt.Fprintf(stdout, demoLines, listen, admin, knocktest.TestKey, knocktest.ArticleID, demoToken)
	})
}

// demoToken guards the purge calls of the demo, which listens on this machine alone unless it is told otherwise.
const demoToken = "demo"

const demoLines = `
knockproxy is at http://%[1]s, a stand-in of the Knock API behind it. Try:

  curl -i -H 'x-api-key: %[3]s' http://%[1]s/prospect/%[4]s     # fwd=uri-miss: read upstream, and stored
  curl -i -H 'x-api-key: %[3]s' http://%[1]s/prospect/%[4]s     # hit: from memory
  curl -i -H 'x-api-key: other' http://%[1]s/prospect/%[4]s     # another key: another partition, a miss
  curl -i -H 'x-api-key: %[3]s' -H 'Content-Type: application/json' -d '{"prospectId":"%[4]s","smsConsent":true}' http://%[1]s/prospect
  curl -i -H 'x-api-key: %[3]s' http://%[1]s/prospect/%[4]s     # the write emptied it: read anew
  curl -i -H 'x-api-key: %[3]s' http://%[1]s/prospect/0         # does not exist
  curl -i -X DELETE -H 'Authorization: Bearer %[5]s' http://%[2]s/cache/prospects/%[4]s
  curl http://%[2]s/metrics

`
