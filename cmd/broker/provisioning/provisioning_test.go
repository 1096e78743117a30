package provisioning_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
	"statusworker/schema"
	"statusworker/schema/topology"
)

type broker struct {
	ctx context.Context
	nc  *nats.Conn
	js  jetstream.JetStream
}

func newBroker(t *testing.T) broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	server, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	nc, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return broker{ctx, nc, js}
}

// compare fails the test unless exactly these differ.
func (b broker) compare(t *testing.T, want topology.Set, differ ...topology.Difference) {
	t.Helper()
	got, err := provisioning.Compare(b.ctx, b.js, want)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, differ) {
		t.Errorf("Compare gave\n%s, want\n%s", lines(got), lines(differ))
	}
}

// names reports whether an error contains all values.
func names(err error, values ...string) bool {
	return err != nil && !slices.ContainsFunc(values, func(v string) bool { return !strings.Contains(err.Error(), v) })
}

func lines(ds []topology.Difference) string {
	if len(ds) == 0 {
		return "\tnothing"
	}
	all := make([]string, len(ds))
	for i, d := range ds {
		all[i] = fmt.Sprintf("\t%s (%+v)", d, d)
	}
	return strings.Join(all, "\n")
}

// queue is a work queue that must not lose messages.
func queue(name string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: name, Subjects: []string{name + ".*"}, Retention: jetstream.WorkQueuePolicy,
		Discard: jetstream.DiscardOld, Replicas: 1,
	}
}

// intake is a queue that rejects messages beyond its limits.
func intake(name string) jetstream.StreamConfig {
	s := queue(name)
	s.Discard, s.DiscardNewPerSubject, s.MaxMsgsPerSubject = jetstream.DiscardNew, true, 1
	return s
}

// results is a stream that deletes messages by age.
func results(name string) jetstream.StreamConfig {
	s := queue(name)
	s.Retention, s.MaxAge = jetstream.LimitsPolicy, time.Hour
	return s
}

// batches is a stream of results with atomic batches.
func batches(name string) jetstream.StreamConfig {
	s := results(name)
	s.AllowAtomicPublish = true
	return s
}

func lane(stream, name string) topology.Consumer {
	return topology.Consumer{Stream: stream, Config: jetstream.ConsumerConfig{
		Durable: name, FilterSubject: stream + ".a", DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: 10 * time.Second, MaxDeliver: -1, MaxAckPending: 500,
	}}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	want := topology.Set{
		Streams:   []jetstream.StreamConfig{intake("ONE"), results("TWO")},
		Consumers: []topology.Consumer{lane("ONE", "first"), lane("TWO", "second")},
		Unwanted:  []topology.Consumer{lane("ONE", "third"), lane("NOWHERE", "fourth")},
	}
	b.compare(t, want,
		topology.Difference{Object: "stream ONE", Missing: true},
		topology.Difference{Object: "stream TWO", Missing: true},
		topology.Difference{Object: "consumer ONE/first", Missing: true},
		topology.Difference{Object: "consumer TWO/second", Missing: true},
	)
	if changed, err := provisioning.Update(b.ctx, b.js, want); err != nil || len(changed) != 0 {
		t.Errorf("Update without streams changed %v, error %v, want nothing", changed, err)
	}
	all := []string{"stream ONE", "stream TWO", "consumer ONE/first", "consumer TWO/second"}
	for _, created := range [][]string{all, nil} {
		got, err := provisioning.Create(b.ctx, b.js, want)
		if err != nil || !slices.Equal(got, created) {
			t.Errorf("Create created %v, error %v, want %v", got, err, created)
		}
		b.compare(t, want)
	}
	if changed, err := provisioning.Update(b.ctx, b.js, want); err != nil || len(changed) != 0 {
		t.Errorf("Update without differences changed %v, error %v", changed, err)
	}

	// Create creates what was deleted, and leaves what differs unchanged.
	if err := b.js.DeleteConsumer(b.ctx, "TWO", "second"); err != nil {
		t.Fatal(err)
	}
	other := results("TWO")
	other.MaxAge = time.Minute
	if _, err := b.js.UpdateStream(b.ctx, other); err != nil {
		t.Fatal(err)
	}
	got, err := provisioning.Create(b.ctx, b.js, want)
	if err != nil || !slices.Equal(got, []string{"consumer TWO/second"}) {
		t.Errorf("Create created %v, error %v, want the deleted consumer", got, err)
	}
	b.compare(t, want,
		topology.Difference{Object: "stream TWO", Field: "max age", Have: "1m", Want: "1h", Choice: true})
}

func TestCreateFails(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	bad := queue("TWO")
	bad.Subjects = []string{"ONE.*"} // overlaps
	created, err := provisioning.Create(b.ctx, b.js, topology.Set{Streams: []jetstream.StreamConfig{queue("ONE"), bad}})
	if !slices.Equal(created, []string{"stream ONE"}) || !names(err, "stream TWO", "stream ONE", "ONE.*") {
		t.Errorf("Create created %v, error %v, want one stream, and an error that names the other", created, err)
	}
	nowhere := topology.Set{Consumers: []topology.Consumer{lane("NOWHERE", "first")}}
	created, err = provisioning.Create(b.ctx, b.js, nowhere)
	if len(created) != 0 || !names(err, "consumer NOWHERE/first") {
		t.Errorf("Create created %v, error %v, want an error that names the consumer", created, err)
	}
}

// Compare returns each field that differs once, with its actual and intended value.
func TestCompareStreams(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	type stream = jetstream.StreamConfig
	for i, c := range []struct {
		base         func(name string) stream
		change       func(*stream)
		field        string
		have, should string
		choice, risk bool
	}{
		{base: queue, change: func(s *stream) { s.Subjects = append(s.Subjects, s.Name+".*.*") },
			field: "subjects", have: "NAME.* NAME.*.*", should: "NAME.*"},
		{base: queue, change: func(s *stream) { s.Retention = jetstream.LimitsPolicy },
			field: "retention", have: "Limits", should: "WorkQueue"},
		{base: queue, change: func(s *stream) { s.Discard = jetstream.DiscardNew },
			field: "discard", have: "DiscardNew", should: "DiscardOld"},
		{base: intake, change: func(s *stream) { s.DiscardNewPerSubject = false },
			field: "discard new per subject", have: "false", should: "true"},
		{base: intake, change: func(s *stream) { s.MaxMsgsPerSubject = 2 },
			field: "max messages per subject", have: "2", should: "1"},
		{base: results, change: func(s *stream) { s.MaxMsgsPerSubject = 1 },
			field: "max messages per subject", have: "1", should: "unlimited"},
		{base: queue, change: func(s *stream) { s.AllowMsgSchedules = true },
			field: "message schedules", have: "true", should: "false"},
		{base: queue, change: func(s *stream) { s.AllowDirect = true },
			field: "direct gets", have: "true", should: "false"},
		{base: queue, change: func(s *stream) { s.MaxAge = time.Hour },
			field: "max age", have: "1h", should: "unlimited"},
		{base: results, change: func(s *stream) { s.MaxAge = 0 },
			field: "max age", have: "unlimited", should: "1h", choice: true},
		{base: queue, change: func(s *stream) { s.MaxMsgs = 10 },
			field: "max messages", have: "10", should: "unlimited"},
		{base: intake, change: func(s *stream) { s.MaxMsgs = 10 },
			field: "max messages", have: "10", should: "unlimited", choice: true},
		{base: results, change: func(s *stream) { s.MaxMsgs = 10 },
			field: "max messages", have: "10", should: "unlimited", choice: true},
		{base: queue, change: func(s *stream) { s.MaxBytes = 4096 },
			field: "max bytes", have: "4096", should: "unlimited"},
		{base: intake, change: func(s *stream) { s.MaxBytes = 4096 },
			field: "max bytes", have: "4096", should: "unlimited", choice: true},
		{base: results, change: func(s *stream) { s.MaxBytes = 4096 },
			field: "max bytes", have: "4096", should: "unlimited", choice: true},
		{base: queue, change: func(s *stream) { s.MaxMsgSize = 512 },
			field: "max message size", have: "512", should: "unlimited"},
		{base: queue, change: func(s *stream) { s.MaxMsgSize = schema.MaxMessageBytes },
			field: "max message size", have: "262144", should: "unlimited", choice: true},
		{base: intake, change: func(s *stream) { s.MaxMsgSize = 512 },
			field: "max message size", have: "512", should: "unlimited", choice: true},
		{base: queue, change: func(s *stream) { s.Storage = jetstream.MemoryStorage },
			field: "storage", have: "Memory", should: "File", choice: true, risk: true},
		{base: batches, change: func(s *stream) { s.AllowAtomicPublish = false },
			field: "atomic batches", have: "false", should: "true", choice: true},
		{base: results, change: func(s *stream) { s.AllowAtomicPublish = true },
			field: "atomic batches", have: "true", should: "false", choice: true},
		{base: intake, change: func(s *stream) { s.AllowAtomicPublish = true }},
		{base: queue, change: func(s *stream) { s.Description, s.Duplicates = "another", time.Minute }},
		{base: queue, change: func(s *stream) { s.Replicas = 0 }}, // the broker sets 1
	} {
		name := fmt.Sprint("S", i)
		have := c.base(name)
		c.change(&have)
		if _, err := b.js.CreateStream(b.ctx, have); err != nil {
			t.Fatalf("%s: %v", c.field, err)
		}
		var differ []topology.Difference
		if c.field != "" {
			named := func(value string) string { return strings.ReplaceAll(value, "NAME", name) }
			differ = append(differ, topology.Difference{
				Object: "stream " + name, Field: c.field, Have: named(c.have), Want: named(c.should),
				Choice: c.choice, Risk: c.risk,
			})
		}
		b.compare(t, topology.Set{Streams: []jetstream.StreamConfig{c.base(name)}}, differ...)
	}

	// A single broker cannot have three replicas.
	name := "REPLICAS"
	if _, err := b.js.CreateStream(b.ctx, queue(name)); err != nil {
		t.Fatal(err)
	}
	want := queue(name)
	want.Replicas = 3
	b.compare(t, topology.Set{Streams: []jetstream.StreamConfig{want}},
		topology.Difference{Object: "stream REPLICAS", Field: "replicas", Have: "1", Want: "3", Choice: true})

	want.Replicas = 0 // means 1
	b.compare(t, topology.Set{Streams: []jetstream.StreamConfig{want}})

	// A stream without schedules.
	want = queue(name)
	want.AllowMsgSchedules = true
	b.compare(t, topology.Set{Streams: []jetstream.StreamConfig{want}},
		topology.Difference{Object: "stream REPLICAS", Field: "message schedules", Have: "false", Want: "true"})
}

func TestCompareConsumers(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	if _, err := b.js.CreateStream(b.ctx, results("S")); err != nil {
		t.Fatal(err)
	}
	type config = jetstream.ConsumerConfig
	for i, c := range []struct {
		change              func(*config)
		field               string
		have, should        string
		choice, risk, fixed bool
	}{
		{change: func(c *config) { c.FilterSubject = "S.b" }, field: "filter", have: "S.b", should: "S.a"},
		{change: func(c *config) { c.FilterSubject = "" }, field: "filter", have: "", should: "S.a"},
		{change: func(c *config) { c.FilterSubject, c.FilterSubjects = "", []string{"S.a", "S.b"} },
			field: "filter", have: "S.a S.b", should: "S.a"},
		{change: func(c *config) { c.DeliverPolicy = jetstream.DeliverNewPolicy },
			field: "deliver policy", have: "new", should: "all", fixed: true},
		{change: func(c *config) { c.AckPolicy = jetstream.AckAllPolicy },
			field: "ack policy", have: "AckAll", should: "AckExplicit", fixed: true},
		{change: func(c *config) { c.MaxDeliver = 5 }, field: "max deliver", have: "5", should: "unlimited"},
		{change: func(c *config) { c.BackOff = []time.Duration{time.Second, time.Minute} },
			field: "back-off", have: "[1s 1m0s]", should: "none"},
		{change: func(c *config) { c.MaxAckPending = 7 },
			field: "max ack pending", have: "7", should: "500", choice: true},
		{change: func(c *config) { c.MaxAckPending = -1 },
			field: "max ack pending", have: "unlimited", should: "500", choice: true},
		{change: func(c *config) { c.AckWait = 10*time.Second - 1 },
			field: "ack wait", have: "9.999999999s", should: "10s"},
		{change: func(c *config) { c.AckWait = 11 * time.Second },
			field: "ack wait", have: "11s", should: "10s", choice: true},
		{change: func(c *config) { c.MaxWaiting = 3 },
			field: "max waiting", have: "3", should: "512", choice: true, risk: true, fixed: true},
		{change: func(c *config) { c.MemoryStorage = true },
			field: "memory storage", have: "true", should: "false", choice: true, risk: true, fixed: true},
		{change: func(c *config) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy },
			field: "replay policy", have: "original", should: "instant", fixed: true},
		{change: func(c *config) { c.Description = "another" }},
	} {
		name := fmt.Sprint("c", i)
		have, want := lane("S", name), lane("S", name)
		c.change(&have.Config)
		if _, err := b.js.CreateConsumer(b.ctx, "S", have.Config); err != nil {
			t.Fatalf("%s: %v", c.field, err)
		}
		var differ []topology.Difference
		if c.field != "" {
			differ = append(differ, topology.Difference{
				Object: "consumer S/" + name, Field: c.field, Have: c.have, Want: c.should,
				Choice: c.choice, Risk: c.risk, Fixed: c.fixed,
			})
		}
		b.compare(t, topology.Set{Consumers: []topology.Consumer{want}}, differ...)
	}

	// If max ack pending must be unlimited, a limit is not a choice.
	want := lane("S", "unbounded")
	if _, err := b.js.CreateConsumer(b.ctx, "S", want.Config); err != nil {
		t.Fatal(err)
	}
	want.Config.MaxAckPending = -1
	b.compare(t, topology.Set{Consumers: []topology.Consumer{want}},
		topology.Difference{Object: "consumer S/unbounded", Field: "max ack pending", Have: "500", Want: "unlimited"})
}

func TestCompareUnwanted(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	if _, err := provisioning.Create(b.ctx, b.js, topology.Set{
		Streams: []jetstream.StreamConfig{results("S")}, Consumers: []topology.Consumer{lane("S", "old")},
	}); err != nil {
		t.Fatal(err)
	}
	old := lane("S", "old")
	set := topology.Set{Unwanted: []topology.Consumer{old, lane("S", "absent")}}
	differ := topology.Difference{Object: "consumer S/old", Unwanted: true}
	b.compare(t, set, differ)
	if changed, err := provisioning.Update(b.ctx, b.js, set); err != nil || len(changed) != 0 {
		t.Errorf("Update changed %v, error %v, want nothing", changed, err)
	}
	b.compare(t, set, differ)
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	stream, consumer := intake("S"), lane("S", "c")
	stream.MaxMsgsPerSubject, stream.MaxAge, stream.AllowDirect = 5, time.Hour, true
	consumer.Config.AckWait, consumer.Config.BackOff = 0, []time.Duration{time.Second, time.Minute}
	consumer.Config.MaxAckPending = 9
	untouched := results("T")
	if _, err := provisioning.Create(b.ctx, b.js, topology.Set{
		Streams: []jetstream.StreamConfig{stream, untouched}, Consumers: []topology.Consumer{consumer, lane("T", "d")},
	}); err != nil {
		t.Fatal(err)
	}
	want := topology.Set{
		Streams:   []jetstream.StreamConfig{intake("S"), untouched, queue("MISSING")},
		Consumers: []topology.Consumer{lane("S", "c"), lane("T", "d"), lane("T", "missing")},
	}
	missing := []topology.Difference{
		{Object: "stream MISSING", Missing: true}, {Object: "consumer T/missing", Missing: true},
	}
	b.compare(t, want, slices.Concat([]topology.Difference{
		{Object: "stream S", Field: "max messages per subject", Have: "5", Want: "1"},
		{Object: "stream S", Field: "direct gets", Have: "true", Want: "false"},
		{Object: "stream S", Field: "max age", Have: "1h", Want: "unlimited"},
		missing[0],
		{Object: "consumer S/c", Field: "back-off", Have: "[1s 1m0s]", Want: "none"},
		{Object: "consumer S/c", Field: "max ack pending", Have: "9", Want: "500", Choice: true},
	}, missing[1:])...)
	changed, err := provisioning.Update(b.ctx, b.js, want)
	if err != nil || !slices.Equal(changed, []string{"stream S", "consumer S/c"}) {
		t.Errorf("Update changed %v, error %v, want the stream and the consumer that differ", changed, err)
	}
	b.compare(t, want, missing...)
}

// If the broker rejects an update, Update returns what it updated before.
func TestUpdateRejected(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	first, second := queue("FIRST"), queue("SECOND")
	first.MaxAge, second.Storage = time.Hour, jetstream.MemoryStorage
	if _, err := provisioning.Create(b.ctx, b.js, topology.Set{
		Streams: []jetstream.StreamConfig{first, second},
	}); err != nil {
		t.Fatal(err)
	}
	want := topology.Set{Streams: []jetstream.StreamConfig{queue("FIRST"), queue("SECOND")}}
	changed, err := provisioning.Update(b.ctx, b.js, want)
	if !slices.Equal(changed, []string{"stream FIRST"}) || !names(err, "stream SECOND") {
		t.Errorf("Update changed %v, error %v, want the first, and an error that names the second", changed, err)
	}
}

// What the broker cannot change of a consumer, only recreating it corrects. The operator's choices remain.
func TestRecreate(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	type config = jetstream.ConsumerConfig
	for name, change := range map[string]func(*config){
		"memory storage": func(c *config) { c.MemoryStorage = true },
		"deliver policy": func(c *config) { c.DeliverPolicy = jetstream.DeliverNewPolicy },
		"ack policy":     func(c *config) { c.AckPolicy = jetstream.AckAllPolicy },
		"replay policy":  func(c *config) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy },
		"max waiting":    func(c *config) { c.MaxWaiting = 3 },
	} {
		stream := strings.ToUpper(strings.ReplaceAll(name, " ", "-"))
		have, want := lane(stream, "c"), lane(stream, "c")
		have.Config.Description = "the operator's"
		change(&have.Config)
		set := topology.Set{
			Streams: []jetstream.StreamConfig{results(stream)}, Consumers: []topology.Consumer{have, lane(stream, "d")},
		}
		if _, err := provisioning.Create(b.ctx, b.js, set); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		set.Consumers[0] = want
		if changed, err := provisioning.Update(b.ctx, b.js, set); err != nil || len(changed) != 0 {
			t.Errorf("%s: Update changed %v, error %v, want nothing", name, changed, err)
		}
		differences, err := provisioning.Compare(b.ctx, b.js, set)
		objects := provisioning.ToRecreate(differences, nil)
		if err != nil || !slices.Equal(objects, []string{want.Object()}) {
			t.Errorf("%s: %v must be recreated, error %v, want one consumer", name, objects, err)
		}
		recreated, err := provisioning.Recreate(b.ctx, b.js, set, objects)
		if err != nil || !slices.Equal(recreated, objects) {
			t.Errorf("%s: recreated %v, error %v, want %v", name, recreated, err, objects)
		}
		b.compare(t, set)
		c, err := b.js.Consumer(b.ctx, stream, "c")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if text := c.CachedInfo().Config.Description; text != have.Config.Description {
			t.Errorf("%s: the description is %q, want %q", name, text, have.Config.Description)
		}
	}
}

// Without an answer, nothing is reported as missing.
func TestWithoutABroker(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.nc.Close()
	for object, set := range map[string]topology.Set{
		"stream S":     {Streams: []jetstream.StreamConfig{queue("S")}},
		"consumer S/c": {Consumers: []topology.Consumer{lane("S", "c")}},
	} {
		_, compared := provisioning.Compare(b.ctx, b.js, set)
		_, created := provisioning.Create(b.ctx, b.js, set)
		_, updated := provisioning.Update(b.ctx, b.js, set)
		for name, err := range map[string]error{"Compare": compared, "Create": created, "Update": updated} {
			if !names(err, object) || provisioning.Absent(err) {
				t.Errorf("%s: error %v, want one that names %s", name, err, object)
			}
		}
	}
	_, err := provisioning.Compare(b.ctx, b.js, topology.Set{Unwanted: []topology.Consumer{lane("S", "c")}})
	if !names(err, "consumer S/c") {
		t.Errorf("Compare: error %v, want one that names the consumer", err)
	}
}

func TestDifferenceString(t *testing.T) {
	for _, tt := range []struct {
		difference topology.Difference
		values     []string
	}{
		{topology.Difference{Object: "stream S", Missing: true}, []string{"stream S"}},
		{topology.Difference{Object: "consumer S/c", Unwanted: true}, []string{"consumer S/c"}},
		{topology.Difference{Object: "stream S", Field: "max age", Have: "1h", Want: "2h"},
			[]string{"stream S", "max age", "1h", "2h"}},
	} {
		if text := tt.difference.String(); !names(errors.New(text), tt.values...) {
			t.Errorf("%+v is %q, want %q in it", tt.difference, text, tt.values)
		}
	}
}

func TestAdd(t *testing.T) {
	streams := func(names ...string) (all []jetstream.StreamConfig) {
		for _, name := range names {
			all = append(all, queue(name))
		}
		return all
	}
	one := topology.Set{
		Streams: make([]jetstream.StreamConfig, 0, 4), Consumers: []topology.Consumer{lane("ONE", "c")},
	}
	two := one.Add(topology.Set{Streams: streams("TWO"), Unwanted: []topology.Consumer{lane("TWO", "u")}})
	three := one.Add(topology.Set{Streams: streams("THREE"), Consumers: []topology.Consumer{lane("THREE", "c")}})
	want := topology.Set{
		Streams: streams("TWO"), Consumers: one.Consumers, Unwanted: []topology.Consumer{lane("TWO", "u")},
	}
	if !reflect.DeepEqual(two, want) {
		t.Errorf("the union is %+v, want %+v", two, want)
	}
	want = topology.Set{Streams: streams("THREE"), Consumers: []topology.Consumer{lane("ONE", "c"), lane("THREE", "c")}}
	if !reflect.DeepEqual(three, want) || len(one.Streams) != 0 {
		t.Errorf("the second union is %+v, want %+v; the first set is %+v", three, want, one)
	}
}
