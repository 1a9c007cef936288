package policy

import (
	"net/http"
	"reflect"
	"testing"
	"time"
)

func TestCodecKeepsAnswers(t *testing.T) {
	for name, a := range map[string]*Answer{
		"all there is": {
			Status: 200, Age: 7 * time.Second, Before: "edge; hit", Body: []byte(`{"a":1}`),
			Header: http.Header{"Content-Type": {"application/json"}, "Vary": {"a", "b"}, "X-Empty": {""}},
		},
		"does not exist": {Status: 404, NotExist: true, Header: http.Header{}, Body: []byte("x")},
		"no body":        {Status: 204, Header: http.Header{}, Body: []byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Codec{}.Parse(Codec{}.Append(nil, a))
			if err != nil || !reflect.DeepEqual(got, a) {
				t.Errorf("%v\n got %+v\nwant %+v", err, got, a)
			}
		})
	}
}

// FuzzCodec: whatever is read is written and read as the same; what is no record is refused, without much memory.
func FuzzCodec(f *testing.F) {
	f.Add(Codec{}.Append(nil, &Answer{Status: 200, Before: "x", Header: http.Header{"A": {"b", "c"}}, Body: []byte("{}")}))
	f.Add([]byte{1, 0, 200, 1, 0, 0, 255, 255, 255, 255, 15})
	f.Add([]byte{2})
	f.Add([]byte("\x01000\x01"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := Codec{}.Parse(raw)
		if err != nil {
			return
		}
		again, err := Codec{}.Parse(Codec{}.Append(nil, a))
		if err != nil || !reflect.DeepEqual(a, again) {
			t.Errorf("%v: %+v, then %+v", err, a, again)
		}
	})
}
