package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// exampleLine is of a key in the example, behind "#" where it is commented out.
var exampleLine = regexp.MustCompile(`^(#?)([a-z_0-9]+) = (.*)$`)

// TestExampleStatesTheDefaults proves that the example has every key and tells the truth about each.
func TestExampleStatesTheDefaults(t *testing.T) {
	const file = "../../config.example.toml"
	c, err := loadConfig(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, load(t, "")) {
		t.Errorf("the example is\n%s\nthe defaults are\n%s", c.TOML(), defaultConfig().TOML())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set, commented := exampleKeys(string(data))
	for _, k := range configKeys {
		_, isCommented := commented[k.path]
		switch literal, isSet := set[k.path]; {
		case k.preset == "" && (isSet || !isCommented):
			t.Errorf("%s has no fixed default and is not commented out", k.path)
		case k.preset != "" && literal != k.literal(defaultConfig()):
			t.Errorf("%s stands as %q, the default is %s", k.path, literal, k.literal(defaultConfig()))
		}
		delete(commented, k.path)
	}
	for _, k := range partnerKeys {
		if _, ok := commented["partners."+k.path]; !ok {
			t.Errorf("the example of a partner lacks %s", k.path)
		}
		delete(commented, "partners."+k.path)
	}
	if len(commented) > 0 {
		t.Errorf("commented out and no key: %v", commented)
	}
}

// exampleKeys reads the example line by line, as whoever edits it does: path -> value, of what is set and what is
// commented out.
func exampleKeys(data string) (set, commented map[string]string) {
	set, commented = make(map[string]string), make(map[string]string)
	table := ""
	for line := range strings.Lines(data) {
		line = strings.TrimSuffix(line, "\n")
		if header := strings.Trim(line, "#[]"); strings.HasPrefix(strings.TrimPrefix(line, "#"), "[") {
			table = header
		} else if m := exampleLine.FindStringSubmatch(line); m != nil && m[1] == "" {
			set[table+"."+m[2]] = m[3]
		} else if m != nil {
			commented[table+"."+m[2]] = m[3]
		}
	}
	return set, commented
}

// TestExampleSecretsAreRefused keeps a placeholder that everyone can read from becoming somebody's secret.
func TestExampleSecretsAreRefused(t *testing.T) {
	data, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	uncommented := regexp.MustCompile(`(?m)^#(\S)`).ReplaceAllString(string(data), "$1")
	_, err = configSource{file: "example", data: []byte(uncommented)}.load()
	got := regexp.MustCompile(`(?m)^example:\d+: `).ReplaceAllString(fmt.Sprint(err), "")
	want := strings.Join([]string{
		"cache.secret: must be 32 bytes or more",
		"cache.redis.url: must be a URL of Redis: redis://, rediss:// or unix://",
		"partners[0].tokens: tokens[0] must differ from partners[0].api_key",
		"partners[0].tokens: tokens[1] must differ from partners[0].api_key",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
