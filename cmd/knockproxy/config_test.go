package main

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// marker is in every secret of the tests' files and variables, and so must be in nothing that is printed.
const marker = "SECRET-MARKER"

// TestBadFiles loads each testdata/config/bad_*.toml, whose comments "#= LINE: …" are its faults, all of them and in
// this order.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/config/bad_*.toml")
	if err != nil || len(files) < 40 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(data)) {
				if fault, ok := strings.CutPrefix(line, "#= "); ok {
					want = append(want, file+":"+strings.TrimSuffix(fault, "\n"))
				}
			}
			checkFaults(t, file, nil, want...)
		})
	}
}

// checkFaults asserts that a configuration is refused for the reasons want and no others, without telling a secret.
func checkFaults(t *testing.T, file string, environ []string, want ...string) {
	t.Helper()
	c, err := loadConfig(file, environ)
	if err == nil {
		t.Fatalf("loaded %+v, want\n%s", c, strings.Join(want, "\n"))
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if strings.Contains(err.Error(), marker) || strings.Contains(err.Error(), "47569637e") {
		t.Errorf("a secret is in %v", err)
	}
}

// load returns what data and environ make, where that must be right.
func load(t *testing.T, data string, environ ...string) *config {
	t.Helper()
	c, err := configSource{file: "test.toml", data: []byte(data), environ: environ, readFile: os.ReadFile}.load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestUnreadableFile(t *testing.T) {
	checkFaults(t, "testdata/none.toml", []string{"KNOCKPROXY_CACHE_TTL=3"},
		"testdata/none.toml: reading: no such file or directory")
	checkFaults(t, "testdata", nil, "testdata: reading: is a directory")
}

func TestDefaults(t *testing.T) {
	c := defaultConfig()
	for what, ok := range map[string]bool{
		"server.listen":    c.Server.Listen == ":8080",
		"server.drain":     c.Server.Drain == 20*time.Second,
		"admin.token":      c.Admin.Token == "",
		"upstream.url":     c.Upstream.URL.String() == "https://stage-syndication.knockrentals.com",
		"upstream.body":    c.Upstream.MaxBody == 1<<20,
		"cache.max_ttl":    c.Cache.MaxTTL == 5*time.Minute,
		"memory.max_bytes": c.Cache.Memory.MaxBytes == 64<<20,
		"auth":             c.Auth.AllowUnlistedKeys,
		"log.format":       c.Log.Format == "",
		"log.access":       c.Log.Access == "misses",
	} {
		if !ok {
			t.Errorf("the default of %s is wrong in\n%s", what, c.TOML())
		}
	}
	// demo takes nothing from anywhere, and must not differ from a serve that is told nothing.
	nothing, err := loadConfig("", nil)
	if err != nil || !reflect.DeepEqual(nothing, c) {
		t.Errorf("loading nothing gives %+v, %v", nothing, err)
	}
}

func TestTableNamesEveryVariableOnce(t *testing.T) {
	seen := make(map[string]string)
	for _, path := range keyPaths(configKeys) {
		if first, twice := seen[variableName(path)]; twice {
			t.Errorf("%s is the variable of %s and %s", variableName(path), first, path)
		}
		seen[variableName(path)] = path
	}
	for _, name := range []string{"KNOCKPROXY_CACHE_MEMORY_MAX_BYTES", "KNOCKPROXY_ADMIN_TOKEN_FILE", "KNOCKPROXY_UPSTREAM_URL"} {
		if seen[name] == "" {
			t.Errorf("no key has the variable %s", name)
		}
	}
}

func TestEveryKeyFromFile(t *testing.T) {
	c := load(t, `
server = { listen = "[::1]:0", drain_delay = "1.5s", "drain" = "1h30m" }
admin."listen" = "localhost:0"
admin.token = "`+marker+`"
admin.pprof = true
upstream.url = "HTTP://localhost:9090/v1/"
upstream.timeout = '10s'
upstream.deadline = """1s"""
upstream.forward_timeout = "1m"
upstream.max_body = "1KB"
[cache]
ttl = "0s"
ttl_with_consent = "0ms"
negative_ttl = "1µs"
max_ttl = "24h"
ignore_upstream_cache_control = true
secret = "`+marker+`-of-32-bytes-or-more"
memory.max_bytes = "3MB"
memory.ttl = "2s"
redis.url = "rediss://user:`+marker+`@localhost:6380/1"
redis.timeout = "70ms"
redis.prefix = "kp:"
[auth]
allow_unlisted_keys = false
[log]
level = "debug"
format = "json"
access = "off"
`)
	var want config
	want.Server.Listen, want.Server.DrainDelay, want.Server.Drain = "[::1]:0", 1500*time.Millisecond, 90*time.Minute
	want.Admin.Listen, want.Admin.Token, want.Admin.Pprof = "localhost:0", marker, true
	want.Upstream.URL = &url.URL{Scheme: "http", Host: "localhost:9090", Path: "/v1/"}
	want.Upstream.Timeout, want.Upstream.Deadline = 10*time.Second, time.Second
	want.Upstream.ForwardTimeout, want.Upstream.MaxBody = time.Minute, 1000
	want.Cache.NegativeTTL, want.Cache.MaxTTL = time.Microsecond, 24*time.Hour
	want.Cache.IgnoreUpstreamCacheControl, want.Cache.Secret = true, marker+"-of-32-bytes-or-more"
	want.Cache.Memory.MaxBytes, want.Cache.Memory.TTL = 3e6, 2*time.Second
	want.Cache.Redis.URL, want.Cache.Redis.Timeout, want.Cache.Redis.Prefix = "rediss://user:"+marker+"@localhost:6380/1", 70*time.Millisecond, "kp:"
	want.Log.Level, want.Log.Format, want.Log.Access = -4, "json", "off"
	if !reflect.DeepEqual(c, &want) {
		t.Errorf("got  %+v\nwant %+v", *c, want)
	}
}

func TestPartners(t *testing.T) {
	want := []partnerConfig{
		{Name: "Acme Homes", APIKey: "key", Tokens: []string{"one", "two"}},
		{Name: "b", APIKey: "key", Tokens: []string{marker + "-one", marker + "-two", marker + "-three"}},
	}
	for name, data := range map[string]string{
		"tables": `
[[partners]]
name = "Acme Homes"
api_key = "key"
tokens = ["one", "two"]
[[partners]]
name = "b"
api_key = "key"
tokens_file = "testdata/config/secrets/tokens"
`,
		"inline": `partners = [{name = "Acme Homes", api_key = "key", tokens = ["one", "two"]},
{name = "b", api_key = "key", tokens_file = "testdata/config/secrets/tokens"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, data)
			if !reflect.DeepEqual(c.Partners, want) {
				t.Errorf("got %+v", c.Partners)
			}
			if c.Auth.AllowUnlistedKeys {
				t.Error("unlisted keys are allowed beside partners, and nobody said so")
			}
			if c := load(t, data, "KNOCKPROXY_AUTH_ALLOW_UNLISTED_KEYS=true"); !c.Auth.AllowUnlistedKeys {
				t.Error("unlisted keys are refused, though allowed by a variable")
			}
		})
	}
	if c := load(t, "partners = []"); !c.Auth.AllowUnlistedKeys {
		t.Error("unlisted keys are refused though there is no partner")
	}
}

func TestEnvironment(t *testing.T) {
	get := func(field func(c *config) any) func(*config) string {
		return func(c *config) string { return fmt.Sprint(field(c)) }
	}
	token := get(func(c *config) any { return c.Admin.Token })
	ttl := get(func(c *config) any { return c.Cache.TTL })
	const (
		inFile      = "admin.token = 'file'\ncache.ttl = '7s'"
		twinInFile  = "admin.token_file = 'testdata/config/secrets/token'"
		twinMissing = "admin.token_file = 'testdata/config/secrets/missing'"
	)
	for name, test := range map[string]struct {
		file, environ string
		get           func(*config) string
		want          string
	}{
		"over the default":           {"", "KNOCKPROXY_CACHE_TTL=1m", ttl, "1m0s"},
		"over the file":              {inFile, "KNOCKPROXY_CACHE_TTL=1m", ttl, "1m0s"},
		"empty is unset":             {inFile, "KNOCKPROXY_CACHE_TTL=", ttl, "7s"},
		"the first counts":           {"", "KNOCKPROXY_CACHE_TTL=1s KNOCKPROXY_CACHE_TTL=2s", ttl, "1s"},
		"case counts":                {inFile, "knockproxy_cache_ttl=1s KNOCKPROXY_Cache_TTL=1s", ttl, "7s"},
		"bool":                       {"", "KNOCKPROXY_ADMIN_PPROF=true", get(func(c *config) any { return c.Admin.Pprof }), "true"},
		"size":                       {"", "KNOCKPROXY_CACHE_MEMORY_MAX_BYTES=2KiB", get(func(c *config) any { return c.Cache.Memory.MaxBytes }), "2048"},
		"port 0 twice":               {"server.listen = ':0'", "KNOCKPROXY_ADMIN_LISTEN=:0", get(func(c *config) any { return c.Admin.Listen }), ":0"},
		"an equals sign":             {"", "KNOCKPROXY_ADMIN_TOKEN=a=b", token, "a=b"},
		"a secret":                   {inFile, "KNOCKPROXY_ADMIN_TOKEN=variable", token, "variable"},
		"a twin over a secret":       {inFile, "KNOCKPROXY_ADMIN_TOKEN_FILE=testdata/config/secrets/token", token, marker + "-of-a-file"},
		"a secret over a twin":       {twinInFile, "KNOCKPROXY_ADMIN_TOKEN=variable", token, "variable"},
		"a twin over a twin":         {twinMissing, "KNOCKPROXY_ADMIN_TOKEN_FILE=testdata/config/secrets/token", token, marker + "-of-a-file"},
		"what is replaced is unread": {twinMissing, "KNOCKPROXY_ADMIN_TOKEN=variable", token, "variable"},
		"an empty twin is unset":     {twinInFile, "KNOCKPROXY_ADMIN_TOKEN_FILE=", token, marker + "-of-a-file"},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, test.file, strings.Fields(test.environ)...)
			if got := test.get(c); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestBadEnvironment(t *testing.T) {
	for name, test := range map[string]struct{ entry, want string }{
		"number as duration": {
			"KNOCKPROXY_UPSTREAM_TIMEOUT=30",
			`KNOCKPROXY_UPSTREAM_TIMEOUT: upstream.timeout: must be a duration such as "30s", got 30`,
		},
		"zero as duration": {"KNOCKPROXY_CACHE_TTL=0", `KNOCKPROXY_CACHE_TTL: cache.ttl: must be a duration such as "30s", got 0`},
		"negative":         {"KNOCKPROXY_UPSTREAM_TIMEOUT=-1s", "KNOCKPROXY_UPSTREAM_TIMEOUT: upstream.timeout: must be positive, got -1s"},
		"number as size": {
			"KNOCKPROXY_CACHE_MEMORY_MAX_BYTES=1024",
			`KNOCKPROXY_CACHE_MEMORY_MAX_BYTES: cache.memory.max_bytes: must be a size such as "64MiB", got 1024`,
		},
		"bool": {"KNOCKPROXY_ADMIN_PPROF=1", "KNOCKPROXY_ADMIN_PPROF: admin.pprof: must be true or false, got 1"},
		"word": {"KNOCKPROXY_LOG_LEVEL=a\nb", `KNOCKPROXY_LOG_LEVEL: log.level: must be one of debug, info, warn, error, got "a\nb"`},
		"blanks": {
			"KNOCKPROXY_LOG_FORMAT= text",
			`KNOCKPROXY_LOG_FORMAT: log.format: must be one of text, json, got " text"`,
		},
		"no UTF-8": {
			"KNOCKPROXY_SERVER_LISTEN=\xff:1",
			`KNOCKPROXY_SERVER_LISTEN: server.listen: must be host:port with a port of 0 to 65535, got "\xff:1"`,
		},
		"URL with a password": {
			"KNOCKPROXY_UPSTREAM_URL=https://u:" + marker + "@[::1",
			`KNOCKPROXY_UPSTREAM_URL: upstream.url: must be a URL such as "https://example.com"`,
		},
		"secret": {"KNOCKPROXY_CACHE_SECRET=" + marker, "KNOCKPROXY_CACHE_SECRET: cache.secret: must be 32 bytes or more"},
		"secret file": {
			"KNOCKPROXY_CACHE_SECRET_FILE=testdata/config/secrets/token",
			"KNOCKPROXY_CACHE_SECRET_FILE: cache.secret_file: must be 32 bytes or more",
		},
		"missing secret file": {
			"KNOCKPROXY_ADMIN_TOKEN_FILE=none",
			`KNOCKPROXY_ADMIN_TOKEN_FILE: admin.token_file: reading "none": no such file or directory`,
		},
		"listeners": {
			"KNOCKPROXY_SERVER_LISTEN=127.0.0.1:8081",
			"KNOCKPROXY_SERVER_LISTEN: server.listen: must differ from admin.listen, got 127.0.0.1:8081",
		},
	} {
		t.Run(name, func(t *testing.T) { checkFaults(t, "", []string{test.entry}, test.want) })
	}
}

func TestFaultsOfFileComeBeforeThoseOfVariables(t *testing.T) {
	const file = "testdata/config/bad_token_empty.toml"
	checkFaults(t, file, []string{
		"KNOCKPROXY_LOG_LEVEL=loud",
		"KNOCKPROXY_ADMIN_TOKEN=" + marker,
		"KNOCKPROXY_ADMIN_TOKEN_FILE=testdata/config/secrets/token",
	},
		file+":4: admin.token: must not be empty",
		"KNOCKPROXY_ADMIN_TOKEN_FILE: admin.token_file: must not be given together with KNOCKPROXY_ADMIN_TOKEN",
		"KNOCKPROXY_LOG_LEVEL: log.level: must be one of debug, info, warn, error, got loud",
	)
}

func TestUnknownVariables(t *testing.T) {
	environ := []string{
		"KNOCKPROXY_SERVICE_PORT=8080", "HOME=/", "KNOCKPROXY_CACHE_TTL=1s", "KNOCKPROXY_PARTNERS=x", "KNOCKPROXY_EMPTY=",
		"KNOCKPROXY_ADMIN_TOKEN_FILE=x", "KNOCKPROXY_SERVICE_PORT=9", "KNOCKPROXYX=1", "KNOCKPROXY_ADMIN_PPROF_FILE=x",
	}
	want := []string{"KNOCKPROXY_ADMIN_PPROF_FILE", "KNOCKPROXY_PARTNERS", "KNOCKPROXY_SERVICE_PORT"}
	if got := unknownVariables(environ); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSizesAndDurations(t *testing.T) {
	for text, want := range map[string]string{
		"1B": "1B", "1023B": "1023B", "1024B": "1KiB", "1000B": "1KB", "1000KiB": "1000KiB", "1024KiB": "1MiB",
		"64MiB": "64MiB", "2GB": "2GB", "1500MB": "1500MB", "3GiB": "3GiB", "007KB": "7KB", "0GiB": "0B",
		"": "", "MiB": "", "1": "", "1mib": "", "1M": "", "-1B": "", "+1B": "", "1.0KB": "", "1e3B": "", "0x1B": "", "1KiBB": "",
	} {
		n, ok := parseSize(text)
		if got := shortSize(n); ok != (want != "") || ok && got != want {
			t.Errorf("the size %q: %v, %s; want %s", text, ok, got, want)
		}
	}
	for text, want := range map[string]string{
		"0s": "0s", "30s": "30s", "60s": "1m", "5m": "5m", "10m0s": "10m", "90m": "1h30m", "1h0m10s": "1h0m10s", "3600s": "1h",
		"1500ms": "1.5s", "10us": "10µs", "-60s": "-1m", "20h": "20h",
		"": "", "0": "", "-0": "", "+0": "", "30": "", "1d": "", "1s5": "", "s": "", "9999999999h": "",
	} {
		d, ok := parseDuration(text)
		if got := shortDuration(d); ok != (want != "") || ok && got != want {
			t.Errorf("the duration %q: %v, %s; want %s", text, ok, got, want)
		}
	}
}

func TestPrinted(t *testing.T) {
	c := load(t, `
admin.token = "`+marker+`"
upstream.url = "https://example.com/a b/\"é\"/"
[[partners]]
name = "acme"
api_key = "`+marker+`-key"
tokens = ["`+marker+`-1", "`+marker+`-2"]
`)
	want, err := os.ReadFile("testdata/config/printed.toml")
	if err != nil {
		t.Fatal(err)
	}
	got := c.TOML()
	if string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if sha256.Sum256(got) != sha256.Sum256(c.TOML()) {
		t.Error("printing twice gives two texts")
	}
}

func TestPrintedLoadsAgain(t *testing.T) {
	for name, environ := range map[string][]string{
		"defaults":   nil,
		"everything": {"KNOCKPROXY_LOG_FORMAT=json", "KNOCKPROXY_AUTH_ALLOW_UNLISTED_KEYS=false", "KNOCKPROXY_SERVER_DRAIN=100us"},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, "", environ...)
			if again := load(t, string(c.TOML())); !reflect.DeepEqual(again, c) {
				t.Errorf("got  %+v\nwant %+v", *again, *c)
			}
		})
	}
}
