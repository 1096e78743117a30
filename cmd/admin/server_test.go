package admin_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/admin"
	"statusworker/cmd/broker/adapter"
	"statusworker/consumer"
)

// A worker that is not the first does not report metrics of the fleet, even after requests for an overview. Concurrent
// requests share one inspection of the broker.
func TestOverviewsOnDemand(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.await("/metrics", http.StatusOK, "statusworker_lane_due")
	// A worker that has not announced itself is not the first.
	worker, err := consumer.New(s.ctx, adapter.New(s.JS), consumer.Schedule, nil, s.out, consumer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := admin.Listen("127.0.0.1:0", admin.NewMetrics(ns, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.Watch(worker, s.out, s.JS, logrus.New())
	requests := make(chan *nats.Msg, 1000)
	sub, err := s.JS.Conn().ChanSubscribe("$JS.API.STREAM.INFO."+ns.StreamOutcomes(), requests)
	if err != nil {
		t.Fatal(err)
	}
	other := &page{t, s.Ctx, server}
	began := time.Now()
	var asking sync.WaitGroup
	for range 200 {
		asking.Go(func() { other.serves("/statusz", http.StatusOK, `"redelivery"`) })
	}
	asking.Wait()
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	own := int(time.Since(began) / inspectEvery) // of the first worker
	if n := len(requests); n == 0 || n > 5+own {
		t.Errorf("%d inspections for 200 requests, want at most %d", n, 5+own)
	}
	if f := other.families()["statusworker_lane_due"]; f != nil {
		t.Errorf("it reports %v", f)
	}
}

// Clients can keep a limited number of connections, and a connection with an endless request for a limited time.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const limit, patience = 1024, 20 * time.Second
	server, err := admin.ListenFast("127.0.0.1:0", admin.NewMetrics(ns, "", ""), time.Second, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ask := func(header string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: worker\r\n"+header+"\r\n"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	answer := func(c net.Conn, within time.Duration) error {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1000))
		return err
	}
	open := make([]net.Conn, limit-1)
	for i := range open {
		open[i] = ask("")
	}
	for _, c := range open {
		if err := answer(c, patience); err != nil {
			t.Fatal(err)
		}
	}
	ask("Content-Length: 1000\r\n")
	next := ask("")
	if err := answer(next, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answer on connection %d: %v, want none", limit+1, err)
	}
	// The server closes the connection with the endless request.
	if err := answer(next, patience); err != nil {
		t.Errorf("no answer on the next connection: %v", err)
	}
}

// The root page lists the other pages.
func TestListOfPages(t *testing.T) {
	t.Parallel()
	server, err := admin.Listen("127.0.0.1:0", admin.NewMetrics(ns, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	get := func(path string) (int, string) {
		t.Helper()
		answer, err := http.Get("http://" + server.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	code, list := get("/")
	if pages := strings.Fields(list); code != http.StatusOK || len(pages) != 4 {
		t.Fatalf("%d: %q", code, list)
	}
	for _, page := range strings.Fields(list) {
		if code, _ := get(page); code == http.StatusNotFound {
			t.Errorf("%s is listed, and not found", page)
		}
	}
	if code, _ := get("/nope"); code != http.StatusNotFound {
		t.Errorf("/nope: %d, want %d", code, http.StatusNotFound)
	}
}

func TestRefusedAddresses(t *testing.T) {
	t.Parallel()
	m := admin.NewMetrics(ns, "", "")
	first, err := admin.Listen("127.0.0.1:0", m)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if s, err := admin.Listen(first.Addr(), m); err == nil {
		s.Close()
		t.Error("two servers listen on one address")
	}
	for _, addr := range []string{":6060", "0.0.0.0:6060", "192.0.2.1:6060", "example.org:6060", "6060", ""} {
		if s, err := admin.ListenPprof(addr); err == nil {
			s.Close()
			t.Errorf("profiles are served on %q", addr)
		}
	}
	p, err := admin.ListenPprof("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := &page{t, t.Context(), p}
	s.serves("/debug/pprof/goroutine?debug=1", http.StatusOK, "goroutine profile")
	s = &page{t, t.Context(), first}
	s.serves("/debug/pprof/", http.StatusNotFound, "")
}
