package knock

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// plainFields says what ReadFields is to say, by the grammar of RFC 8259 and the words of the contract, one after the other,
// and without encoding/json: what the fuzzer compares.
func plainFields(body, id string) Fields {
	if rest, marked := strings.CutPrefix(body, "\ufeff"); marked {
		if plainFields(rest, id).IDs == IDOther {
			return Fields{IDs: IDOther}
		}
		return Fields{}
	}
	var f Fields
	p := &plainParser{rest: body}
	members, ok := p.document()
	if !ok {
		return f
	}
	f.Object = true
	spelled, differs, isFalse := 0, 0, false
	for _, m := range members {
		text, isText := unquoted(m.value)
		switch {
		case m.name == "smsConsent":
			spelled++
			isFalse = m.value == "false"
		case folded(m.name) == folded("smsConsent"):
			differs++
		case m.name == "errorMessage" && isText:
			f.HasErrorMessage = true
			f.SaysNotExist = f.SaysNotExist || strings.Contains(strings.ToLower(text), "does not exist")
		case m.name == "message" && len(members) == 1:
			f.Forbidden = text == "Forbidden"
		case folded(m.name) == folded("prospectId") && m.value != "null":
			isID := m.value == id || text == id
			switch {
			case !isID:
				f.IDs = IDOther
			case m.name == "prospectId" && f.IDs == IDAbsent:
				f.IDs = IDSame
			}
		}
	}
	f.NoConsent = spelled == 1 && differs == 0 && isFalse
	return f
}

// folded is one of the spellings that differ only in case, for all of them.
func folded(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return least
	}, s)
}

type plainMember struct{ name, value string }

type plainParser struct {
	rest  string
	depth int
}

// document reads one object and nothing else.
func (p *plainParser) document() ([]plainMember, bool) {
	p.space()
	if !strings.HasPrefix(p.rest, "{") {
		return nil, false
	}
	members, ok := p.object()
	p.space()
	return members, ok && p.rest == ""
}

func (p *plainParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *plainParser) eat(s string) bool {
	var ok bool
	p.rest, ok = strings.CutPrefix(p.rest, s)
	return ok
}

func (p *plainParser) object() (members []plainMember, ok bool) {
	ok = p.list("{", "}", func() bool {
		name := p.taken(p.quoted)
		p.space()
		if name == "" || !p.eat(":") {
			return false
		}
		p.space()
		value := p.taken(p.value)
		key, _ := unquoted(name)
		members = append(members, plainMember{key, value})
		return value != ""
	})
	return members, ok
}

// list reads items between commas.
func (p *plainParser) list(begin, end string, item func() bool) bool {
	if p.depth++; p.depth > 10000 || !p.eat(begin) {
		return false
	}
	defer func() { p.depth-- }()
	if p.space(); p.eat(end) {
		return true
	}
	for {
		p.space()
		if !item() {
			return false
		}
		p.space()
		if p.eat(end) {
			return true
		}
		if !p.eat(",") {
			return false
		}
	}
}

// taken is what a rule reads, or nothing.
func (p *plainParser) taken(rule func() bool) string {
	before := p.rest
	if !rule() {
		return ""
	}
	return before[:len(before)-len(p.rest)]
}

func (p *plainParser) value() bool {
	switch {
	case strings.HasPrefix(p.rest, "{"):
		_, ok := p.object()
		return ok
	case strings.HasPrefix(p.rest, "["):
		return p.list("[", "]", p.value)
	case strings.HasPrefix(p.rest, `"`):
		return p.quoted()
	case p.eat("true"), p.eat("false"), p.eat("null"):
		return true
	}
	return p.number()
}

func (p *plainParser) number() bool {
	p.eat("-")
	if !p.eat("0") && !p.digits() {
		return false
	}
	if p.eat(".") && !p.digits() {
		return false
	}
	if p.eat("e") || p.eat("E") {
		_ = p.eat("+") || p.eat("-")
		return p.digits()
	}
	return true
}

func (p *plainParser) digits() bool {
	before := len(p.rest)
	p.rest = strings.TrimLeft(p.rest, "0123456789")
	return len(p.rest) < before
}

func (p *plainParser) quoted() bool {
	if !p.eat(`"`) {
		return false
	}
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return true
		case c < ' ':
			return false
		case c != '\\':
		case i+1 < len(p.rest) && strings.IndexByte(`"\/bfnrt`, p.rest[i+1]) >= 0:
			i++
		case i+5 < len(p.rest) && p.rest[i+1] == 'u' && strings.Trim(p.rest[i+2:i+6], "0123456789abcdefABCDEF") == "":
			i += 5
		default:
			return false
		}
	}
	return false
}

// unquoted is the text of a string that quoted has read; half a surrogate pair and what is no UTF-8 become U+FFFD.
func unquoted(s string) (string, bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", false
	}
	var out []rune
	for s = s[1 : len(s)-1]; s != ""; {
		if s[0] != '\\' {
			r, n := utf8.DecodeRuneInString(s)
			out, s = append(out, r), s[n:]
			continue
		}
		if s[1] != 'u' {
			out = append(out, map[byte]rune{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', '"': '"', '\\': '\\', '/': '/'}[s[1]])
			s = s[2:]
			continue
		}
		r := codeUnit(s)
		s = s[6:]
		if utf16.IsSurrogate(r) {
			pair := rune(unicode.ReplacementChar)
			if strings.HasPrefix(s, `\u`) {
				pair = utf16.DecodeRune(r, codeUnit(s))
			}
			if r = pair; pair != unicode.ReplacementChar {
				s = s[6:]
			}
		}
		out = append(out, r)
	}
	return string(out), true
}

// codeUnit is what the escape \u and four digits at the beginning of s stands for.
func codeUnit(s string) rune {
	n, _ := strconv.ParseUint(s[2:6], 16, 16)
	return rune(n)
}
