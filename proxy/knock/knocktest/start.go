package knocktest

import "net/http/httptest"

// TB is what Start needs of a *testing.T, *testing.B or *testing.F. It keeps package testing out of programs that
// import this package.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start returns a Server that listens on a free port of the loopback interface, at its URL, until the test ends. What
// is still held or hanging then is let go of.
func Start(tb TB, o Options) *Server {
	tb.Helper()
	s := New(o)
	s.tb = tb
	listener := httptest.NewUnstartedServer(s)
	listener.Config.DisableGeneralOptionsHandler = true // OPTIONS * is to be remembered like any request
	listener.Start()
	s.URL = listener.URL
	tb.Cleanup(func() {
		// In this order: the listener's Close waits for the requests in flight.
		_ = s.Close()
		listener.Close()
	})
	return s
}
