package knocktest_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"knockproxy/proxy/knock/knocktest"
)

func Example() {
	up := knocktest.New(knocktest.Options{})
	defer func() { _ = up.Close() }()
	up.Next("42", knocktest.Status(503), knocktest.Header("Retry-After", "1"))
	for range 2 {
		r, w := httptest.NewRequest("GET", "/prospect/42", nil), httptest.NewRecorder()
		r.Header.Set("x-api-key", knocktest.TestKey)
		up.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("Retry-After"))
	}
	fmt.Println(up.Reads("42"))
	// Output:
	// 503 "1"
	// 200 ""
	// 2
}

func BenchmarkRead(b *testing.B) {
	up := knocktest.New(knocktest.Options{})
	r := httptest.NewRequest("GET", "/prospect/42", nil)
	r.Header.Set("x-api-key", knocktest.TestKey)
	b.ReportAllocs()
	for b.Loop() {
		up.ServeHTTP(httptest.NewRecorder(), r)
	}
}
