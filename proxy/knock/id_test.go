package knock

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseID(t *testing.T) {
	for _, test := range []struct {
		name, segment, id string
		form              IDForm
	}{
		{"zero", "0", "0", IDCanonical},
		{"the article's", "47569637", "47569637", IDCanonical},
		{"20 digits", "99999999999999999999", "99999999999999999999", IDCanonical},
		{"leading zeros", "007", "007", IDOdd},
		{"zeros", "00", "00", IDOdd},
		{"leading zeros, 20 digits", "00000000000000000007", "00000000000000000007", IDOdd},
		{"percent-encoded", "%34%32", "42", IDOdd},
		{"percent-encoded in part", "4%32", "42", IDOdd},
		{"percent-encoded zero", "%30", "0", IDOdd},
		{"percent-encoded leading zero", "%307", "07", IDOdd},
		{"empty", "", "", IDMalformed},
		{"letters", "abc", "abc", IDMalformed},
		{"digits and a letter", "42a", "42a", IDMalformed},
		{"hexadecimal", "0x2a", "0x2a", IDMalformed},
		{"signed", "-1", "-1", IDMalformed},
		{"a fraction", "4.2", "4.2", IDMalformed},
		{"21 digits", "100000000000000000000", "100000000000000000000", IDMalformed},
		{"21 digits with leading zeros", "000000000000000000007", "000000000000000000007", IDMalformed},
		{"21 digits percent-encoded", "%3100000000000000000000", "%3100000000000000000000", IDMalformed},
		{"a space", "42%20", "42%20", IDMalformed},
		{"an encoded slash", "42%2F7", "42%2F7", IDMalformed},
		{"an encoded slash alone", "%2F", "%2F", IDMalformed},
		{"an encoded percent", "%2534", "%2534", IDMalformed},
		{"an encoded NUL", "42%00", "42%00", IDMalformed},
		{"a broken encoding", "4%", "4%", IDMalformed},
		{"another broken encoding", "4%zz", "4%zz", IDMalformed},
		{"digits of another script", "%D9%A4%D9%A2", "%D9%A4%D9%A2", IDMalformed},
		{"dots", "..", "..", IDMalformed},
		{"a path parameter", "42;v=1", "42;v=1", IDMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			if id, form := ParseID(test.segment); id != test.id || form != test.form {
				t.Errorf("%q is %q of form %d, want %q of form %d", test.segment, id, form, test.id, test.form)
			}
		})
	}
}

func TestCanonicalID(t *testing.T) {
	for _, test := range []struct {
		name, digits, id string
		ok               bool
	}{
		{"zero", "0", "0", true},
		{"digits", "42", "42", true},
		{"leading zeros", "0042", "42", true},
		{"zeros", "000", "0", true},
		{"many leading zeros", strings.Repeat("0", 30) + "42", "42", true},
		{"20 digits", "99999999999999999999", "99999999999999999999", true},
		{"21 digits", "100000000000000000000", "", false},
		{"empty", "", "", false},
		{"letters", "abc", "", false},
		{"zeros and a letter", "00a", "", false},
		{"signed", "-42", "", false},
		{"space", " 42", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if id, ok := CanonicalID(test.digits); ok != test.ok || ok && id != test.id {
				t.Errorf("%q means %q, %t", test.digits, id, ok)
			}
		})
	}
}

// TestMalformedID: the article's words, with the id as given, percent-decoded, JSON-escaped, cut at 64 bytes.
func TestMalformedID(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, test := range []struct{ name, segment, given string }{
		{"letters", "abc", "abc"},
		{"empty", "", ""},
		{"percent-encoded", "a%20b%2Fc", "a b/c"},
		{"a plus is no space", "a+b", "a+b"},
		{"what does not decode stays", "a%zz", "a%zz"},
		{"quotes and backslashes", `a%22%5C`, `a"\`},
		{"control characters", "%00%0D%0A%1b", "\x00\r\n\x1b"},
		{"markup", "%3Cscript%3E&amp;", "<script>&amp;"},
		{"64 bytes", long, long},
		{"65 bytes", long + "y", long},
		{"encoded bytes count decoded", strings.Repeat("%78", 64), long},
		{"cut between runes of two bytes", long[:63] + "%C3%A9", long[:63]},
		{"cut between runes of four bytes", long[:61] + "%F0%9F%98%80", long[:61]},
		{"not cut within the bound", long[:62] + "%C3%A9", long[:62] + "é"},
		{"invalid UTF-8", "%FFa%C3", "\uFFFDa\uFFFD"},
		{"only continuation bytes", strings.Repeat("%80", 70), strings.Repeat("\uFFFD", 64)},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := MalformedID(test.segment)
			var got map[string]any
			if err := json.Unmarshal(body, &got); err != nil || !utf8.Valid(body) {
				t.Fatalf("%q: %v", body, err)
			}
			want := "Id " + test.given + " is not a valid prospect id. Id must be a number."
			if len(got) != 1 || got["errorMessage"] != want {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
	if got, want := string(MalformedID("xxx")), `{"errorMessage":"Id xxx is not a valid prospect id. Id must be a number."}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func FuzzMalformedID(f *testing.F) {
	for _, seed := range []string{"", "abc", "%2F%", strings.Repeat("%F0%9F%98%80", 20), strings.Repeat("\x80", 70)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, segment string) {
		body := MalformedID(segment)
		var got struct{ ErrorMessage string }
		if err := json.Unmarshal(body, &got); err != nil || !utf8.Valid(body) {
			t.Fatalf("%q: %v", body, err)
		}
		given, ok := strings.CutPrefix(got.ErrorMessage, "Id ")
		given, also := strings.CutSuffix(given, " is not a valid prospect id. Id must be a number.")
		if !ok || !also || utf8.RuneCountInString(given) > 64 {
			t.Errorf("%q: %q", segment, got.ErrorMessage)
		}
		decoded, err := url.PathUnescape(segment)
		if err != nil {
			decoded = segment
		}
		if utf8.ValidString(decoded) && (!strings.HasPrefix(decoded, given) || len(given) > 64 || len(given) < min(len(decoded), 61)) {
			t.Errorf("%q is quoted as %q", decoded, given)
		}
	})
}
