package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// maxHeaderBytes makes requests with more than 64 KiB of headers get 431: net/http adds 4 KiB of its own to it.
	maxHeaderBytes = 60 << 10
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute // longer than clients and load balancers keep theirs
	adminGrace     = time.Second     // for a scrape under way when everything else has ended
)

// state is what /readyz tells.
type state struct{ ready, draining atomic.Bool }

// shutdownSignals are those that drain the process: the first drains, a second ends it.
func shutdownSignals() (<-chan os.Signal, func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return signals, func() { signal.Stop(signals) }
}

// run listens, serves until a signal, drains, and returns the exit code.
func (a *app) run(c *config, log *slog.Logger, signals <-chan os.Signal, ready func(listen, admin string)) int {
	public, err := listen("server.listen", c.Server.Listen)
	if err != nil {
		log.Error("cannot start", "err", err)
		return exitFailed
	}
	admin, err := listen("admin.listen", c.Admin.Listen)
	if err != nil {
		_ = public.Close() // nothing was accepted
		log.Error("cannot start", "err", err)
		return exitFailed
	}
	busy := &inHandler{Handler: a.public}
	servers := [2]*http.Server{newServer(busy, log), newServer(a.admin, log)}
	ended := make(chan error, len(servers))
	go func() { ended <- serveOn("server.listen", servers[0], public) }()
	go func() { ended <- serveOn("admin.listen", servers[1], admin) }()

	a.state.ready.Store(true)
	log.Info("ready", "listen", public.Addr().String(), "admin", admin.Addr().String(), "version", version())
	if ready != nil {
		ready(public.Addr().String(), admin.Addr().String())
	}
	defer servers[1].Close() //nolint:errcheck // ending anyhow
	defer servers[0].Close() //nolint:errcheck // ending anyhow
	select {
	case err := <-ended:
		log.Error("listener failed", "err", err)
		return exitFailed
	case sig := <-signals:
		log.Info("draining", "signal", sig.String())
	}
	a.state.draining.Store(true)
	if err := drain(c, servers, busy, signals, ended); err != nil {
		log.Error("ended before all requests were answered", "err", err)
		return exitFailed
	}
	log.Info("drained")
	return exitDone
}

func listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		DisableGeneralOptionsHandler: true, // OPTIONS * is the upstream's to answer
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// inHandler counts the requests that are being answered: connections without one need not be waited for, though
// net/http does for some seconds.
type inHandler struct {
	http.Handler
	requests atomic.Int64
}

func (h *inHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	defer h.requests.Add(-1)
	h.Handler.ServeHTTP(w, r)
}

func serveOn(key string, s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// drain serves on for drain_delay, with readiness off, so that load balancers notice; then it takes no new connection and
// waits up to drain for the requests in flight, the public ones first. A second signal ends the waiting.
func drain(c *config, servers [2]*http.Server, busy *inHandler, signals <-chan os.Signal, ended <-chan error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case sig := <-signals:
			cancel(fmt.Errorf("a second signal: %s", sig))
		case <-ctx.Done():
		}
	}()
	select {
	case <-time.After(c.Server.DrainDelay):
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	waiting, stop := context.WithTimeoutCause(ctx, c.Server.Drain, fmt.Errorf("server.drain of %s ran out", c.Server.Drain))
	defer stop()
	if err := servers[0].Shutdown(waiting); err != nil && (busy.requests.Load() > 0 || ctx.Err() != nil) {
		return errors.Join(context.Cause(waiting), ignoreContext(err))
	}
	lastly, stop := context.WithTimeout(ctx, adminGrace)
	defer stop()
	_ = servers[1].Shutdown(lastly) // a profile under way is cut off
	return nil
}

// ignoreContext drops a context's own error, whose cause says more.
func ignoreContext(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
