package provisioning_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/schema/topology"
)

// workSet is a set with one queue: waiting messages on subjects H, due messages on subjects D.
func workSet(name string) topology.Set {
	s := queue(name)
	s.Subjects = []string{name + ".H.*", name + ".D.*"}
	c := lane(name, "lane")
	c.Config.FilterSubject = name + ".D.*"
	return topology.Set{Streams: []jetstream.StreamConfig{s}, Consumers: []topology.Consumer{c}}
}

func (b broker) create(t *testing.T, set topology.Set) {
	t.Helper()
	if _, err := provisioning.Create(b.ctx, b.js, set); err != nil {
		t.Fatal(err)
	}
}

func (b broker) put(t *testing.T, subject string) uint64 {
	t.Helper()
	ack, err := b.js.Publish(b.ctx, subject, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

func (b broker) inspect(t *testing.T, set topology.Set) provisioning.Report {
	t.Helper()
	r, err := provisioning.Inspect(b.ctx, b.js, set)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// workOff acks everything that a consumer delivers, and returns the number of messages.
func (b broker) workOff(t *testing.T, c topology.Consumer) (n int) {
	t.Helper()
	consumer, err := b.js.Consumer(b.ctx, c.Stream, c.Config.Durable)
	if err != nil {
		t.Fatal(err)
	}
	for {
		batch, err := consumer.FetchNoWait(100)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for m := range batch.Messages() {
			if err := m.DoubleAck(b.ctx); err != nil {
				t.Fatal(err)
			}
			got++
		}
		if n += got; got == 0 {
			return n
		}
	}
}

// skip makes the consumer regard all messages before a sequence as settled, as a restore or a full disk can.
func (b broker) skip(t *testing.T, c topology.Consumer, to uint64) {
	t.Helper()
	reset := "$JS.API.CONSUMER.RESET." + c.Stream + "." + c.Config.Durable
	m, err := b.nc.RequestWithContext(b.ctx, reset, fmt.Appendf(nil, `{"seq":%d}`, to))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil || answer.Error != nil {
		t.Fatalf("the consumer was not reset: %s, %v", m.Data, err)
	}
}

// Inspect reports nothing about messages that are stored, delivered or settled.
func TestInspectWithoutProblems(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	empty, set := workSet("EMPTY"), workSet("S")
	set.Unwanted = []topology.Consumer{lane("S", "old")}
	b.create(t, set)
	look := func(when string) {
		t.Helper()
		if r := b.inspect(t, empty.Add(set)); len(r.Foreign) != 0 || len(r.Undelivered) != 0 {
			t.Errorf("%s: %+v", when, r)
		}
	}
	look("nothing stored, one stream missing")
	b.put(t, "S.H.held")
	for i := range 5 {
		b.put(t, fmt.Sprint("S.D.", i))
	}
	look("stored")
	c, err := b.js.Consumer(b.ctx, "S", "lane")
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(3)
	if err != nil {
		t.Fatal(err)
	}
	var out []jetstream.Msg
	for m := range batch.Messages() {
		out = append(out, m)
	}
	look("three pending")
	for _, m := range slices.Backward(out[1:]) { // not in order
		if err := m.DoubleAck(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
	look("the first still pending")
	if err := out[0].Nak(); err != nil {
		t.Fatal(err)
	}
	b.workOff(t, set.Consumers[0])
	look("all settled")
	old := lane("S", "old")
	old.Config.FilterSubject = "S.H.old"
	if _, err := b.js.CreateConsumer(b.ctx, "S", old.Config); err != nil {
		t.Fatal(err)
	}
	look("with an unwanted consumer of the set")
}

// copy creates a stream COPY, which the returned function deletes.
func (b broker) copy(c jetstream.StreamConfig) (remove func() error, err error) {
	c.Name = "COPY"
	_, err = b.js.CreateStream(b.ctx, c)
	return func() error { return b.js.DeleteStream(b.ctx, c.Name) }, err
}

// Inspect reports a foreign consumer of a work queue as long as it exists.
func TestInspectFindsForeignConsumers(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(b broker, stream string) (remove func() error, err error){
		"a stream that sources it": func(b broker, stream string) (func() error, error) {
			return b.copy(jetstream.StreamConfig{Sources: []*jetstream.StreamSource{{Name: stream}}})
		},
		"a stream that sources some of it": func(b broker, stream string) (func() error, error) {
			source := &jetstream.StreamSource{Name: stream, FilterSubject: stream + ".H.*"}
			return b.copy(jetstream.StreamConfig{Sources: []*jetstream.StreamSource{source}})
		},
		"a mirror": func(b broker, stream string) (func() error, error) {
			return b.copy(jetstream.StreamConfig{Mirror: &jetstream.StreamSource{Name: stream}})
		},
		"a consumer": func(b broker, stream string) (func() error, error) {
			_, err := b.js.CreateConsumer(b.ctx, stream, jetstream.ConsumerConfig{
				Durable: "another", FilterSubject: stream + ".H.*", AckPolicy: jetstream.AckExplicitPolicy,
			})
			return func() error { return b.js.DeleteConsumer(b.ctx, stream, "another") }, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			set := workSet("S").Add(workSet("T"))
			set.Streams = append(set.Streams, results("LIMITS")) // may have any consumers
			b.create(t, set)
			if _, err := b.js.CreateConsumer(b.ctx, "LIMITS", jetstream.ConsumerConfig{Durable: "other"}); err != nil {
				t.Fatal(err)
			}
			b.put(t, "S.H.held")
			remove, err := add(b, "S")
			if err != nil {
				t.Fatal(err)
			}
			foreign := func(n int) {
				t.Helper()
				for {
					r := b.inspect(t, set)
					if len(r.Foreign) == n {
						if n > 0 && (r.Foreign[0].Stream != "S" || r.Foreign[0].Consumers != 1) {
							t.Errorf("found %+v, want one on S", r.Foreign)
						}
						return
					}
					if b.ctx.Err() != nil {
						t.Fatalf("found %+v, want %d", r.Foreign, n)
					}
				}
			}
			foreign(1)
			if err := remove(); err != nil {
				t.Fatal(err)
			}
			foreign(0)
		})
	}
}

// Inspect finds messages that a consumer does not deliver. Redeliver makes it deliver them, and leaves other consumers
// unchanged.
func TestInspectFindsUndelivered(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		filter  string
		due     int  // messages that are not delivered
		later   int  // messages after them
		waiting bool // a message without a consumer is stored before them
	}{
		"one":                        {filter: "S.D.*", due: 1},
		"some":                       {filter: "S.D.*", due: 3},
		"some, and others":           {filter: "S.D.*", due: 3, later: 2},
		"after a message that waits": {filter: "S.D.*", due: 2, waiting: true},
		"without a filter":           {due: 2, later: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			set := workSet("S")
			set.Consumers[0].Config.FilterSubject = tt.filter
			set = set.Add(workSet("T"))
			b.create(t, set)
			if tt.waiting {
				b.put(t, "S.H.1")
			}
			var first, last uint64
			for i := range tt.due {
				last = b.put(t, fmt.Sprint("S.D.", i))
				if i == 0 {
					first = last
				}
			}
			b.put(t, "T.D.0")
			b.skip(t, set.Consumers[0], last+1)
			for i := range tt.later {
				b.put(t, fmt.Sprint("S.D.later", i))
			}
			r := b.inspect(t, set)
			if len(r.Foreign) != 0 || len(r.Undelivered) != 1 {
				t.Fatalf("found %+v, want S/lane", r)
			}
			u := r.Undelivered[0]
			if u.Stream != "S" || u.Consumer != "lane" || u.Sequence != first || u.Stored.IsZero() {
				t.Fatalf("found %+v, want sequence %d of S/lane", r, first)
			}
			if n := b.workOff(t, set.Consumers[0]); n != tt.later {
				t.Errorf("%d were delivered, want the %d after them", n, tt.later)
			}
			recreated, err := provisioning.Recreate(b.ctx, b.js, set, provisioning.ToRecreate(nil, r.Undelivered))
			if err != nil || !slices.Equal(recreated, []string{"consumer S/lane"}) {
				t.Errorf("recreated %v, error %v, want one consumer", recreated, err)
			}
			b.compare(t, set)
			if n := b.workOff(t, set.Consumers[0]); n != tt.due {
				t.Errorf("%d were delivered, want all %d", n, tt.due)
			}
			if r := b.inspect(t, set); len(r.Undelivered) != 0 {
				t.Errorf("after Recreate: %+v", r.Undelivered)
			}
			if n := b.workOff(t, set.Consumers[1]); n != 1 {
				t.Errorf("%d of T were delivered, want 1", n)
			}
		})
	}
}

// A stream that sources a queue must settle each message as well. If it lags and is deleted, the messages that the
// queue's own consumer has settled remain in the queue, and are not delivered.
func TestInspectFindsMessagesLeftBySourcing(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	set := workSet("S")
	b.create(t, set)
	// The consumer that the broker creates for a stream that sources the queue, without a subscriber.
	m, err := b.nc.RequestWithContext(
		b.ctx,
		"$JS.API.CONSUMER.CREATE.S.JS_SRC_gone",
		[]byte(`{"stream_name":"S","config":{
		"name":"JS_SRC_gone","durable_name":"JS_SRC_gone","deliver_subject":"nobody","deliver_policy":"all",
		"ack_policy":"flow_control","flow_control":true,"idle_heartbeat":1000000000,"sourcing":true,
		"replay_policy":"instant"}}`),
	)
	if err != nil || bytes.Contains(m.Data, []byte(`"error"`)) {
		t.Fatal(m, err)
	}
	for i := range 3 {
		b.put(t, fmt.Sprint("S.D.", i))
	}
	if n := b.workOff(t, set.Consumers[0]); n != 3 {
		t.Fatalf("%d were delivered, want 3", n)
	}
	if r := b.inspect(t, set); len(r.Foreign) != 1 {
		t.Errorf("found %+v, want the sourcing consumer", r)
	}
	if err := b.js.DeleteConsumer(b.ctx, "S", "JS_SRC_gone"); err != nil {
		t.Fatal(err)
	}
	r := b.inspect(t, set)
	if len(r.Foreign) != 0 || len(r.Undelivered) != 1 || r.Undelivered[0].Sequence != 1 {
		t.Fatalf("found %+v, want the first message", r)
	}
	if _, err := provisioning.Recreate(b.ctx, b.js, set, provisioning.ToRecreate(nil, r.Undelivered)); err != nil {
		t.Fatal(err)
	}
	if n := b.workOff(t, set.Consumers[0]); n != 3 {
		t.Errorf("%d were delivered, want 3", n)
	}
}

// Inspect returns an error if the broker does not answer.
func TestInspectWithoutABroker(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.nc.Close()
	if r, err := provisioning.Inspect(b.ctx, b.js, workSet("S")); err == nil {
		t.Errorf("found %+v without a broker", r)
	}
}
