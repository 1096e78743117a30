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
				t.Error("there is a gap before the first poll")
			}
			poll(t, s, identifier)
			now.Advance(time.Second)
			poll(t, s, other) // unknown, and a poll all the same
			if _, _, ok := s.MinGap(); ok {
				t.Error("there is a gap between two interactions")
			}
			now.Advance(4 * time.Second)
			poll(t, s, identifier) // gap 5 s
			now.Advance(time.Second)
			poll(t, s, other) // gap 5 s
			now.Advance(2 * time.Second)
			poll(t, s, identifier) // gap 3 s
			if gap, id, ok := s.MinGap(); gap != 3*time.Second || id != identifier || !ok {
				t.Errorf("the least gap is %v of %s, %t", gap, id, ok)
			}
			if gap, id, ok := s.MinGapOf(
				func(id string) bool { return id == other },
			); gap != 5*time.Second || id != other ||
				!ok {
				t.Errorf("the least gap of the other is %v of %s, %t", gap, id, ok)
			}
			if _, _, ok := s.MinGapOf(func(string) bool { return false }); ok {
				t.Error("there is a least gap of nothing")
			}
			if s.Count() != 5 || s.CountOf(identifier) != 3 || s.CountOf(other) != 2 {
				t.Errorf("counted %d, %d, %d", s.Count(), s.CountOf(identifier), s.CountOf(other))
			}
			logged := len(s.Polls())
			if want := map[bool]int{false: 5, true: 0}[countOnly]; logged != want {
				t.Errorf("%d polls in the log, want %d", logged, want)
			}
			if of := s.PollsOf(
				other,
			); !countOnly &&
				(len(of) != 2 || of[1].Number != 2 || of[1].StatusCode != 404 || of[1].Status != "") {
				t.Errorf("polls of the other are %+v", of)
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
		t.Errorf("the poll was at %v, want between %v and %v", at, before, after)
	}
}

// The hook sees a poll that is in the log, and whose answer is not yet under way.
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
	if p != s.Polls()[0] || p.StatusCode != 200 || p.Status != "processing" {
		t.Errorf("the hook got %+v", p)
	}
	select {
	case <-answered:
		t.Error("it was answered before the hook returned")
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
		t.Errorf("Wait gave %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := simulator.Start(simulator.Config{Speed: -1}); err == nil {
		t.Error("a negative speed was taken")
	}
	s := start(t, simulator.Config{})
	if _, err := simulator.Start(
		simulator.Config{Addr: s.URL()[len("http://") : len(s.URL())-len("/v1")]},
	); err == nil {
		t.Error("an address was taken twice")
	}
}

// A poll counts from when the host received it, and not from when the simulator found time for it: here it is busy with
// the one before, on the same connection.
func TestPollCountsFromItsReceipt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells when something was received")
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
				// A kernel takes a moment to begin with it.
				if t.Logf("two polls that were sent at once are %s apart", gap); ctx.Err() != nil {
					t.Fatal("and so are others")
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
