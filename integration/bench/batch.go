package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
)

// publishCost is the cost of a processed event in one run.
type publishCost struct {
	broker, publisher float64 // microseconds of CPU
	rate              float64 // events per second
	p50, p99          time.Duration
}

// publishLoads are the replicas and the audios per second of each measurement. Without replicas, the broker cannot
// store many batches.
var publishLoads = []struct{ replicas, audios int }{{1, 20}, {3, 200}}

// measureBatch publishes both processed events of audios at a steady rate, in turn as one atomic batch and as two
// publishes, with one replica and with three. It prints the cost of an event and the latency of both events.
func measureBatch(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	fmt.Fprintf(stdout, "\nProcessed events: two for each audio, %d rounds of %s each, medians; the ratio is that of "+
		"each round's pair.\n\n", s.rounds, s.measured)
	fmt.Fprintln(stdout, "| replicas | publishes | events/s | broker CPU us/event | publisher CPU us/event "+
		"| latency of both, p50 | p99 |")
	fmt.Fprintln(stdout, "|--:|---|--:|--:|--:|--:|--:|")
	for _, l := range publishLoads {
		batch, single, err := runBatch(ctx, s, l.replicas, l.audios, stderr)
		if err != nil {
			return fmt.Errorf("measuring processed events with %d replicas: %w", l.replicas, err)
		}
		printPublishes(stdout, l.replicas, "one batch", batch)
		printPublishes(stdout, l.replicas, "two", single)
		printPublishRatios(stdout, l.replicas, batch, single)
	}
	return nil
}

func printPublishes(stdout io.Writer, replicas int, publishes string, costs []publishCost) {
	of := func(value func(publishCost) float64) float64 { return median(valuesOf(costs, value)) }
	took := func(value func(publishCost) time.Duration) time.Duration {
		nanoseconds := of(func(c publishCost) float64 { return float64(value(c)) })
		return time.Duration(nanoseconds).Round(10 * time.Microsecond)
	}
	fmt.Fprintf(stdout, "| %d | %s | %.0f | %.1f | %.1f | %s | %s |\n", replicas, publishes,
		of(func(c publishCost) float64 { return c.rate }),
		of(func(c publishCost) float64 { return c.broker }), of(func(c publishCost) float64 { return c.publisher }),
		took(func(c publishCost) time.Duration { return c.p50 }),
		took(func(c publishCost) time.Duration { return c.p99 }))
}

func printPublishRatios(stdout io.Writer, replicas int, batch, single []publishCost) {
	ratio := func(value func(publishCost) float64) string {
		all := valuesOf(batch, value)
		for i, of := range valuesOf(single, value) {
			all[i] /= of
		}
		return fmt.Sprintf("**%.2f** (%.2f to %.2f)", median(all), slices.Min(all), slices.Max(all))
	}
	fmt.Fprintf(stdout, "| %d | one batch / two: median (min to max) | | %s | %s | %s | %s |\n", replicas,
		ratio(func(c publishCost) float64 { return c.broker }),
		ratio(func(c publishCost) float64 { return c.publisher }),
		ratio(func(c publishCost) float64 { return float64(c.p50) }),
		ratio(func(c publishCost) float64 { return float64(c.p99) }))
}

func valuesOf(costs []publishCost, value func(publishCost) float64) []float64 {
	values := make([]float64, len(costs))
	for i, c := range costs {
		values[i] = value(c)
	}
	return values
}

// runBatch measures both ways in turn, on one broker.
func runBatch(
	ctx context.Context, s settings, replicas, audios int, stderr io.Writer,
) (batch, single []publishCost, err error) {
	r, err := newRig(ctx, consumer.Schedule, consumer.Guidance, replicas, stderr)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for round := range s.rounds {
		for _, way := range []struct {
			atomic bool
			costs  *[]publishCost
		}{{true, &batch}, {false, &single}} {
			c, err := r.publishes(ctx, s, audios, way.atomic, stderr)
			if err != nil {
				return nil, nil, err
			}
			*way.costs = append(*way.costs, c)
			fmt.Fprintf(stderr, "round %d, %d replicas, batch %t: broker %.1f us, publisher %.1f us, p50 %s, p99 %s\n",
				round+1, replicas, way.atomic, c.broker, c.publisher, c.p50, c.p99)
		}
	}
	return batch, single, nil
}

// publishes measures one run of a publisher on a stream with atomic batches or without.
func (r *rig) publishes(
	ctx context.Context, s settings, audios int, atomic bool, stderr io.Writer,
) (c publishCost, err error) {
	if err := r.broker.allowBatches(ctx, atomic); err != nil {
		return c, err
	}
	p, err := start(stderr, "publisher", r.address(), strconv.Itoa(audios))
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	if err := pause(ctx, s.warmUp); err != nil {
		return c, err
	}
	if _, err := p.ask("late"); err != nil {
		return c, err
	}
	begin, err := r.read(p)
	if err != nil {
		return c, err
	}
	if err := pause(ctx, s.measured); err != nil {
		return c, err
	}
	end, err := r.read(p)
	if err != nil {
		return c, err
	}
	late, err := p.ask("late")
	if err != nil {
		return c, err
	}
	events := float64(end.poller.Polls - begin.poller.Polls)
	if events == 0 {
		return c, errors.New("no event was stored")
	}
	return publishCost{
		broker:    float64((end.broker.CPU - begin.broker.CPU).Microseconds()) / events,
		publisher: float64((end.poller.CPU - begin.poller.CPU).Microseconds()) / events,
		rate:      events / end.poller.At.Sub(begin.poller.At).Seconds(),
		p50:       late.LateP50, p99: late.LateP99,
	}, nil
}

// allowBatches makes the outcomes stream store atomic batches, or not.
func (b *broker) allowBatches(ctx context.Context, allow bool) error {
	s, err := b.js.Stream(ctx, ns.StreamOutcomes())
	if err != nil {
		return fmt.Errorf("reading the outcomes stream: %w", err)
	}
	cfg := s.CachedInfo().Config
	cfg.AllowAtomicPublish = allow
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("updating the outcomes stream: %w", err)
	}
	return nil
}

// publishing is a publisher under a steady load.
type publishing struct {
	*publisher.Publisher
	waits durations
}

// startPublisher starts a publisher of processed events. The arguments are the broker's URL, and the number of audios
// per second. Its polls are the stored events, and its lateness is how long both events of an audio took.
func startPublisher(args []string) (*role, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("%d arguments; must be 2: broker URL and audios per second", len(args))
	}
	audios, err := strconv.Atoi(args[1])
	if err != nil || audios < 1 {
		return nil, fmt.Errorf("invalid number of audios per second %q; must be at least 1", args[1])
	}
	nc, err := nats.Connect(args[0], nats.Name("publisher"), nats.CustomInboxPrefix("_INBOX"))
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	log := logrus.New()
	log.SetOutput(os.Stderr)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	outcomes, err := publisher.New(ctx, adapter.New(js), ns, log)
	if err != nil {
		return nil, err
	}
	p := &publishing{Publisher: outcomes}
	working, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.run(working, audios) }()
	return &role{
		address: "publisher",
		polls:   func() uint64 { return outcomes.Stats().Published },
		late:    p.waits.since,
		stop: func() error {
			stop()
			err := <-ended
			nc.Close()
			if s := outcomes.Stats(); err == nil && (s.Retries > 0 || s.Repeated > 0 || s.Contradictions > 0) {
				err = fmt.Errorf("the publisher was disturbed: %+v", s)
			}
			return err
		},
	}, nil
}

// run publishes the events of audios at a rate until ctx ends.
func (p *publishing) run(ctx context.Context, perSecond int) error {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	failed := make(chan error, 1)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-tick.C:
		}
		all.Go(func() {
			begun := time.Now()
			if err := p.Publish(context.WithoutCancel(ctx), processedEvents()...); err != nil {
				select {
				case failed <- err:
				default:
				}
				return
			}
			p.waits.add(time.Since(begun))
		})
	}
}

// processedEvents returns both processed events of a new audio, of typical size.
func processedEvents() []schema.Outcome {
	stored := time.Now().Add(-5 * time.Minute).UTC()
	o := schema.Outcome{
		Identifier: uuid.NewString(), Type: schema.Audio, Destination: schema.ToTranscript, Observed: time.Now().UTC(),
		Answer: json.RawMessage(`{"status":"processed","declared":"2022-06-17T15:36:44.823Z","uploaded":null,` +
			`"downloaded":"2022-06-17T15:37:00.140331Z","processed":"2022-06-17T15:41:05.071Z","errorMessage":null}`),
	}
	o.Declaration = declaredMessage(schema.Audio, o.Identifier)
	o.Origin = schema.Origin{Stream: ns.StreamDeclared(), Subject: ns.DeclaredSubject(o.Type, o.Identifier),
		Sequence: 1, Deliveries: 1, Stored: stored, Polls: 11}
	second := o
	second.Destination = schema.ToCXAI
	return []schema.Outcome{o, second}
}
