// Package cachetest is one suite for every kind of store, and what starts the servers that it needs.
package cachetest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Backend is a Redis that a test may look into, and break.
type Backend struct {
	URL    string
	Client *redis.Client
	Server *os.Process // nil where it is in this process
	Socket string      // of the real one
	Mini   *miniredis.Miniredis
}

// Mini starts a miniredis: its keys expire only when they are told to.
func Mini(t testing.TB) *Backend {
	t.Helper()
	m := miniredis.RunT(t)
	return connected(t, &Backend{URL: "redis://" + m.Addr(), Mini: m})
}

// Real starts a redis-server on a socket of its own. Where it is not installed the test is skipped, or fails if
// KNOCKPROXY_TEST_REQUIRE=all.
func Real(t testing.TB) *Backend {
	t.Helper()
	dir, err := os.MkdirTemp("", "knockproxy") // short: a socket's path is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &Backend{Socket: filepath.Join(dir, "redis.sock")}
	b.Start(t)
	b.URL = "unix://" + b.Socket
	return connected(t, b)
}

// Start starts the real server, anew if it was killed, and returns when it answers.
func (b *Backend) Start(t testing.TB, args ...string) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("KNOCKPROXY_TEST_REQUIRE") == "all" {
			t.Fatal("redis-server is not installed, and KNOCKPROXY_TEST_REQUIRE=all")
		}
		t.Skip("redis-server is not installed")
	}
	args = append([]string{"--port", "0", "--unixsocket", b.Socket, "--save", "", "--appendonly", "no", "--dir", filepath.Dir(b.Socket)}, args...)
	cmd := exec.Command(path, args...) //nolint:gosec // the tool that was found
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.Server = cmd.Process
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-exited })
	Eventually(t, func() bool {
		conn, err := net.Dial("unix", b.Socket)
		if err != nil {
			return false
		}
		defer conn.Close() //nolint:errcheck // only tried
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write([]byte("PING\r\n"))
		answer := make([]byte, 5)
		_, err = conn.Read(answer)
		return err == nil && string(answer) == "+PONG"
	})
}

func connected(t testing.TB, b *Backend) *Backend {
	t.Helper()
	o, err := redis.ParseURL(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.Client = redis.NewClient(o)
	t.Cleanup(func() { _ = b.Client.Close() })
	return b
}

// Eventually returns when a condition holds, and fails the test if it does not within ten seconds.
func Eventually(t testing.TB, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to hold")
		}
	}
}

// Dump is all that the Redis holds: keys, fields and values.
func (b *Backend) Dump(t testing.TB) string {
	t.Helper()
	ctx := context.Background()
	var all strings.Builder
	for _, key := range b.Keys(t) {
		all.WriteString(key + "\n")
		if text, err := b.Client.Get(ctx, key).Result(); err == nil {
			all.WriteString(text + "\n")
		}
		for field, value := range b.Client.HGetAll(ctx, key).Val() {
			all.WriteString(field + " " + value + "\n")
		}
	}
	return all.String()
}

// Keys are all keys that the Redis holds.
func (b *Backend) Keys(t testing.TB) []string {
	t.Helper()
	keys, err := b.Client.Keys(context.Background(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Snapshot is what a Redis held at a time.
type Snapshot struct {
	client *redis.Client
	keys   map[string]string
}

// Snapshot takes all keys with their values.
func (b *Backend) Snapshot(t testing.TB) *Snapshot {
	t.Helper()
	s := &Snapshot{b.Client, make(map[string]string)}
	for _, key := range b.Keys(t) {
		s.keys[key] = b.Client.Dump(context.Background(), key).Val()
	}
	return s
}

// Restore puts it back, for a minute.
func (s *Snapshot) Restore(t testing.TB) {
	t.Helper()
	for key, value := range s.keys {
		if err := s.client.RestoreReplace(context.Background(), key, time.Minute, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
