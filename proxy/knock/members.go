package knock

import (
	"bytes"
	"encoding/json"
	"iter"
)

// members walks the top level of one JSON object: each key, its escapes undone, and each value as it stands, duplicates
// too. The object must be valid. (json.Decoder's tokens tell the same at twelve allocations a member.)
func members(object []byte) iter.Seq2[string, []byte] {
	return func(yield func(name string, value []byte) bool) {
		for rest := skipSpace(object[1:]); rest[0] == '"'; {
			end := stringEnd(rest)
			key := rest[:end]
			rest = skipSpace(rest[end:])
			rest = skipSpace(rest[1:]) // the colon
			end = valueEnd(rest)
			if !yield(memberName(key), rest[:end]) {
				return
			}
			if rest = skipSpace(rest[end:]); rest[0] == ',' {
				rest = skipSpace(rest[1:])
			}
		}
	}
}

func memberName(key []byte) string {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key[1 : len(key)-1])
	}
	var name string
	_ = json.Unmarshal(key, &name) // a valid string
	return name
}

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// stringEnd is the length of the string that b begins with.
func stringEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// valueEnd is the length of the value that b begins with.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; ; {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:])
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return i // of what is around it
			}
			depth--
			i++
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			i++
			continue
		default:
			i++
			continue
		}
		if depth == 0 {
			return i
		}
	}
}
