package explore

import (
	"context"
	"strings"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// port is the broker of one actor. Every operation passes the gate.
type port struct {
	x *engine
	a *actor
}

var _ broker.Broker = port{}

// quantum is how long an operation takes: long enough to give stored messages different times.
const quantum = 20 * time.Microsecond

// instant is a context for an operation of the fake broker: the explorer does not wait for an answer that does not
// come.
func instant() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Microsecond)
}

// ask makes an operation with an answer.
func ask[T any](
	ctx context.Context, p port, kind fake.Op, stream, object string, do func(context.Context) (T, error),
) (T, error) {
	o := p.operation(kind, stream, object)
	o.do = func() (any, error) {
		ctx, cancel := instant()
		defer cancel()
		return do(ctx)
	}
	return answerOf[T](p.x.call(ctx, o))
}

func answerOf[T any](v any, err error) (T, error) {
	t, _ := v.(T)
	return t, err
}

// operation describes an operation.
func (p port) operation(kind fake.Op, stream, object string) *operation {
	o := &operation{actor: p.a, kind: kind, reads: resourcesOf(stream, object), object: short(object)}
	switch kind {
	case fake.Publish, fake.Delete, fake.Pull, fake.Ack, fake.AckConfirmed, fake.Nak, fake.InProgress:
		o.writes = o.reads
	}
	if id := object[strings.LastIndexByte(object, '.')+1:]; strings.HasPrefix(id, identifiers) {
		o.id = id
	}
	o.background = p.a.starting.Load() || stream == ns.StreamWorkers() || kind == fake.Stream ||
		kind == fake.Consumer
	if stream == ns.StreamWorkers() {
		o.object = "workers"
	}
	return o
}

// resourcesOf returns what an operation on a subject, on subjects or on a consumer of a stream touches.
func resourcesOf(stream, object string) resources {
	switch stream {
	case ns.StreamDeclared():
		return declarations
	case ns.StreamPolls():
		switch {
		case strings.HasPrefix(object, "interactions.hold."):
			return reservations
		case strings.HasPrefix(object, "interactions.poll."), strings.Contains(object, "/poll-"):
			return dueMessages
		}
		return reservations | dueMessages
	case ns.StreamOutcomes():
		return outcomes
	}
	return announcements
}

// streamOf returns the stream of a subject.
func streamOf(subject string) string {
	switch strings.Split(subject, ".")[1] {
	case "declared":
		return ns.StreamDeclared()
	case "hold", "poll":
		return ns.StreamPolls()
	case "processed", "failed":
		return ns.StreamOutcomes()
	}
	return ns.StreamWorkers()
}

// Publish implements [broker.Broker].
func (p port) Publish(ctx context.Context, m broker.Publication) (broker.Ack, error) {
	return p.publish(ctx, m)
}

// PublishAll implements [broker.Broker].
func (p port) PublishAll(ctx context.Context, all []broker.Publication) (broker.Ack, error) {
	return p.publish(ctx, all...)
}

func (p port) publish(ctx context.Context, all ...broker.Publication) (broker.Ack, error) {
	first := all[0]
	stream := streamOf(first.Subject)
	o := p.operation(fake.Publish, stream, first.Subject)
	if o.conditional = first.If.Subjects != ""; o.conditional {
		o.reads |= resourcesOf(stream, first.If.Subjects)
	}
	if first.Header.Get(schema.HeaderTombstone) != "" {
		o.object += " (tombstone)"
	}
	o.do = func() (any, error) {
		ctx, cancel := instant()
		defer cancel()
		var now result
		returned := false
		err := p.x.fake.PublishThen(ctx, all, func(ack broker.Ack, err error) {
			if now.value = ack; returned && !o.fate.Silent {
				o.reply(result{ack, err})
			}
		})
		returned = true
		return now.value, err
	}
	return answerOf[broker.Ack](p.x.call(ctx, o))
}

// Last implements [broker.Broker].
func (p port) Last(ctx context.Context, stream, subjects string) (broker.Message, error) {
	return ask(ctx, p, fake.Last, stream, subjects, func(ctx context.Context) (broker.Message, error) {
		return p.x.fake.Last(ctx, stream, subjects)
	})
}

// Get implements [broker.Broker].
func (p port) Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error) {
	return ask(ctx, p, fake.Get, stream, stream, func(ctx context.Context) (broker.Message, error) {
		return p.x.fake.Get(ctx, stream, sequence)
	})
}

// Next implements [broker.Broker].
func (p port) Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error) {
	return ask(ctx, p, fake.Next, stream, subjects, func(ctx context.Context) (broker.Message, error) {
		return p.x.fake.Next(ctx, stream, subjects, from)
	})
}

// Scan implements [broker.Broker].
func (p port) Scan(ctx context.Context, stream string, r broker.Range, do func(broker.Message) error) error {
	found, err := ask(ctx, p, fake.Scan, stream, strings.Join(r.Subjects, " "),
		func(ctx context.Context) (all []broker.Message, err error) {
			err = p.x.fake.Scan(ctx, stream, r, func(m broker.Message) error {
				all = append(all, m)
				return nil
			})
			return all, err
		})
	if err != nil {
		return err
	}
	for _, m := range found {
		if err := do(m); err != nil {
			return err
		}
	}
	return nil
}

// Count implements [broker.Broker].
func (p port) Count(ctx context.Context, stream string, r broker.Range) (uint64, error) {
	return ask(ctx, p, fake.Count, stream, strings.Join(r.Subjects, " "), func(ctx context.Context) (uint64, error) {
		return p.x.fake.Count(ctx, stream, r)
	})
}

// Subjects implements [broker.Broker].
func (p port) Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	return ask(ctx, p, fake.Subjects, stream, filter, func(ctx context.Context) (map[string]uint64, error) {
		return p.x.fake.Subjects(ctx, stream, filter)
	})
}

// Delete implements [broker.Broker].
func (p port) Delete(ctx context.Context, stream string, sequence uint64) error {
	_, err := ask(ctx, p, fake.Delete, stream, stream, func(ctx context.Context) (any, error) {
		return nil, p.x.fake.Delete(ctx, stream, sequence)
	})
	return err
}

// Stream implements [broker.Broker].
func (p port) Stream(ctx context.Context, stream string) (broker.StreamState, error) {
	return ask(ctx, p, fake.Stream, stream, stream, func(ctx context.Context) (broker.StreamState, error) {
		return p.x.fake.Stream(ctx, stream)
	})
}

// Consumer implements [broker.Broker].
func (p port) Consumer(ctx context.Context, stream, consumer string) (broker.ConsumerState, error) {
	return ask(ctx, p, fake.Consumer, stream, stream+"/"+consumer,
		func(ctx context.Context) (broker.ConsumerState, error) {
			return p.x.fake.Consumer(ctx, stream, consumer)
		})
}

// AckConfirmed implements [broker.Broker].
func (p port) AckConfirmed(ctx context.Context, d broker.Delivery) error {
	_, err := ask(ctx, p, fake.AckConfirmed, d.Stream, d.Subject, func(ctx context.Context) (any, error) {
		return nil, p.x.fake.AckConfirmed(ctx, d)
	})
	return err
}

// Ack implements [broker.Broker].
func (p port) Ack(d broker.Delivery) error {
	return p.settle(fake.Ack, d, func() error { return p.x.fake.Ack(d) })
}

// Nak implements [broker.Broker].
func (p port) Nak(d broker.Delivery, delay time.Duration) error {
	return p.settle(fake.Nak, d, func() error { return p.x.fake.Nak(d, delay) })
}

// InProgress implements [broker.Broker].
func (p port) InProgress(d broker.Delivery) error {
	return p.settle(fake.InProgress, d, func() error { return p.x.fake.InProgress(d) })
}

func (p port) settle(kind fake.Op, d broker.Delivery, do func() error) error {
	o := p.operation(kind, d.Stream, d.Subject)
	o.delivery = d
	// A declared message that waits for another generation hides those behind it: see docs/reliability.md, limits.
	o.keepable = kind == fake.Ack && p.x.world.Mode == consumer.Schedule && d.Stream == ns.StreamPolls()
	o.do = func() (any, error) { return nil, do() }
	return p.x.send(o)
}

// Claim implements [broker.Broker].
func (p port) Claim(stream, consumer string, m broker.Message) broker.Delivery {
	return p.x.fake.Claim(stream, consumer, m)
}

// Puller implements [broker.Broker].
func (p port) Puller(stream, consumer string) broker.Puller { return puller{p, stream, consumer} }

type puller struct {
	port
	stream, consumer string
}

// Close implements [broker.Puller].
func (puller) Close() {}

// Pull implements [broker.Puller]. It waits at the gate until a message is ready, and does not reach the fake broker
// before.
func (p puller) Pull(n int, wait time.Duration, take func(broker.Delivery)) error {
	o := p.operation(fake.Pull, p.stream, p.stream+"/"+p.consumer)
	o.background = false
	o.pull = &pull{stream: p.stream, consumer: p.consumer, wait: wait > 0, expires: time.Now().Add(wait)}
	o.do = func() (any, error) {
		var got []broker.Delivery
		err := p.x.fake.Puller(p.stream, p.consumer).Pull(n, 0, func(d broker.Delivery) { got = append(got, d) })
		return got, err
	}
	if wait == 0 {
		wait = answerWithin // it is answered at once
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	got, err := answerOf[[]broker.Delivery](p.x.call(ctx, o))
	if ctx.Err() != nil && err != nil && o.pull.wait {
		return nil // no message
	}
	began := time.Now()
	for _, d := range got {
		take(d)
	}
	if time.Since(began) > 0 {
		p.a.waits.Store(true)
	}
	return err
}
