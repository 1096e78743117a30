package consumer_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// What follows runs over a broker in memory, in a bubble where time passes when all wait: with the vendor's guidance,
// and to the moment.

const oneID = "bd5c92f3-c228-44a6-91bf-b52672569878"

// bubble is a broker, a vendor and workers in a bubble, and one declared interaction, an audio.
type bubble struct {
	*testing.T
	*fake.Broker
	mode     consumer.Mode
	declared time.Time

	mu       sync.Mutex
	answers  []any // a [schema.Status], or an error, for one poll after the other; the last one for all that follow
	polls    []time.Time
	outcomes []schema.Outcome
}

func inBubbles(t *testing.T, answers []any, test func(*bubble)) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				topology := consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode})
				b := &bubble{T: t, mode: mode, declared: time.Now(), answers: answers,
					Broker: fake.New(fake.Options{FiresLate: 140 * time.Millisecond}, adapter.Described(topology)...)}
				defer b.Close()
				_, err := b.Publish(t.Context(), broker.Publication{
					Subject: schema.DeclaredSubject(schema.Audio, oneID),
					Data:    []byte(`{"interactionIdentifier":"` + oneID + `","type":"audio"}`),
				})
				if err != nil {
					t.Fatal(err)
				}
				test(b)
			})
		})
	}
}

// bubbleVendor and bubbleOutcomes are the worker's other ports.
type bubbleVendor struct{ *bubble }

func (v bubbleVendor) Status(ctx context.Context, _ string, _ time.Time) (schema.Answer, error) {
	if ctx.Err() != nil {
		return schema.Answer{}, ctx.Err()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	answer := v.answers[min(len(v.polls), len(v.answers)-1)]
	v.polls = append(v.polls, time.Now())
	if err, failed := answer.(error); failed {
		return schema.Answer{}, err
	}
	return schema.Answer{Status: answer.(schema.Status), Raw: []byte("{}")}, nil
}

type bubbleOutcomes struct{ *bubble }

func (o bubbleOutcomes) Publish(_ context.Context, outcomes ...schema.Outcome) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outcomes = append(o.outcomes, outcomes...)
	return nil
}

func (o bubbleOutcomes) Outcomes(context.Context, string) (stored []lifecycle.Outcome, _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.outcomes {
		stored = append(stored, lifecycle.Outcome{
			Destination: one.Destination, Reason: one.Reason, Generation: one.Origin.Stored, Stored: time.Now(),
		})
	}
	return stored, nil
}

// start runs a worker. What is returned kills it, and returns when it is gone.
func (b *bubble) start(on consumer.Broker) (kill func()) {
	b.Helper()
	half := func() float64 { return 0.5 }
	w, err := consumer.New(b.Context(), on, b.mode, bubbleVendor{b}, bubbleOutcomes{b},
		consumer.Config{Jitter: half, Log: stage.Log()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx, ctx); close(done) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("the worker ended with %v", err)
		}
	}
}

// ends waits until nothing is stored any more, and wants one processed event for each of an audio's consumers.
func (b *bubble) ends() {
	b.Helper()
	deadline := time.Now().Add(time.Hour)
	for _, stream := range b.mode.Streams() {
		for len(b.Stored(stream)) > 0 && time.Now().Before(deadline) {
			time.Sleep(time.Second)
		}
		if left := b.Stored(stream); len(left) > 0 {
			b.Fatalf("%s has %v an hour later", stream, left)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	want := (schema.Declared{Type: schema.Audio}).Destinations()
	if len(b.outcomes) != len(want) {
		b.Fatalf("%d outcomes, want %d: %+v", len(b.outcomes), len(want), b.outcomes)
	}
	for i, o := range b.outcomes {
		if o.Identifier != oneID || o.Destination != want[i] || o.Reason != "" {
			b.Errorf("outcome %d is %+v, want a processed event for %s", i, o, want[i])
		}
	}
}

// longestWait is the longest time between two polls that nothing delays: the guidance, the slack and half of the
// jitter, and what the broker takes. Delayed naks have the same slack.
const longestWait = 30*time.Second + time.Second + 750*time.Millisecond + 350*time.Millisecond

// polite wants no two polls closer than the guidance, nor the first one closer to the declared message, and so many.
func (b *bubble) polite(want int) (gaps []time.Duration) {
	b.Helper()
	last := b.declared
	for _, at := range b.polls {
		gap := at.Sub(last)
		if last = at; gap < consumer.Guidance.Audio {
			b.Errorf("a poll after %s, the guidance is %s", gap, consumer.Guidance.Audio)
		}
		gaps = append(gaps, gap)
	}
	if len(gaps) != want {
		b.Errorf("polls after %v, want %d", gaps, want)
	}
	return gaps
}

func TestPolledAtTheInterval(t *testing.T) {
	const pending = schema.Status("processing")
	inBubbles(t, []any{pending, pending, schema.StatusProcessed}, func(b *bubble) {
		defer b.start(b.Broker)()
		b.ends()
		for _, gap := range b.polite(3) {
			if gap > longestWait {
				b.Errorf("a poll after %s, want %s at most", gap, longestWait)
			}
		}
	})
}

// Of an interaction that has its outcome, other declared messages are not read: whatever they are, it is not polled.
func TestDeclaredAfterItsOutcome(t *testing.T) {
	inBubbles(t, []any{schema.StatusProcessed}, func(b *bubble) {
		for _, to := range (schema.Declared{Type: schema.Audio}).Destinations() {
			o := schema.Outcome{Identifier: oneID, Destination: to}
			o.Origin.Stored = b.declared.Add(-time.Hour)
			b.outcomes = append(b.outcomes, o)
		}
		b.Inject(fake.Fault{Op: fake.Next, Object: schema.StreamDeclared, Err: broker.ErrNoAnswer})
		defer b.start(b.Broker)()
		b.ends()
		b.polite(0)
		if b.Uninject() != 1 {
			b.Error("the declared messages were read")
		}
	})
}

// A vendor that is down for some polls costs nothing but time.
func TestVendorDownForAWhile(t *testing.T) {
	down := &schema.PollError{Fault: schema.FaultUnavailable, StatusCode: 503, Detail: "503"}
	inBubbles(t, []any{down, down, down, schema.StatusProcessed}, func(b *bubble) {
		defer b.start(b.Broker)()
		b.ends()
		b.polite(4)
	})
}

// mortal is a broker for a worker that dies at one of its settlements: it does not reach the broker, nor anything
// after.
type mortal struct {
	*fake.Broker
	at   func(settlement string, d broker.Delivery) bool
	died chan struct{}
}

func (m *mortal) dead(settlement string, d broker.Delivery) bool {
	select {
	case <-m.died:
		return true
	default:
	}
	if !m.at(settlement, d) {
		return false
	}
	close(m.died)
	time.Sleep(time.Second) // the worker is killed meanwhile
	return true
}

func (m *mortal) Ack(d broker.Delivery) error {
	if m.dead("ack", d) {
		return broker.ErrClosed
	}
	return m.Broker.Ack(d)
}

func (m *mortal) Nak(d broker.Delivery, delay time.Duration) error {
	if m.dead("nak", d) {
		return broker.ErrClosed
	}
	return m.Broker.Nak(d, delay)
}

func (m *mortal) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	select {
	case <-m.died:
		return broker.Ack{}, broker.ErrClosed
	default:
		return m.Broker.Publish(ctx, p)
	}
}

// A worker dies when the next poll is reserved and this one's message not yet acknowledged; with delayed naks when it
// has polled and not handed the message back. Another worker makes the next poll, when it is time for that.
func TestKilledBeforeItSettles(t *testing.T) {
	inBubbles(t, []any{schema.Status("processing"), schema.StatusProcessed}, func(b *bubble) {
		m := &mortal{Broker: b.Broker, died: make(chan struct{}), at: func(settlement string, d broker.Delivery) bool {
			if b.mode == consumer.Schedule {
				return settlement == "ack" && schema.IsPollSubject(d.Subject)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			return settlement == "nak" && len(b.polls) == 1
		}}
		kill := b.start(m)
		<-m.died
		kill()
		died := time.Now()
		defer b.start(b.Broker)()
		b.ends()
		gaps := b.polite(2)
		if b.mode == consumer.Schedule && b.polls[0].Before(died) {
			b.Errorf("it was polled after %s, before its worker died", gaps[0])
		}
	})
}
