package proxy_test

import (
	"runtime"
	"strconv"
	"testing"

	"knockproxy/proxy/knock/knocktest"
)

// TestAccountedMemoryIsTheHeaps: cache.memory.max_bytes bounds what answers really take, headers and overhead counted.
func TestAccountedMemoryIsTheHeaps(t *testing.T) {
	r := newRig(t, func(s *setup) { s.knock = knocktest.Options{History: -1} })
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	w := &nullWriter{map[string][]string{}}
	serveNull(r.proxy, w, benchRequest("/prospect/1")) // what is made once
	before, entries := heap(), 10_000
	for i := range entries {
		serveNull(r.proxy, w, benchRequest("/prospect/"+strconv.Itoa(2+i)))
	}
	used, accounted := heap()-before, r.metric("knockproxy_cache_memory_bytes")
	t.Logf("%.0f bytes on the heap an entry, %.0f accounted", used/float64(entries), accounted/float64(entries))
	if got := r.metric("knockproxy_cache_memory_entries"); got < float64(entries) {
		t.Fatalf("%v entries", got)
	}
	if used > 1.15*accounted || used < 0.6*accounted {
		t.Errorf("%.0f bytes on the heap, %.0f accounted", used, accounted)
	}
	runtime.KeepAlive(r)
}
