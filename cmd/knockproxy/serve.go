package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"knockproxy/cache"
	"knockproxy/metrics"
	"knockproxy/proxy"
	"knockproxy/proxy/knock"
	"knockproxy/proxy/policy"
)

// runServe is `knockproxy serve`.
func runServe(args, env []string, stdout, stderr io.Writer) int {
	fs := newFlagSet("serve", "Run the proxy.", "[-config FILE]")
	file := fs.String("config", "", "read `FILE`; without it, defaults and the environment only")
	if code, done := parseFlags(fs, args, stdout, stderr); done {
		return code
	}
	c, err := loadConfig(*file, env)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	signals, stop := shutdownSignals()
	defer stop()
	return serve(c, newLog(c, stderr), signals, nil)
}

// serve runs the proxy until a signal has drained it, and returns the exit code. ready, if not nil, is called with the
// addresses once both listeners are open.
func serve(c *config, log *slog.Logger, signals <-chan os.Signal, ready func(listen, admin string)) int {
	app, err := build(c, log)
	if err != nil {
		log.Error("cannot start", "err", err)
		return exitFailed
	}
	defer app.close()
	return app.run(c, log, signals, ready)
}

// app is the proxy, wired.
type app struct {
	state  *state
	public http.Handler
	admin  http.Handler
	cache  *cache.Cache[*policy.Answer]
	client *knock.Client
}

// build wires the proxy: metrics, then what counts in them, then the two handlers.
func build(c *config, log *slog.Logger) (*app, error) {
	registry := prometheus.NewRegistry()
	m := metrics.New(registry)
	sum := sha256.Sum256(c.TOML())
	m.Describe(version(), revision(), runtime.Version(), hex.EncodeToString(sum[:]))

	answers, err := cache.New(cache.Options[*policy.Answer]{
		MaxBytes: uint64(c.Cache.Memory.MaxBytes), //nolint:gosec // positive, by the configuration's check
		Size:     (*policy.Answer).Size,
		Deadline: c.Upstream.Deadline,
		Try:      min(c.Upstream.Timeout, c.Upstream.Deadline),
		Metrics:  m,

		Redis: sharedTier(c, log), Codec: policy.Codec{}, MemoryTTL: c.Cache.Memory.TTL, Longest: longestKept(c),
	})
	if err != nil {
		return nil, err
	}
	client := knock.NewClient(knock.Options{URL: c.Upstream.URL, Timeout: c.Upstream.Timeout, MaxBody: c.Upstream.MaxBody, Metrics: m})
	public, err := proxy.New(proxy.Options{
		Client: client, Cache: answers, Caps: caps(c), Secret: c.Cache.Secret,
		Partners: partners(c), AllowUnlisted: c.Auth.AllowUnlistedKeys, ForwardTimeout: c.Upstream.ForwardTimeout,
		Metrics: m, Log: log, Access: access(c),
	})
	if err != nil {
		answers.Close()
		return nil, err
	}
	s := &state{}
	return &app{state: s, public: public, admin: newAdmin(c, s, answers, public, registry), cache: answers, client: client}, nil
}

func (a *app) close() {
	a.cache.Close()
	a.client.Close()
}

// sharedTier is nil without Redis.
func sharedTier(c *config, log *slog.Logger) *cache.RedisOptions {
	if c.Cache.Redis.URL == "" {
		return nil
	}
	return &cache.RedisOptions{
		URL: c.Cache.Redis.URL, Prefix: c.Cache.Redis.Prefix, Timeout: c.Cache.Redis.Timeout, Secret: c.Cache.Secret, Log: log,
	}
}

// longestKept is the longest time for which any answer is of use.
func longestKept(c *config) time.Duration {
	return max(c.Cache.TTL, c.Cache.TTLWithConsent, c.Cache.NegativeTTL, c.Cache.MaxTTL)
}

func caps(c *config) policy.Caps {
	return policy.Caps{
		TTL: c.Cache.TTL, TTLWithConsent: c.Cache.TTLWithConsent, NegativeTTL: c.Cache.NegativeTTL, MaxTTL: c.Cache.MaxTTL,
		IgnoreUpstream: c.Cache.IgnoreUpstreamCacheControl,
	}
}

func partners(c *config) []proxy.Partner {
	all := make([]proxy.Partner, 0, len(c.Partners))
	for _, p := range c.Partners {
		all = append(all, proxy.Partner{Name: p.Name, APIKey: p.APIKey, Tokens: p.Tokens})
	}
	return all
}

func access(c *config) proxy.Access {
	return map[string]proxy.Access{"all": proxy.AccessAll, "misses": proxy.AccessMisses, "off": proxy.AccessOff}[c.Log.Access]
}

// newLog writes to w: for people where that is a terminal, else for machines, unless the configuration says which.
func newLog(c *config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Log.Level}
	if c.Log.Format == "text" || c.Log.Format == "" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
