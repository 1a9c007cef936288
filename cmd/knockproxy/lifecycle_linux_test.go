package main

import (
	"net"
	"syscall"
	"testing"
)

// breakListener makes the socket that listens at an address, in this process, fail its next accept.
func breakListener(t *testing.T, address string) {
	t.Helper()
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	for fd := range 1024 {
		name, err := syscall.Getsockname(fd)
		if err != nil {
			continue
		}
		listening, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
		if in, ok := name.(*syscall.SockaddrInet4); ok && listening == 1 && in.Port == at.Port {
			if err := syscall.Shutdown(fd, syscall.SHUT_RD); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no socket listens at %s", address)
}

// A listener that fails ends the process: half a proxy helps nobody, and a supervisor can start a whole one.
func TestListenerFails(t *testing.T) {
	t.Run("public", func(t *testing.T) {
		s := startServe(t)
		breakListener(t, s.listen)
		s.wantExit(exitFailed, `"msg":"listener failed"`, `"err":"server.listen: `)
		awaitRefused(t, s.admin)
	})
	t.Run("admin", func(t *testing.T) {
		s := startServe(t)
		breakListener(t, s.admin)
		s.wantExit(exitFailed, `"msg":"listener failed"`, `"err":"admin.listen: `)
		awaitRefused(t, s.listen)
	})
}

// It does so while it drains, too.
func TestListenerFailsWhileDraining(t *testing.T) {
	s := startServe(t, func(c *config) { c.Server.DrainDelay = patience * 10 })
	s.signals <- syscall.SIGTERM
	s.awaitNotReady()
	breakListener(t, s.listen)
	s.wantExit(exitFailed, `"err":"server.listen: `)
}
