package overview_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
)

// The cost of an overview for broker and command together, which are one process here. "count" counts each time,
// "inspect" does not.
func BenchmarkTake(b *testing.B) {
	for _, n := range []int{1_000, 100_000, overview.MaxCounted, 5 * overview.MaxCounted} {
		js, _ := filled(b, n, min(n, 100_000))
		for _, how := range []string{"count", "inspect"} {
			b.Run(fmt.Sprintf("%s/reservations=%d/outcomes=%d", how, n, min(n, 100_000)), func(b *testing.B) {
				ctx := context.Background()
				v := overview.New(js, ns, time.Now)
				if how == "inspect" { // the clock stops, so that the first count never expires
					start, calls := time.Now(), 0
					v = overview.New(
						js, ns,
						func() time.Time { calls++; return start.Add(time.Duration(min(calls, 4)) * time.Hour) },
					)
				}
				if _, err := v.Take(ctx); err != nil {
					b.Fatal(err)
				}
				began := cpu()
				for b.Loop() {
					if how == "count" {
						v = overview.New(js, ns, time.Now)
					}
					s, err := v.Take(ctx)
					if err != nil {
						b.Fatal(err)
					}
					if held := *s.Waiting; held != uint64(n) ||
						n <= overview.MaxCounted && *s.Lanes[0].Waiting != held {
						b.Fatalf("%d reservations, want %d", held, n)
					}
				}
				b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
			})
		}
	}
}

// The cost of counting outcomes if half of them are in the last hour.
func BenchmarkCountOutcomes(b *testing.B) {
	const stored = 100_000
	js, half := filled(b, 1, stored)
	ctx, began := context.Background(), cpu()
	for b.Loop() {
		o, err := overview.CountOutcomes(ctx, js, ns, half.Add(time.Hour))
		if err != nil {
			b.Fatal(err)
		}
		if n := o.LastHour.Processed[schema.ToCXAI]; n == 0 || n >= o.Stored.Processed[schema.ToCXAI] {
			b.Fatalf("%d of %d in the last hour, want some and not all", n, o.Stored.Processed[schema.ToCXAI])
		}
	}
	b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
}

// cpu returns the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// filled starts a broker with reservations that are due in a day, and outcomes. It returns when half of these were
// stored.
func filled(b *testing.B, reservations, outcomes int) (_ jetstream.JetStream, half time.Time) {
	b.Helper()
	broker, err := embedded.Start(b.TempDir(), 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(broker.Stop)
	nc, err := nats.Connect(broker.URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		b.Fatal(err)
	}
	set := consumer.Topology(
		consumer.Config{},
		consumer.Choices{Mode: consumer.Schedule},
	).Add(
		publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}),
	)
	if _, err := provisioning.Create(b.Context(), js, set); err != nil {
		b.Fatal(err)
	}
	due := "@at " + time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339Nano)
	for range reservations {
		id := uuid.NewString()
		put(
			b,
			js,
			&nats.Msg{Subject: ns.HoldSubject(schema.Audio, id), Data: make([]byte, 100), Header: nats.Header{
				"Nats-Schedule": {due}, "Nats-Schedule-Target": {ns.PollSubject(schema.Audio, id)},
			}},
		)
	}
	reasons := schema.Reasons()
	for i := range outcomes {
		if i == outcomes/2 {
			half = time.Now()
		}
		subject := ns.ProcessedSubject(schema.Destinations()[i%2], uuid.NewString())
		if i%10 == 9 {
			subject = ns.FailedSubject(reasons[i/10%len(reasons)], uuid.NewString())
		}
		put(b, js, &nats.Msg{Subject: subject, Data: make([]byte, 1000)})
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(5 * time.Minute):
		b.Fatal("timeout publishing the messages")
	}
	return js, half
}

var refusals sync.Once

func put(b *testing.B, js jetstream.JetStream, m *nats.Msg) {
	b.Helper()
	if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
		refusals.Do(func() { b.Fatal(err) })
	}
}
