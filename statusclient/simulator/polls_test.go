package simulator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/statusclient/simulator"
)

func TestLeastGap(t *testing.T) {
	for _, countOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("CountOnly %t", countOnly), func(t *testing.T) {
			now := newClock()
			s := start(t, simulator.Config{Now: now.Now, CountOnly: countOnly})
			s.Declare(identifier, simulator.Never())
			if _, _, ok := s.MinGap(); ok {
				t.Error("MinGap before the first poll, want none")
			}
			poll(t, s, identifier)
			now.Advance(time.Second)
			poll(t, s, other) // a poll of an unknown interaction
			if _, _, ok := s.MinGap(); ok {
				t.Error("MinGap of polls of two interactions, want none")
			}
			now.Advance(4 * time.Second)
			poll(t, s, identifier) // gap 5 s
			now.Advance(time.Second)
			poll(t, s, other) // gap 5 s
			now.Advance(2 * time.Second)
			poll(t, s, identifier) // gap 3 s
			if gap, id, ok := s.MinGap(); gap != 3*time.Second || id != identifier || !ok {
				t.Errorf("MinGap() = %v, %s, %t", gap, id, ok)
			}
			if gap, id, ok := s.MinGapOf(
				func(id string) bool { return id == other },
			); gap != 5*time.Second || id != other ||
				!ok {
				t.Errorf("MinGapOf the other = %v, %s, %t", gap, id, ok)
			}
			if _, _, ok := s.MinGapOf(func(string) bool { return false }); ok {
				t.Error("MinGapOf no interaction, want none")
			}
			// The other one got no status.
			if mean, n := s.MeanGapOf(func(string) bool { return true }); mean != 4*time.Second || n != 2 {
				t.Errorf("MeanGapOf all = %v of %d, want 4s of 2", mean, n)
			}
			if mean, n := s.MeanGapOf(func(id string) bool { return id == other }); mean != 0 || n != 0 {
				t.Errorf("MeanGapOf the other = %v of %d, want none", mean, n)
			}
			if s.Count() != 5 || s.CountOf(identifier) != 3 || s.CountOf(other) != 2 {
				t.Errorf("counts %d, %d, %d", s.Count(), s.CountOf(identifier), s.CountOf(other))
			}
			logged := len(s.Polls())
			if want := map[bool]int{false: 5, true: 0}[countOnly]; logged != want {
				t.Errorf("%d polls in the log, want %d", logged, want)
			}
			if of := s.PollsOf(
				other,
			); !countOnly &&
				(len(of) != 2 || of[1].Number != 2 || of[1].StatusCode != http.StatusNotFound || of[1].Status != "") {
				t.Errorf("polls of the other: %+v", of)
			}
		})
	}
}

func TestPollTimesAreMonotonic(t *testing.T) {
	s := start(t, simulator.Config{})
	before := time.Now()
	poll(t, s, identifier)
	after := time.Now()
	if at := s.Polls()[0].At; at.Before(before) || at.After(after) {
		t.Errorf("poll at %v, want between %v and %v", at, before, after)
	}
}

// The hook is called after the poll is logged and before it is answered.
func TestOnPoll(t *testing.T) {
	s := start(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Never() }})
	hooked, release := make(chan simulator.Poll), make(chan struct{})
	s.OnPoll(func(p simulator.Poll) {
		hooked <- p
		<-release
	})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		poll(t, s, identifier)
	}()
	p := <-hooked
	if p != s.Polls()[0] || p.StatusCode != http.StatusOK || p.Status != "processing" || !p.From.IsValid() {
		t.Errorf("hook called with %+v", p)
	}
	select {
	case <-answered:
		t.Error("the poll was answered before the hook returned")
	default:
	}
	close(release)
	<-answered
	s.OnPoll(nil)
	poll(t, s, identifier)
}

func TestWait(t *testing.T) {
	s := start(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Never() }})
	if err := s.WaitPolls(t.Context(), 0); err != nil {
		t.Error(err)
	}
	const polls = 50
	var waiting sync.WaitGroup
	for n := 1; n <= polls; n++ {
		waiting.Go(func() {
			if err := s.WaitPolls(t.Context(), n); err != nil {
				t.Error(err)
			}
		})
	}
	waiting.Go(func() {
		if err := s.WaitPollsOf(t.Context(), other, polls/2); err != nil {
			t.Error(err)
		}
	})
	for i := range polls {
		poll(t, s, []string{identifier, other}[i%2])
	}
	waiting.Wait()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WaitPolls(ctx, polls+1); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v, want the error of ctx", err)
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := simulator.Start(simulator.Config{Speed: -1}); err == nil {
		t.Error("Start accepts a negative speed")
	}
	s := start(t, simulator.Config{})
	if _, err := simulator.Start(
		simulator.Config{Addr: s.URL()[len("http://") : len(s.URL())-len("/v1")]},
	); err == nil {
		t.Error("Start accepts an address in use")
	}
}

// The time of a poll is when the host received it, not when the simulator handles it: here it is busy with the previous
// request on the same connection.
func TestPollCountsFromItsReceipt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux provides the time of reception")
	}
	t.Parallel()
	for name, secure := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) {
			const busy = 400 * time.Millisecond
			s := start(t, simulator.Config{TLS: secure})
			s.SetFaults(simulator.Fault{Kind: simulator.Delayed, Delay: busy})
			u, err := url.Parse(s.URL())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			twice := func() time.Duration {
				c, err := net.Dial("tcp", u.Host)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if secure {
					trusted := x509.NewCertPool()
					trusted.AppendCertsFromPEM(s.CertificatePEM())
					c = tls.Client(c, &tls.Config{RootCAs: trusted, ServerName: "localhost"})
				}
				identifier := uuid.NewString()
				request := fmt.Sprintf(
					"GET /v1/interactions/%s/status HTTP/1.1\r\nHost: vendor\r\nX-API-Token: %s\r\n\r\n",
					identifier,
					simulator.DefaultToken,
				)
				if _, err := io.WriteString(c, request+request); err != nil {
					t.Fatal(err)
				}
				if err := s.WaitPollsOf(ctx, identifier, 2); err != nil {
					t.Fatal(err)
				}
				polls := s.PollsOf(identifier)
				return polls[1].At.Sub(polls[0].At)
			}
			for {
				gap := twice()
				if gap < busy {
					return
				}
				// The kernel needs some time to enable timestamps.
				if t.Logf("two polls that were sent together are %s apart", gap); ctx.Err() != nil {
					t.Fatal("later polls have no time of reception")
				}
			}
		})
	}
}

func BenchmarkPoll(b *testing.B) {
	s := start(
		b,
		simulator.Config{
			CountOnly: true,
			Default:   func(string) simulator.Script { return simulator.Processed(time.Minute) },
		},
	)
	c := client(b)
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, statusURL(s, identifier), nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("X-API-Token", simulator.DefaultToken)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := c.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, err)
		}
		_ = resp.Body.Close()
	}
}
