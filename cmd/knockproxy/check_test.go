package main

import (
	"errors"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	const bad = "testdata/config/bad_token_empty.toml"
	help := "Check the configuration and print what is in effect, secrets redacted.\n\nusage: knockproxy check [-config FILE]\n" +
		"  -config FILE\n    \tread FILE; without it, defaults and the environment only\n"
	defaults := string(defaultConfig().TOML())
	for name, test := range map[string]struct {
		args           string
		env            string
		code           int
		stdout, stderr string
	}{
		"defaults":   {"", "", 0, defaults, ""},
		"example":    {"-config ../../config.example.toml", "", 0, defaults, ""},
		"two dashes": {"--config=../../config.example.toml", "", 0, defaults, ""},
		"unknown":    {"", "KNOCKPROXY_PORT=tcp://10.0.0.1", 0, defaults, "KNOCKPROXY_PORT: no key has this variable, ignored\n"},
		"faults": {
			"-config " + bad, "KNOCKPROXY_CACHE_TTL=3 KNOCKPROXY_PORT=1", 1, "",
			bad + ":4: admin.token: must not be empty\n" +
				"KNOCKPROXY_CACHE_TTL: cache.ttl: must be a duration such as \"30s\", got 3\n",
		},
		"missing file": {"-config none.toml", "", 1, "", "none.toml: reading: no such file or directory\n"},
		"help":         {"-h", "", 0, help, ""},
		"long help":    {"--help", "", 0, help, ""},
		"flag":         {"-conf x", "", 2, "", "flag provided but not defined: -conf\n" + help},
		"value":        {"-config", "", 2, "", "flag needs an argument: -config\n" + help},
		"stray":        {"config.toml", "", 2, "", "unexpected argument: config.toml\n" + help},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			code := runCheck(strings.Fields(test.args), strings.Fields(test.env), &stdout, &stderr)
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if stdout.String() != test.stdout {
				t.Errorf("stdout\n%s\nwant\n%s", &stdout, test.stdout)
			}
			if stderr.String() != test.stderr {
				t.Errorf("stderr\n%s\nwant\n%s", &stderr, test.stderr)
			}
		})
	}
}

func TestCheckTellsNoSecret(t *testing.T) {
	const long = marker + "-of-32-bytes-or-more"
	for name, env := range map[string][]string{
		"values": {"KNOCKPROXY_ADMIN_TOKEN=" + marker, "KNOCKPROXY_CACHE_SECRET=" + long, "KNOCKPROXY_TOKEN=" + marker},
		"files":  {"KNOCKPROXY_ADMIN_TOKEN_FILE=testdata/config/secrets/token", "KNOCKPROXY_CACHE_SECRET=" + long},
		"both":   {"KNOCKPROXY_ADMIN_TOKEN=" + marker, "KNOCKPROXY_ADMIN_TOKEN_FILE=testdata/config/secrets/token"},
		"bad":    {"KNOCKPROXY_ADMIN_TOKEN=" + marker + "\n", "KNOCKPROXY_CACHE_SECRET=" + marker},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			runCheck([]string{"-config", "testdata/config/good_partners.toml"}, env, &out, &out)
			if out.Len() == 0 || strings.Contains(out.String(), marker) {
				t.Errorf("printed\n%s", &out)
			}
		})
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestCheckNotPrinted(t *testing.T) {
	var stderr strings.Builder
	if code := runCheck(nil, nil, fullDisk{}, &stderr); code != 1 || stderr.String() != "writing: no space left on device\n" {
		t.Errorf("exit code %d, %q", code, &stderr)
	}
}
