package knock

import (
	"strings"
	"testing"
)

func TestReadFields(t *testing.T) {
	object := Fields{Object: true}
	noConsent := Fields{Object: true, NoConsent: true}
	same, other := Fields{Object: true, IDs: IDSame}, Fields{Object: true, IDs: IDOther}
	message, notExist := Fields{Object: true, HasErrorMessage: true}, Fields{Object: true, HasErrorMessage: true, SaysNotExist: true}
	for _, test := range []struct {
		name, body string
		want       Fields
	}{
		{"empty", "", Fields{}},
		{"white space", " \n", Fields{}},
		{"an array", `[{"prospectId":"42","smsConsent":false}]`, Fields{}},
		{"a string", `"smsConsent"`, Fields{}},
		{"null", "null", Fields{}},
		{"an empty object", "{}", object},
		{"an object in white space", " \t\r\n{ \"smsConsent\" : false } \n", noConsent},
		{"white space that is none of JSON's, before", "\u00a0{\"smsConsent\":false}", Fields{}},
		{"white space that is none of JSON's, after", "{\"smsConsent\":false}\v", Fields{}},
		{"a byte order mark", "\ufeff{\"smsConsent\":false}", Fields{}},
		{"another's id behind a byte order mark", "\ufeff{\"prospectId\":\"43\"}", Fields{IDs: IDOther}},
		{"broken off", `{"prospectId":"42","smsConsent":false`, Fields{}},
		{"trailing garbage", `{"smsConsent":false}x`, Fields{}},
		{"two objects", `{"smsConsent":false}{"smsConsent":true}`, Fields{}},
		{"a trailing comma", `{"smsConsent":false,}`, Fields{}},
		{"a comment", `{"smsConsent":false/**/}`, Fields{}},
		{"single quotes", `{'smsConsent':false}`, Fields{}},
		{"nesting deeper than any parser's patience", `{"smsConsent":false,"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}", Fields{}},
		{"deep nesting", `{"smsConsent":false,"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}", noConsent},

		{"consent false", `{"smsConsent":false}`, noConsent},
		{"consent true", `{"smsConsent":true}`, object},
		{"consent null", `{"smsConsent":null}`, object},
		{"consent zero", `{"smsConsent":0}`, object},
		{"consent a string", `{"smsConsent":"false"}`, object},
		{"consent an empty string", `{"smsConsent":""}`, object},
		{"consent an object", `{"smsConsent":{}}`, object},
		{"consent absent", `{"a":false}`, object},
		{"consent only below", `{"a":{"smsConsent":false}}`, object},
		{"consent below too", `{"a":{"smsConsent":true},"smsConsent":false}`, noConsent},
		{"consent twice, alike", `{"smsConsent":false,"smsConsent":false}`, object},
		{"consent twice, true first", `{"smsConsent":true,"smsConsent":false}`, object},
		{"consent twice, false first", `{"smsConsent":false,"smsConsent":true}`, object},
		{"consent in another case", `{"SMSConsent":false}`, object},
		{"consent in another case too", `{"smsConsent":false,"SMSCONSENT":false}`, object},
		{"consent in another case before", `{"smsconsent":true,"smsConsent":false}`, object},
		{"an escape in the key", `{"\u0073msConsent":false}`, noConsent},
		{"an escape in a second key", `{"smsConsent":false,"sms\u0043onsent":true}`, object},
		{"a key that folds to it", `{"smsConsent":false,"ſmsConsent":true}`, object},
		{"an escaped key that folds to it", `{"smsConsent":false,"smsCon\u017fent":true}`, object},
		{"a key with space", `{"smsConsent":false,"smsConsent ":true}`, noConsent},
		{"a key with a NUL", `{"smsConsent":false,"smsConsent\u0000":true}`, noConsent},
		{"invalid UTF-8 in a key", "{\"sms\xffConsent\":false}", object},

		{"id a string", `{"prospectId":"42"}`, same},
		{"id a number", `{"prospectId":42}`, same},
		{"id with escapes", `{"prospect\u0049d":"\u00342"}`, same},
		{"id null", `{"prospectId":null}`, object},
		{"id another", `{"prospectId":"43"}`, other},
		{"id another number", `{"prospectId":43}`, other},
		{"id with leading zeros", `{"prospectId":"042"}`, other},
		{"id with space", `{"prospectId":" 42"}`, other},
		{"id a fraction", `{"prospectId":42.0}`, other},
		{"id with an exponent", `{"prospectId":4.2e1}`, other},
		{"id negative", `{"prospectId":-42}`, other},
		{"id empty", `{"prospectId":""}`, other},
		{"id true", `{"prospectId":true}`, other},
		{"id a list", `{"prospectId":["42"]}`, other},
		{"id an object", `{"prospectId":{"id":"42"}}`, other},
		{"id absent", `{"id":"42"}`, object},
		{"id only below", `{"data":{"prospectId":"42"}}`, object},
		{"another id only below", `{"data":{"prospectId":"43"}}`, object},
		{"id twice, alike", `{"prospectId":"42","prospectId":42}`, same},
		{"id twice, another first", `{"prospectId":"43","prospectId":"42"}`, other},
		{"id twice, another last", `{"prospectId":"42","prospectId":"43"}`, other},
		{"id and null", `{"prospectId":"42","prospectId":null}`, same},
		{"id in another case is not it", `{"prospectID":"42"}`, object},
		{"another id in another case", `{"prospectId":"42","PROSPECTID":"43"}`, other},
		{"another id by a key that folds to it", `{"prospectId":"42","proſpectId":"43"}`, other},

		{"an error", `{"errorMessage":"Internal"}`, message},
		{"an error without a text", `{"errorMessage":""}`, message},
		{"the article's error", `{"errorMessage":"Unable to get prospect upstream - Prospect_id 0 does not exist."}`, notExist},
		{"the same in any case", `{"errorMessage":"It DOES Not eXist"}`, notExist},
		{"the same with escapes", `{"errorMessage":"does\u0020not exist"}`, notExist},
		{"the same with two spaces", `{"errorMessage":"does not  exist"}`, message},
		{"an error that is null", `{"errorMessage":null}`, object},
		{"an error that is a number", `{"errorMessage":404}`, object},
		{"an error that is a list", `{"errorMessage":["does not exist"]}`, object},
		{"an error in another case", `{"ErrorMessage":"does not exist"}`, object},
		{"an error elsewhere", `{"message":"does not exist"}`, object},
		{"an error only below", `{"a":{"errorMessage":"does not exist"}}`, object},
		{"two errors", `{"errorMessage":"does not exist","errorMessage":"Internal"}`, notExist},

		{"the gateway's refusal", `{"message":"Forbidden"}`, Fields{Object: true, Forbidden: true}},
		{"the gateway's refusal, laid out", "{\n  \"message\": \"Forbidden\"\n}\n", Fields{Object: true, Forbidden: true}},
		{"another refusal", `{"message":"Missing Authentication Token"}`, object},
		{"a refusal in another case", `{"message":"forbidden"}`, object},
		{"a refusal and more", `{"message":"Forbidden","errorMessage":"x"}`, message},
		{"a refusal twice", `{"message":"Forbidden","message":"Forbidden"}`, object},
		{"a refusal that is a list", `{"message":["Forbidden"]}`, object},

		{"the article's prospect", `{"prospectId":"42","email":"","agent":{"username":"x"},"address":null,"smsConsent":false,"status":"new"}`, Fields{Object: true, NoConsent: true, IDs: IDSame}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := ReadFields([]byte(test.body), "42"); got != test.want {
				t.Errorf("%.200q\n got %+v\nwant %+v", test.body, got, test.want)
			}
		})
	}
}

func TestReadFieldsOfLargeIDs(t *testing.T) {
	const id = "99999999999999999999" // no float64 and no int64 holds it
	for body, want := range map[string]Identity{
		`{"prospectId":99999999999999999999}`:   IDSame,
		`{"prospectId":"99999999999999999999"}`: IDSame,
		`{"prospectId":99999999999999999998}`:   IDOther,
		`{"prospectId":100000000000000000000}`:  IDOther,
	} {
		t.Run(body, func(t *testing.T) {
			if got := ReadFields([]byte(body), id).IDs; got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		})
	}
}

func TestReadFieldsKeepsTheBody(t *testing.T) {
	body := []byte(" {\"smsConsent\" : false, \"errorMessage\":\"\\u0041\"} ")
	before := string(body)
	ReadFields(body, "42")
	if string(body) != before {
		t.Errorf("the body became %q", body)
	}
}

func FuzzReadFields(f *testing.F) {
	for _, seed := range []string{
		`{"prospectId":"42","smsConsent":false}`, `{"prospectId":42,"smsConsent":true,"SMSCONSENT":false}`, `{"smsConsent":false,"\u017fmsConsent":1}`,
		`{"errorMessage":"does not exist"}`, `{"message":"Forbidden"}`, `{"a":{"b":[1,-0.5e+3,null,true,"\ud83d\ude00\n"]}}`, "\u00a0{}", "\ufeff{}", "{}x",
		`{"PROSPECTID":43}`, "{\"a\":\"\xff\x7f\"}", `{"a":01}`, `{"a":"\ud800"}`, `[]`, ``, "{\"smsConsent\":\nfalse\t}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, want := ReadFields(body, "42"), plainFields(string(body), "42"); got != want {
			t.Errorf("%q\n got %+v\nwant %+v", body, got, want)
		}
	})
}
