package systemd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sirupsen/logrus"
)

// service is a service whose state a test sets.
type service struct{ ready, alive atomic.Pointer[error] }

func (s *service) Ready() error { return *s.ready.Load() }
func (s *service) Alive() error { return *s.alive.Load() }

func (s *service) set(ready, alive error) { s.ready.Store(&ready); s.alive.Store(&alive) }

// socket listens as systemd does, and returns what arrives, line by line.
func socket(t *testing.T) <-chan string {
	t.Helper()
	folder, err := os.MkdirTemp("", "notify") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	name := filepath.Join(folder, "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", name)
	lines := make(chan string, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			for line := range strings.Lines(string(b[:n])) {
				lines <- strings.TrimSpace(line)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-ended })
	return lines
}

// until returns the lines up to one, without repeated ones.
func until(t *testing.T, lines <-chan string, last string) (seen []string) {
	t.Helper()
	for {
		select {
		case line := <-lines:
			if len(seen) == 0 || seen[len(seen)-1] != line {
				seen = append(seen, line)
			}
			if line == last {
				return seen
			}
		case <-t.Context().Done():
			t.Fatalf("no %s after %q", last, seen)
		}
	}
}

func TestStart(t *testing.T) {
	lines := socket(t)
	t.Setenv("WATCHDOG_USEC", "1000")
	s := &service{}
	s.set(errors.New("waiting for NATS"), errors.New("still"))
	ctx, cancel := context.WithCancel(t.Context())
	stop := Start(ctx, os.Getenv, s, logrus.New())
	if got := until(t, lines, "STATUS=waiting for NATS"); len(got) != 1 {
		t.Errorf("before it is ready: %q", got)
	}
	s.set(errors.New("waiting for\nJetStream"), errors.New("still"))
	if got := until(t, lines, "STATUS=waiting for JetStream"); len(got) != 1 {
		t.Errorf("before it is ready: %q", got)
	}
	s.set(nil, errors.New("still"))
	if got := strings.Join(until(t, lines, "STATUS=working"), " "); got != "READY=1 STATUS=working" {
		t.Errorf("when it is ready: %q", got)
	}
	s.set(errors.New("reconnecting"), nil)
	until(t, lines, "WATCHDOG=1")
	s.set(nil, nil)
	for _, line := range until(t, lines, "STATUS=working") {
		if line == "READY=1" {
			t.Error("READY=1 was sent twice")
		}
	}
	cancel()
	until(t, lines, "STOPPING=1")
	stop()
	stop()
}

func TestWithoutSystemd(t *testing.T) {
	s := &service{} // panics if it is asked
	Start(t.Context(), func(string) string { return "" }, s, logrus.New())()
}
