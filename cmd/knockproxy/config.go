package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// config is the effective configuration: the file and the environment over the defaults. A zero field is the value
// zero, never "use the default". What each key means to an operator stands in config.example.toml.
type config struct {
	Server struct {
		Listen     string        // address of the public listener
		DrainDelay time.Duration // on SIGTERM: how long to serve on with readiness off
		Drain      time.Duration // how long to wait for requests in flight after that
	}
	Admin struct {
		Listen string // address of the admin listener
		Token  string // bearer token of the calls that change something; "" refuses them
		Pprof  bool   // serve /debug/pprof/
	}
	Upstream struct {
		URL            *url.URL      // base URL, with or without a path and a slash at its end
		Timeout        time.Duration // bound on one try of a prospect read
		Deadline       time.Duration // bound on all tries of one prospect read
		ForwardTimeout time.Duration // bound to the response headers of a forwarded request
		MaxBody        int64         // bytes of an answer to a prospect read
	}
	Cache struct {
		TTL                        time.Duration // freshness of a 200 that states none; 0: none
		TTLWithConsent             time.Duration // cap on the age of an answer that may carry SMS consent
		NegativeTTL                time.Duration // freshness of "does not exist"; 0: not cached
		MaxTTL                     time.Duration // cap on a freshness that the upstream states
		IgnoreUpstreamCacheControl bool          // TTL rules whatever the upstream states
		Secret                     string        // keys the partitions; "" where unset
		Memory                     struct {
			MaxBytes int64         // bound of the in-process tier, keys and overhead counted
			TTL      time.Duration // with Redis: how long memory answers without asking there
		}
		Redis struct {
			URL     string        // of the tier that replicas share; "" where there is none
			Timeout time.Duration // bound on one operation
			Prefix  string        // of every key
		}
	}
	Partners []partnerConfig
	Auth     struct {
		AllowUnlistedKeys bool // let a key that is no partner's token pass through as it is
	}
	Log struct {
		Level  slog.Level
		Format string // "text", "json", or "" where unset: text on a terminal, else json
		Access string // "all", "misses" or "off"
	}
}

// partnerConfig is one [[partners]]: whoever sends one of Tokens is the partner Name, and APIKey goes upstream.
type partnerConfig struct {
	Name   string // unique; a label of the metrics
	APIKey string
	Tokens []string // no two alike among all partners, and none equal to any APIKey
}

// key is one row of the table of keys of S. A key of a secret kind has a twin, path + "_file", the path of a file
// that holds the value.
type key[S any] struct {
	path   string // below S's own table, dotted
	preset string // the default, as a variable would say it; "" where there is none
	setting[S]
}

// twinSuffix is what a secret's path ends with where it names a file instead.
const twinSuffix = "_file"

// configKeys is the table of all keys outside [[partners]], in the order in which they are printed: the keys of one
// table stand together. The file, the environment, the defaults and what `check` prints all come from here.
var configKeys = []key[config]{
	{"server.listen", ":8080", field(addressKind, func(c *config) *string { return &c.Server.Listen })},
	{"server.drain_delay", "0s", field(durationKind, func(c *config) *time.Duration { return &c.Server.DrainDelay }, notNegative)},
	{"server.drain", "20s", field(durationKind, func(c *config) *time.Duration { return &c.Server.Drain }, positive)},

	{"admin.listen", "127.0.0.1:8081", field(addressKind, func(c *config) *string { return &c.Admin.Listen })},
	{"admin.token", "", field(secretKind, func(c *config) *string { return &c.Admin.Token }, headerValue)},
	{"admin.pprof", "false", field(boolKind, func(c *config) *bool { return &c.Admin.Pprof })},

	{"upstream.url", "https://stage-syndication.knockrentals.com", field(urlKind, func(c *config) **url.URL { return &c.Upstream.URL }, baseURL)},
	{"upstream.timeout", "3s", field(durationKind, func(c *config) *time.Duration { return &c.Upstream.Timeout }, positive)},
	{"upstream.deadline", "8s", field(durationKind, func(c *config) *time.Duration { return &c.Upstream.Deadline }, positive)},
	{"upstream.forward_timeout", "35s", field(durationKind, func(c *config) *time.Duration { return &c.Upstream.ForwardTimeout }, positive)},
	{"upstream.max_body", "1MiB", field(sizeKind, func(c *config) *int64 { return &c.Upstream.MaxBody }, upTo(1<<30))},

	{"cache.ttl", "30s", field(durationKind, func(c *config) *time.Duration { return &c.Cache.TTL }, notNegative)},
	{"cache.ttl_with_consent", "10s", field(durationKind, func(c *config) *time.Duration { return &c.Cache.TTLWithConsent }, notNegative)},
	{"cache.negative_ttl", "5s", field(durationKind, func(c *config) *time.Duration { return &c.Cache.NegativeTTL }, notNegative)},
	{"cache.max_ttl", "5m", field(durationKind, func(c *config) *time.Duration { return &c.Cache.MaxTTL }, notNegative)},
	{"cache.ignore_upstream_cache_control", "false", field(boolKind, func(c *config) *bool { return &c.Cache.IgnoreUpstreamCacheControl })},
	{"cache.secret", "", field(secretKind, func(c *config) *string { return &c.Cache.Secret }, atLeast32Bytes)},

	{"cache.memory.max_bytes", "64MiB", field(sizeKind, func(c *config) *int64 { return &c.Cache.Memory.MaxBytes }, upTo(1<<40))},
	{"cache.memory.ttl", "1s", field(durationKind, func(c *config) *time.Duration { return &c.Cache.Memory.TTL }, notNegative)},

	{"cache.redis.url", "", field(secretKind, func(c *config) *string { return &c.Cache.Redis.URL }, redisURL)},
	{"cache.redis.timeout", "50ms", field(durationKind, func(c *config) *time.Duration { return &c.Cache.Redis.Timeout }, positive)},
	{"cache.redis.prefix", "knockproxy:", field(stringKind, func(c *config) *string { return &c.Cache.Redis.Prefix }, keyPrefix)},

	// Its default is not one value: see settleUnlisted.
	{"auth.allow_unlisted_keys", "", field(boolKind, func(c *config) *bool { return &c.Auth.AllowUnlistedKeys })},

	{"log.level", "info", field(levelKind, func(c *config) *slog.Level { return &c.Log.Level })},
	{"log.format", "", field(oneOf("text", "json"), func(c *config) *string { return &c.Log.Format })},
	{"log.access", "misses", field(oneOf("all", "misses", "off"), func(c *config) *string { return &c.Log.Access })},
}

// partnersPath is the path of the array of tables that partnerKeys are the keys of.
const partnersPath = "partners"

// partnerKeys is the table of the keys of one [[partners]]. Every one must be given; the environment gives none.
var partnerKeys = []key[partnerConfig]{
	{"name", "", field(stringKind, func(p *partnerConfig) *string { return &p.Name }, partnerName)},
	{"api_key", "", field(secretKind, func(p *partnerConfig) *string { return &p.APIKey }, headerValue)},
	{"tokens", "", field(secretLinesKind, func(p *partnerConfig) *[]string { return &p.Tokens }, notEmpty)},
}

// defaultConfig is the configuration where nobody says anything: nothing comes from a file or the environment.
func defaultConfig() *config {
	c := new(config)
	for _, k := range configKeys {
		if k.preset == "" {
			continue
		}
		if err := k.parse(c, k.preset); err != nil {
			panic(fmt.Sprintf("the default of %s %v", k.path, err))
		}
	}
	c.settleUnlisted()
	return c
}

// settleUnlisted sets what auth.allow_unlisted_keys is where nobody says it: a proxy that knows partners serves them
// alone.
func (c *config) settleUnlisted() {
	c.Auth.AllowUnlistedKeys = len(c.Partners) == 0
}

// keyPaths returns the paths of keys, those of the secrets' twins among them.
func keyPaths[S any](keys []key[S]) []string {
	var all []string
	for _, k := range keys {
		all = append(all, k.path)
		if k.secret {
			all = append(all, k.path+twinSuffix)
		}
	}
	return all
}

// variablePrefix begins the name of every variable that is a key.
const variablePrefix = "KNOCKPROXY_"

// variableName names the environment variable of a key outside [[partners]].
func variableName(path string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}
