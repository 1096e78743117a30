package main

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
	"statusworker/schema"
)

// flaky is a broker that answers each request at the nth time only; the others wait for their context, or fail at once
// with an error. It counts the requests by their first subject.
type flaky struct {
	jetstream.JetStream
	mu     sync.Mutex
	asked  map[string]int
	answer int
	fails  error
}

func flakyBroker(t *testing.T, answer int, fails error) *flaky {
	t.Helper()
	_, js := provisioned(t)
	f := &flaky{asked: map[string]int{}, answer: answer, fails: fails}
	f.JetStream = permission.Wrap(js, func(ctx context.Context, r permission.Request, do func(context.Context) error) error {
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
	})
	return f
}

// What was answered is not asked again, whatever becomes of the requests after it.
func TestWhatWasAnsweredIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]error{
		"no answer": nil, "electing": &jetstream.APIError{Code: 503, ErrorCode: 10008}, "no connection": nats.ErrReconnectBufExceeded, "nobody there": nats.ErrNoResponders,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const answer = 3
			f := flakyBroker(t, answer, fails)
			var out output
			calls := 0
			err := settledBroker(t.Context(), f, logTo(&out), func(ctx context.Context, js jetstream.JetStream) error {
				calls++
				for _, name := range []string{schema.StreamDeclared, schema.StreamPolls} {
					if _, err := js.Stream(ctx, name); err != nil {
						return err
					}
				}
				_, err := js.Consumer(ctx, schema.StreamDeclared, schema.ConsumerIntake)
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
					t.Errorf("%s was asked %d times, want %d", subject, n, answer)
				}
			}
		})
	}
}

// A command gives up where nothing comes any more, also where its attempts succeed up to the same point again and
// again.
func TestPatienceEndsWithoutProgress(t *testing.T) {
	t.Parallel()
	_, real := provisioned(t)
	for name, js := range map[string]jetstream.JetStream{"no answer at all": flakyBroker(t, 0, nats.ErrNoResponders), "the same answers again": real} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := patience.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			var out output
			err := settledBroker(ctx, js, logTo(&out), func(ctx context.Context, js jetstream.JetStream) error {
				if _, err := js.Stream(ctx, schema.StreamOutcomes); err != nil {
					return err
				}
				return nats.ErrNoResponders
			})
			if !errors.Is(err, nats.ErrNoResponders) || !patience.Out(ctx) {
				t.Errorf("it ended with %v, want what went wrong last", err)
			}
		})
	}
}

// A missing right ends the wait only where it is that of the request.
func TestRightOfAnotherRequest(t *testing.T) {
	t.Parallel()
	at := users(t, asTheyAre)
	command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	nc, err := nats.Connect(at, nats.UserInfo("status", userPassword), nats.CustomInboxPrefix("_INBOX_status"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var out output
	calls := 0
	err = settledBroker(t.Context(), js, logTo(&out), func(ctx context.Context, js jetstream.JetStream) error {
		if err := errors.Join(nc.Publish("not.allowed", nil), nc.Flush()); err != nil {
			return err
		}
		if calls++; calls == 1 {
			return nats.ErrTimeout
		}
		_, err := js.Stream(ctx, schema.StreamOutcomes)
		return err
	})
	if err != nil || calls != 2 {
		t.Errorf("after %d calls: %v, want that a right of another request ends nothing", calls, err)
	}
	if err := settledBroker(t.Context(), js, logTo(&out), func(ctx context.Context, js jetstream.JetStream) error {
		return js.DeleteConsumer(ctx, schema.StreamDeclared, schema.ConsumerIntake)
	}); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("%v, want a violation", err)
	}
}

func asTheyAre(all []*server.User) []*server.User { return all }
