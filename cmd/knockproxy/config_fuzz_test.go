package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// FuzzLoad holds loading to its promises for any bytes: no panic, faults that say where in one line each, and of what
// is accepted a text that is TOML, with no secret to hide the same configuration again.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/config/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../../config.example.toml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("a.b.c = [[1, {d = [{}]}], 1979-05-27]\n[[x.y]]\n[x.y.z]\n\"\" = nan"))
	line := regexp.MustCompile(`^f\.toml:[1-9][0-9]*: \S.*: \S.*$`)
	f.Fuzz(func(t *testing.T, data []byte) {
		noFiles := func(string) ([]byte, error) { return nil, os.ErrNotExist }
		c, err := configSource{file: "f.toml", data: data, readFile: noFiles}.load()
		if err != nil {
			for fault := range strings.SplitSeq(err.Error(), "\n") {
				if !line.MatchString(fault) {
					t.Errorf("a fault that does not say where and what: %q", fault)
				}
			}
			return
		}
		var parsed map[string]any
		if err := toml.Unmarshal(c.TOML(), &parsed); err != nil {
			t.Fatalf("%v in\n%s", err, c.TOML())
		}
		if c.Admin.Token == "" && c.Cache.Secret == "" && len(c.Partners) == 0 {
			again, err := configSource{data: c.TOML()}.load()
			if err != nil {
				t.Fatalf("%v in\n%s", err, c.TOML())
			}
			if !bytes.Equal(again.TOML(), c.TOML()) {
				t.Errorf("printed and loaded again it is\n%s\nwas\n%s", again.TOML(), c.TOML())
			}
		}
	})
}
