package publisher_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"statusworker/publisher"
	"statusworker/schema/broker"
	"statusworker/schema/topology"
)

// kind is a kind of outcomes stream.
type kind struct {
	window time.Duration
	// single is true for a stream without atomic batches.
	single bool
}

// The duplicate windows of the outcomes stream: the default of the broker, and one that forget ends.
const (
	longWindow  = 2 * time.Minute
	shortWindow = 100 * time.Millisecond
)

// remembered is the kind of stream that provision creates in a cluster.
var remembered = kind{window: longWindow}

func (k kind) topology() topology.Set {
	set := publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge})
	set.Streams[0].Duplicates, set.Streams[0].AllowAtomicPublish = k.window, !k.single
	return set
}

// kinds runs a test with a long and with a short duplicate window, with atomic batches and without.
func kinds(t *testing.T, test func(t *testing.T, s *stage)) {
	for name, k := range map[string]kind{
		"remembered": remembered, "single, remembered": {window: longWindow, single: true},
		"forgotten": {window: shortWindow}, "single, forgotten": {window: shortWindow, single: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newStage(t, k))
		})
	}
}

// brokers runs a test as kinds does, and with embedded servers.
func brokers(t *testing.T, test func(t *testing.T, s *stage)) {
	kinds(t, test)
	for name, k := range map[string]kind{
		"server": remembered, "server, single": {window: longWindow, single: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, onServer(t, k))
		})
	}
}

// counter counts the requests to a broker.
type counter struct {
	broker.Broker
	publishes, reads atomic.Int64
}

func (c *counter) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	c.publishes.Add(1)
	return c.Broker.Publish(ctx, p)
}

func (c *counter) PublishAll(ctx context.Context, all []broker.Publication) (broker.Ack, error) {
	c.publishes.Add(1)
	return c.Broker.PublishAll(ctx, all)
}

func (c *counter) Last(ctx context.Context, stream, subjects string) (broker.Message, error) {
	c.reads.Add(1)
	return c.Broker.Last(ctx, stream, subjects)
}

func (c *counter) Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error) {
	c.reads.Add(1)
	return c.Broker.Get(ctx, stream, sequence)
}

func (c *counter) Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error) {
	c.reads.Add(1)
	return c.Broker.Next(ctx, stream, subjects, from)
}

func (c *counter) Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	c.reads.Add(1)
	return c.Broker.Subjects(ctx, stream, filter)
}
