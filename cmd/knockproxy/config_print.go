package main

import (
	"bytes"
	"strings"
)

// TOML is the configuration in effect, every key in the order of the table, secrets redacted. It depends on nothing
// else, so that its hash tells whether two processes run the same configuration, but for the secrets.
func (c *config) TOML() []byte {
	var b bytes.Buffer
	table := ""
	for _, k := range configKeys {
		dot := strings.LastIndexByte(k.path, '.')
		if t := k.path[:dot]; t != table {
			if table != "" {
				b.WriteByte('\n')
			}
			b.WriteString("[" + t + "]\n")
			table = t
		}
		printKey(&b, k.path[dot+1:], k.literal(c))
	}
	for i := range c.Partners {
		b.WriteString("\n[[" + partnersPath + "]]\n")
		for _, k := range partnerKeys {
			printKey(&b, k.path, k.literal(&c.Partners[i]))
		}
	}
	return b.Bytes()
}

func printKey(b *bytes.Buffer, name, literal string) {
	if literal == "" {
		b.WriteString("# " + name + " is not set\n")
		return
	}
	b.WriteString(name + " = " + literal + "\n")
}
