package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	wire "statusworker/schema/broker"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// startBroker starts a JetStream server with a directory, which it removes in the end. The arguments are the directory
// and, for a node of a cluster, its name and the ports of all nodes, its own first.
func startBroker(args []string) (*role, error) {
	if len(args) == 0 {
		return nil, errors.New("missing argument: the directory of the broker")
	}
	start := func() (*embedded.Server, error) { return embedded.Start(args[0], 0) }
	if len(args) > 1 {
		node := embedded.Node{Name: args[1]}
		for _, port := range args[2:] {
			n, err := strconv.Atoi(port)
			if err != nil {
				return nil, fmt.Errorf("reading a port: %w", err)
			}
			node.Routes = append(node.Routes, n)
		}
		node.Route = node.Routes[0]
		start = func() (*embedded.Server, error) { return embedded.StartNode(args[0], node) }
	}
	s, err := start()
	if err != nil {
		return nil, err
	}
	return &role{address: s.URL(), received: s.Received, stop: func() error {
		s.Stop()
		return os.RemoveAll(args[0])
	}}, nil
}

// broker is a connection to the broker.
type broker struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// maxPublish is the maximum number of publishes without an ack.
const maxPublish = 4_000

// fillStall is how long to wait for an ack when there are maxPublish of them.
const fillStall = 30 * time.Second

func openBroker(url string) (*broker, error) {
	nc, err := nats.Connect(url, nats.Name("bench"))
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	js, err := jetstream.New(
		nc,
		jetstream.WithPublishAsyncMaxPending(maxPublish),
		jetstream.WithPublishAsyncTimeout(30*time.Second),
	)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	return &broker{nc: nc, js: js}, nil
}

func (b *broker) close() { b.nc.Close() }

// provision creates the streams and consumers as `statusworker provision` does. It retries while a cluster elects its
// leader.
func (b *broker) provision(ctx context.Context, mode consumer.Mode, intervals consumer.Intervals, replicas int) error {
	set := consumer.Topology(consumer.Config{Intervals: intervals}, consumer.Choices{Mode: mode, Replicas: replicas}).
		Add(publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge, Replicas: replicas}))
	for giveUp := time.Now().Add(30 * time.Second); ; {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := provisioning.Create(attempt, b.js, set)
		cancel()
		if err == nil || time.Now().After(giveUp) {
			return err
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
}

// declaredMessage returns a declared message of typical size.
func declaredMessage(typ schema.Type, identifier string) []byte {
	return []byte(`{"interactionIdentifier":"` + identifier + `","type":"` + string(typ) + `","languageTag":"en-us",` +
		`"vertical":"default","model":"cx","includeAiResults":true,` +
		`"downloadUri":"https://recordings.example.com/2022/06/17/call-000123.wav?sig=abcdef",` +
		`"originalFilename":"call-000123.wav","externalIdentifier":"crm/9981","agent":{"id":17,"team":"north"},` +
		`"tags":["sales","inbound"]}`)
}

// declared returns a declared message with its subject.
func declared() *nats.Msg {
	identifier := uuid.NewString()
	return declaredAs(schema.Audio, identifier)
}

func declaredAs(typ schema.Type, identifier string) *nats.Msg {
	return &nats.Msg{Subject: ns.DeclaredSubject(typ, identifier), Data: declaredMessage(typ, identifier)}
}

// due returns a due message, as a schedule publishes it. The poll before it returned the status processing.
func due(number int) *nats.Msg {
	identifier := uuid.NewString()
	return &nats.Msg{
		Subject: ns.PollSubject(schema.Audio, identifier),
		Data:    declaredMessage(schema.Audio, identifier),
		Header: nats.Header{
			wire.HeaderScheduler:    {ns.HoldSubject(schema.Audio, identifier)},
			wire.HeaderScheduleNext: {wire.ScheduleNextIsPurge},
			schema.HeaderDue:        {time.Now().UTC().Format(time.RFC3339Nano) + " 300"},
			schema.HeaderPoll:       {"2"},
			schema.HeaderGeneration: {fmt.Sprintf("%s %d 1", time.Now().UTC().Format(time.RFC3339Nano), number)},
			schema.HeaderHistory: schema.AddChange(nil, schema.StatusChange{
				Status: schema.StatusProcessing, At: time.Now(), Poll: 1,
			}),
		},
	}
}

// fill publishes n messages, and waits until the broker has stored them. If over is set, it spreads them over that
// time.
func (b *broker) fill(ctx context.Context, n int, over time.Duration, message func(number int) *nats.Msg) error {
	begun := time.Now()
	acks := make([]jetstream.PubAckFuture, 0, n)
	for i := range n {
		if wait := time.Duration(i)*over/time.Duration(n) - time.Since(begun); wait > time.Millisecond {
			if err := pause(ctx, wait); err != nil {
				return err
			}
		}
		ack, err := b.js.PublishMsgAsync(message(i+1), jetstream.WithStallWait(fillStall))
		if err != nil {
			return fmt.Errorf("filling the broker: %w", err)
		}
		acks = append(acks, ack)
	}
	select {
	case <-b.js.PublishAsyncComplete():
	case <-ctx.Done():
		return fmt.Errorf("filling the broker: %w", context.Cause(ctx))
	}
	for _, ack := range acks {
		select {
		case err := <-ack.Err():
			return fmt.Errorf("filling the broker: %w", err)
		default:
		}
	}
	return nil
}

// backlog returns the number of due polls that were not pulled.
func (b *broker) backlog(ctx context.Context, mode consumer.Mode) (uint64, error) {
	c, err := b.js.Consumer(ctx, mode.PollStream(ns), ns.PollConsumer(schema.Audio))
	if err != nil {
		return 0, fmt.Errorf("reading the backlog: %w", err)
	}
	return c.CachedInfo().NumPending, nil
}

// inFlight returns the number of messages in the stream of reservations.
func (b *broker) inFlight(ctx context.Context) (uint64, error) {
	s, err := b.js.Stream(ctx, ns.StreamPolls())
	if err != nil {
		return 0, fmt.Errorf("counting interactions in flight: %w", err)
	}
	return s.CachedInfo().State.Msgs, nil
}
