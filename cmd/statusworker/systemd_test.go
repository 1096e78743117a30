package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"statusworker/statusclient/simulator"
)

// notifySocket listens as systemd does. It returns the path of the socket, and what arrives.
func notifySocket(t *testing.T) (string, *output) {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	name := filepath.Join(dir, "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var arrived output
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			_, _ = io.WriteString(&arrived, string(b[:n])+"\n")
		}
	}()
	t.Cleanup(func() { conn.Close(); <-ended })
	return name, &arrived
}

// A worker reports to systemd that it is ready when it pulls from its consumers, and not before.
func TestSystemdIsNotified(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at, _ := provisioned(t)
	v := vendor(t, simulator.Config{})
	for name, tt := range map[string]struct {
		nats  string
		until string
		ready bool
	}{
		"without NATS": {"nats://127.0.0.1:1", "STATUS=waiting for NATS at nats://127.0.0.1:1\n", false},
		"with NATS":    {at, "STATUS=working\n", true},
	} {
		socket, arrived := notifySocket(t)
		env := workerEnv(tt.nats, v.URL())
		env["NOTIFY_SOCKET"], env["WATCHDOG_USEC"] = socket, "500000"
		c := processOf(t, env, "run").launch()
		arrived.wait(ctx, t, tt.until)
		arrived.wait(ctx, t, "WATCHDOG=1\n")
		if got := strings.Contains(arrived.String(), "READY=1\n"); got != tt.ready {
			t.Errorf("%s: ready is %t:\n%s", name, got, arrived)
		}
		c.signal(syscall.SIGTERM)
		arrived.wait(ctx, t, "STOPPING=1\n")
		c.exits(exitOK)
		if n := strings.Count(arrived.String(), "READY=1\n"); n > 1 {
			t.Errorf("%s: READY=1 was sent %d times", name, n)
		}
	}
}
