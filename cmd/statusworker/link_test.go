package main

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"

	"statusworker/cmd/broker/embedded"
	"statusworker/statusclient/simulator"
)

// far returns the URL of a proxy to a broker. It delays data in both directions by half a round trip.
func far(t *testing.T, broker string, roundTrip time.Duration) string {
	t.Helper()
	u, err := url.Parse(broker)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", u.Host)
			if err != nil {
				client.Close()
				continue
			}
			go delayed(server, client, roundTrip/2)
			go delayed(client, server, roundTrip/2)
		}
	}()
	return "nats://" + l.Addr().String()
}

// delayed copies data after a delay, without limiting the throughput.
func delayed(to, from net.Conn, delay time.Duration) {
	type chunk struct {
		data []byte
		due  time.Time
	}
	delaying := make(chan chunk, 10_000)
	go func() {
		defer close(delaying)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			if n > 0 {
				delaying <- chunk{data[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	defer to.Close()
	for c := range delaying {
		time.Sleep(time.Until(c.due))
		if _, err := to.Write(c.data); err != nil {
			from.Close() // ends the reading goroutine
		}
	}
}

// A distant broker answers each request in time, although all together take longer than the timeout.
func TestDistantBroker(t *testing.T) {
	t.Parallel()
	const roundTrip = 200 * time.Millisecond
	at, _ := provisioned(t)
	distant := far(t, at, roundTrip)
	v := vendor(t, simulator.Config{})
	t.Run("run", func(t *testing.T) {
		t.Parallel()
		c := worker(t, distant, "--chat-interval", "1s")
		c.args[4] = v.URL()
		c.start()
		began := time.Now()
		c.logs(`"working"`)
		t.Logf("working after %s, with a round trip of %s", time.Since(began).Round(time.Millisecond), roundTrip)
		if strings.Contains(c.stderr.String(), "waiting for") {
			t.Errorf("a distant broker is logged as one that does not answer:\n%s", &c.stderr)
		}
		id := uuid.NewString()
		v.Declare(id, simulator.Processed(0))
		command(t, "declare", "--nats-url", at, "--type", "chat", id).exits(exitOK)
		js := connectTo(t, at)
		outcomes, err := js.Stream(c.ctx, ns.StreamOutcomes())
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := outcomes.GetLastMsgForSubject(c.ctx, ns.OutcomeSubjects(id)); err == nil {
				break
			}
			select {
			case <-c.ctx.Done():
				t.Fatalf("no outcome:\n%s", &c.stderr)
			case <-time.After(50 * time.Millisecond):
			}
		}
		c.stop()
		if code := c.end(); code != exitOK {
			t.Errorf("exit code %d, want 0:\n%s", code, &c.stderr)
		}
	})
	for _, args := range []string{
		"status --timeout 2s", "dlq ls --timeout 2s", "dlq replay --all --yes --timeout 2s",
		"declare --type audio " + someID, "provision --timeout 2s", "doctor",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			c := command(t, append(strings.Fields(args), "--nats-url", distant)...)
			if args == "doctor" {
				c.args = append(c.args, "--base-url", v.URL(), "--api-token", simulator.DefaultToken)
			}
			c.exits(exitOK)
			t.Logf("%s took %s", args, time.Since(began).Round(time.Millisecond))
		})
	}
}

// A worker that waits for JetStream survives a restart of NATS.
func TestRestartOfNATSWhileAWorkerWaits(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	first, err := embedded.Start(folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	command(t, "provision", "--nats-url", first.URL()).exits(exitOK)
	first.Stop()
	u, err := url.Parse(first.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	without, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	without.Start()
	c := worker(t, first.URL()).start()
	c.logs("waiting for JetStream")
	without.Shutdown()
	without.WaitForShutdown()
	select {
	case code := <-c.code:
		t.Fatalf("the worker ended with exit code %d:\n%s", code, &c.stderr)
	case <-time.After(2 * time.Second): // several attempts have failed by then
	}
	second, err := embedded.Start(folder, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	c.logs(`"working"`)
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d, want 0:\n%s", code, &c.stderr)
	}
}
