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

// workSet is a set with one queue: what is held back under H, and what is due under D.
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

// workOff acks everything that a consumer delivers, and returns how many messages that were.
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

// skip has the broker count everything before a sequence as settled, as a restore or a full disk can.
func (b broker) skip(t *testing.T, c topology.Consumer, to uint64) {
	t.Helper()
	m, err := b.nc.RequestWithContext(
		b.ctx,
		"$JS.API.CONSUMER.RESET."+c.Stream+"."+c.Config.Durable,
		fmt.Appendf(nil, `{"seq":%d}`, to),
	)
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

// What is stored, delivered, being worked on or settled is no news.
func TestInspectTheHealthy(t *testing.T) {
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
	look("three are out")
	for _, m := range slices.Backward(out[1:]) { // not in their order
		if err := m.DoubleAck(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
	look("the first is out still")
	if err := out[0].Nak(); err != nil {
		t.Fatal(err)
	}
	b.workOff(t, set.Consumers[0])
	look("all are settled")
	old := lane("S", "old")
	old.Config.FilterSubject = "S.H.old"
	if _, err := b.js.CreateConsumer(b.ctx, "S", old.Config); err != nil {
		t.Fatal(err)
	}
	look("one is there that is known as unwanted")
}

// Whatever consumes from a work queue beside its own consumers shows, as long as it is there.
func TestInspectFindsForeignConsumers(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(b broker, stream string) (remove func() error, err error){
		"a stream that sources it": func(b broker, stream string) (func() error, error) {
			_, err := b.js.CreateStream(b.ctx, jetstream.StreamConfig{Name: "COPY", Sources: []*jetstream.StreamSource{{Name: stream}}})
			return func() error { return b.js.DeleteStream(b.ctx, "COPY") }, err
		},
		"a stream that sources some of it": func(b broker, stream string) (func() error, error) {
			_, err := b.js.CreateStream(b.ctx, jetstream.StreamConfig{Name: "COPY", Sources: []*jetstream.StreamSource{{Name: stream, FilterSubject: stream + ".H.*"}}})
			return func() error { return b.js.DeleteStream(b.ctx, "COPY") }, err
		},
		"a mirror": func(b broker, stream string) (func() error, error) {
			_, err := b.js.CreateStream(b.ctx, jetstream.StreamConfig{Name: "COPY", Mirror: &jetstream.StreamSource{Name: stream}})
			return func() error { return b.js.DeleteStream(b.ctx, "COPY") }, err
		},
		"a consumer": func(b broker, stream string) (func() error, error) {
			_, err := b.js.CreateConsumer(b.ctx, stream, jetstream.ConsumerConfig{Durable: "another", FilterSubject: stream + ".H.*", AckPolicy: jetstream.AckExplicitPolicy})
			return func() error { return b.js.DeleteConsumer(b.ctx, stream, "another") }, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			set := workSet("S").Add(workSet("T"))
			set.Streams = append(set.Streams, results("LIMITS")) // may have any
			b.create(t, set)
			if _, err := b.js.CreateConsumer(
				b.ctx,
				"LIMITS",
				jetstream.ConsumerConfig{Durable: "somebody"},
			); err != nil {
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

// What a consumer passes over is found, wherever it lies, and is delivered after Redeliver, which touches no other
// consumer.
func TestInspectFindsWhatIsNotDelivered(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		filter string
		due    int  // messages that are passed over
		later  int  // messages behind them
		held   bool // something else is stored before them
	}{
		"one":               {filter: "S.D.*", due: 1},
		"some":              {filter: "S.D.*", due: 3},
		"some, and others":  {filter: "S.D.*", due: 3, later: 2},
		"behind what waits": {filter: "S.D.*", due: 2, held: true},
		"without a filter":  {due: 2, later: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			set := workSet("S")
			set.Consumers[0].Config.FilterSubject = tt.filter
			set = set.Add(workSet("T"))
			b.create(t, set)
			if tt.held {
				b.put(t, "S.H.held")
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
			if len(r.Foreign) != 0 || len(r.Undelivered) != 1 || r.Undelivered[0].Stream != "S" || r.Undelivered[0].Consumer != "lane" ||
				r.Undelivered[0].Sequence != first ||
				r.Undelivered[0].Stored.IsZero() {
				t.Fatalf("found %+v, want sequence %d of S/lane", r, first)
			}
			if n := b.workOff(t, set.Consumers[0]); n != tt.later {
				t.Errorf("%d were delivered, want the %d that are not passed over", n, tt.later)
			}
			recreated, err := provisioning.Redeliver(b.ctx, b.js, set, r.Undelivered)
			if err != nil || !slices.Equal(recreated, []string{"consumer S/lane"}) {
				t.Errorf("recreated %v, %v, want the one consumer", recreated, err)
			}
			b.compare(t, set)
			if n := b.workOff(t, set.Consumers[0]); n != tt.due {
				t.Errorf("%d were delivered, want all %d", n, tt.due)
			}
			if r := b.inspect(t, set); len(r.Undelivered) != 0 {
				t.Errorf("still %+v", r.Undelivered)
			}
			if n := b.workOff(t, set.Consumers[1]); n != 1 {
				t.Errorf("%d of T were delivered, want the one that is stored there", n)
			}
		})
	}
}

// A stream that sources a queue has to settle each message as well. Where it lags and is deleted, what the queue's own
// consumer has settled meanwhile stays: in the queue, and with nobody to deliver it.
func TestInspectFindsWhatASourcingStreamLeaves(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	set := workSet("S")
	b.create(t, set)
	// As the broker makes it for a stream that sources the queue; nobody is there to take what it delivers.
	m, err := b.nc.RequestWithContext(
		b.ctx,
		"$JS.API.CONSUMER.CREATE.S.JS_SRC_gone",
		[]byte(`{"stream_name":"S","config":{
		"name":"JS_SRC_gone","durable_name":"JS_SRC_gone","deliver_subject":"nobody","deliver_policy":"all","ack_policy":"flow_control",
		"flow_control":true,"idle_heartbeat":1000000000,"sourcing":true,"replay_policy":"instant"}}`),
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
		t.Fatalf("found %+v, want what is left", r)
	}
	if _, err := provisioning.Redeliver(b.ctx, b.js, set, r.Undelivered); err != nil {
		t.Fatal(err)
	}
	if n := b.workOff(t, set.Consumers[0]); n != 3 {
		t.Errorf("%d were delivered, want all that is left", n)
	}
}

// Without an answer nothing is found, and that is said.
func TestInspectWithoutABroker(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.nc.Close()
	if r, err := provisioning.Inspect(b.ctx, b.js, workSet("S")); err == nil {
		t.Errorf("found %+v without a broker", r)
	}
}
