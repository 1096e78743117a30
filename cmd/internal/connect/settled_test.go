package connect

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/patience"
)

const streamA, streamB = "A", "B"

// jetStream is a broker with two streams, and a consumer on the first.
func jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(newServer(t, server.Options{JetStream: true, StoreDir: t.TempDir()}).ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{streamA, streamB} {
		config := jetstream.StreamConfig{Name: name, Subjects: []string{name}}
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.CreateConsumer(t.Context(), streamA, jetstream.ConsumerConfig{Durable: "consumer"}); err != nil {
		t.Fatal(err)
	}
	return js
}

// flaky is a broker that answers only the nth attempt of each request. Other attempts block until their context ends,
// or fail at once. It counts the attempts by their first subject.
type flaky struct {
	jetstream.JetStream
	mu     sync.Mutex
	asked  map[string]int
	answer int
	fails  error
}

func flakyBroker(t *testing.T, answer int, fails error) *flaky {
	t.Helper()
	js := jetStream(t)
	f := &flaky{asked: map[string]int{}, answer: answer, fails: fails}
	f.JetStream = permission.Wrap(js, f.ask)
	return f
}

func (f *flaky) ask(ctx context.Context, r permission.Request, do func(context.Context) error) error {
	f.mu.Lock()
	f.asked[r.Subjects[0]]++
	n := f.asked[r.Subjects[0]]
	f.mu.Unlock()
	switch {
	case n == f.answer:
		return do(ctx)
	case f.fails != nil:
		return f.fails
	}
	<-ctx.Done()
	return ctx.Err()
}

// An answered request is not repeated when a later request fails.
func TestSettledDoesNotRepeatAnsweredRequests(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]error{
		"no answer":     nil,
		"electing":      &jetstream.APIError{Code: 503, ErrorCode: 10008},
		"no connection": nats.ErrReconnectBufExceeded,
		"no responders": nats.ErrNoResponders,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const answer = 3
			f := flakyBroker(t, answer, fails)
			log, _ := newLog()
			calls := 0
			err := Settled(t.Context(), f, log, func(ctx context.Context, js jetstream.JetStream) error {
				calls++
				for _, name := range []string{streamA, streamB} {
					if _, err := js.Stream(ctx, name); err != nil {
						return err
					}
				}
				_, err := js.Consumer(ctx, streamA, "consumer")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if calls != 1 || len(f.asked) != 3 {
				t.Errorf("%d calls with requests %v", calls, f.asked)
			}
			for subject, n := range f.asked {
				if n != answer {
					t.Errorf("%s was requested %d times, want %d", subject, n, answer)
				}
			}
		})
	}
}

// A command times out without progress: without any answer, and if each attempt fails at the same request.
func TestSettledTimesOutWithoutProgress(t *testing.T) {
	t.Parallel()
	for name, js := range map[string]jetstream.JetStream{
		"no answer":       flakyBroker(t, 0, nats.ErrNoResponders),
		"the same answer": jetStream(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := patience.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			log, _ := newLog()
			err := Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
				if _, err := js.Stream(ctx, streamA); err != nil {
					return err
				}
				return nats.ErrNoResponders
			})
			if !errors.Is(err, nats.ErrNoResponders) || !patience.Out(ctx) {
				t.Errorf("error %v, want the last one, after the timeout", err)
			}
		})
	}
}
