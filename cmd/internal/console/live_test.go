package console_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"statusworker/cmd/internal/console"
	"statusworker/schema"
)

// events opens the stream of a live page. Each event is its name, a colon and its data.
func (s *stage) events(path string) <-chan string {
	s.t.Helper()
	server := httptest.NewServer(s.Handler())
	ctx, cancel := context.WithCancel(s.ctx)
	s.t.Cleanup(func() {
		cancel()
		server.Close()
	})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
	s.check(err)
	r.Header.Set("Accept", "text/event-stream")
	response, err := server.Client().Do(r)
	s.check(err)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%s: %s, %v", path, response.Status, response.Header)
	}
	events := make(chan string)
	go func() {
		defer close(events)
		defer response.Body.Close()
		read(response.Body, func(event string) bool {
			select {
			case events <- event:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	return events
}

// read reads server-sent events.
func read(from io.Reader, do func(string) bool) {
	name, data := "message", ""
	for lines := bufio.NewScanner(from); lines.Scan(); {
		line := lines.Text()
		switch {
		case line == "":
			if data != "" || name != "message" {
				if !do(name + ":" + data) {
					return
				}
			}
			name, data = "message", ""
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data += line[len("data: "):] + "\n"
		}
	}
}

// until waits until a live page changes or ends.
func (s *stage) until(path string) {
	s.t.Helper()
	events := s.events(path)
	for range 2 { // the first one is the page as it is
		select {
		case <-events:
		case <-s.ctx.Done():
			s.t.Fatal("nothing changes")
		}
	}
}

// The stream of a page has the live part of the page at first, and again when it changes.
func TestStream(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	events := s.events("/")
	first := <-events
	if !strings.HasPrefix(first, "message:") || !strings.Contains(first, "No dead letters are stored") ||
		strings.Contains(first, "<html") {
		t.Errorf("the first event is %s", first)
	}
	s.deadLetters(schema.NotFound, 1)
	_, err := s.js.Publish(s.ctx, ns.WorkerSubject("w"), []byte(worker))
	s.check(err)
	for event := range events {
		if strings.Contains(event, "pod-1") {
			return
		}
	}
	t.Error("the stream has ended without the worker")
}

// The stream of a task ends with the task.
func TestStreamOfATask(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	s.deadLetters(schema.NotFound, 1)
	page := s.get("/dead-letters/confirm?do=purge-all")
	at := s.do(http.MethodPost, "/dead-letters/purge", page.fields()).has(http.StatusSeeOther).Header().Get("Location")
	last := ""
	for event := range s.events(at) {
		if strings.HasPrefix(event, "end:") {
			if !strings.Contains(last, "deleted") {
				t.Errorf("the last event is %s", last)
			}
			return
		}
		last = event
	}
	t.Error("the stream has no end")
}

// A console that waits for the broker answers its probe, and says that it waits. It ends with its context, although a
// browser reads a live page.
func TestServe(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := httptest.NewUnstartedServer(nil)
	listener := server.Listener
	ctx, stop := context.WithCancel(s.ctx)
	connected, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- console.Serve(ctx, listener, func(ctx context.Context) (*console.Console, error) {
			select {
			case <-connected:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return console.New(s.Config), nil
		})
	}()
	at := "http://" + listener.Addr().String()
	get := func(path, accept string) *http.Response {
		r, err := http.NewRequestWithContext(s.ctx, http.MethodGet, at+path, nil)
		s.check(err)
		r.Header.Set("Accept", accept)
		response, err := http.DefaultClient.Do(r)
		s.check(err)
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	if a := get("/livez", ""); a.StatusCode != http.StatusOK {
		t.Errorf("/livez: %s", a.Status)
	}
	if a := get("/readyz", ""); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %s", a.Status)
	}
	close(connected)
	for get("/readyz", "").StatusCode != http.StatusOK {
		if s.ctx.Err() != nil {
			t.Fatal("the console is not ready")
		}
	}
	live := get("/", "text/event-stream")
	read(live.Body, func(string) bool { return false })
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}
