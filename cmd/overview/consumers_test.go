package overview_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// Of each durable consumer, what it has not acknowledged is counted, and the age of the oldest is read, by its filters
// and from its position.
func TestConsumersOfOutcomes(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	store := func(subject string) { s.Publish(subject, "{}") }
	create := func(cfg jetstream.ConsumerConfig) jetstream.Consumer {
		t.Helper()
		cfg.AckPolicy = jetstream.AckExplicitPolicy
		c, err := s.JS.CreateConsumer(s.Ctx, ns.StreamOutcomes(), cfg)
		check(t, err)
		return c
	}
	store(ns.ProcessedSubject(schema.ToTranscript, uuid.NewString()))
	store(ns.ProcessedSubject(schema.ToCXAI, uuid.NewString()))
	store(ns.FailedSubject(schema.NotFound, uuid.NewString()))
	create(jetstream.ConsumerConfig{Durable: "all"})
	transcripts := create(jetstream.ConsumerConfig{
		Durable: "transcripts", FilterSubject: ns.ProcessedSubject(schema.ToTranscript, "*"),
	})
	create(jetstream.ConsumerConfig{Durable: "two-filters", FilterSubjects: []string{
		ns.ProcessedSubject(schema.ToCXAI, "*"), ns.SubjectsFailed(),
	}})
	create(jetstream.ConsumerConfig{Durable: "late", DeliverPolicy: jetstream.DeliverNewPolicy})
	create(jetstream.ConsumerConfig{Name: "not-durable"})
	held := create(jetstream.ConsumerConfig{Durable: "pulls"})
	m, err := transcripts.Next()
	check(t, err)
	check(t, m.DoubleAck(s.Ctx))
	_, err = held.Next()
	check(t, err)
	acknowledge := func(name string, which int) {
		t.Helper()
		c := create(jetstream.ConsumerConfig{Durable: name})
		for n := range which {
			m, err := c.Next()
			check(t, err)
			if n == which-1 {
				check(t, m.DoubleAck(s.Ctx))
			}
		}
	}
	acknowledge("acknowledges-the-first", 1)
	acknowledge("acknowledges-the-second", 2)
	none, err := s.JS.CreateConsumer(s.Ctx, ns.StreamOutcomes(), jetstream.ConsumerConfig{
		Durable: "without-acknowledgements", AckPolicy: jetstream.AckNonePolicy,
	})
	check(t, err)
	_, err = none.Next()
	check(t, err)

	stream, err := s.JS.Stream(s.Ctx, ns.StreamOutcomes())
	check(t, err)
	var stored []time.Time
	for n := range uint64(3) {
		m, err := stream.GetMsg(s.Ctx, n+1)
		check(t, err)
		stored = append(stored, m.Time)
	}
	want := map[string]overview.Consumer{
		"all": {Unread: 3}, "transcripts": {}, "two-filters": {Unread: 2}, "late": {}, "pulls": {Unread: 3, Unacked: 1},
		"acknowledges-the-second": {Unread: 2, Unacked: 1}, "acknowledges-the-first": {Unread: 2},
		"without-acknowledgements": {Unread: 2},
	}
	oldest := map[string]int{
		"all": 0, "two-filters": 1, "pulls": 0, "acknowledges-the-second": 0, "acknowledges-the-first": 1,
		"without-acknowledgements": 1,
	}
	soon := publisher.DefaultMaxAge / 4
	for _, age := range []time.Duration{time.Minute, publisher.DefaultMaxAge - soon - time.Hour,
		publisher.DefaultMaxAge - soon + time.Hour} {
		at := stored[0].Add(age)
		all, err := overview.ReadConsumers(s.Ctx, s.JS, stream, at)
		check(t, err)
		if len(all) != len(want) {
			t.Errorf("%d consumers: %+v", len(all), all)
		}
		for n, c := range all {
			w := want[c.Name]
			w.Name, w.MaxAgeSeconds = c.Name, publisher.DefaultMaxAge.Seconds()
			if i, unread := oldest[c.Name]; unread {
				w.OldestSeconds = math.Round(10*at.Sub(stored[i]).Seconds()) / 10
			}
			if c.ExpiresSoon() != (w.Unread > 0 && age > publisher.DefaultMaxAge-soon) {
				t.Errorf("after %s: %+v expires soon: %t", age, c, c.ExpiresSoon())
			}
			if c != w || n > 0 && all[n-1].Name > c.Name {
				t.Errorf("after %s: %+v, want %+v, sorted", age, c, w)
			}
		}
	}
	if v, err := overview.New(s.JS, ns, time.Now).Take(s.Ctx); err != nil || len(v.Consumers) != len(want) {
		t.Errorf("the overview has the consumers %+v (%v)", v.Consumers, err)
	}
	if v, err := overview.New(s.JS, ns, time.Now).TakeWithoutOutcomes(s.Ctx); err != nil ||
		len(v.Consumers) != len(want) || v.Denied != nil {
		t.Errorf("without outcomes: %+v, denied %q (%v)", v.Consumers, v.Denied, err)
	}
}

// Consumers are read less often if reading takes long.
func TestReadingConsumersIsPaced(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	_, err := s.JS.CreateConsumer(s.Ctx, ns.StreamOutcomes(), jetstream.ConsumerConfig{Durable: "a"})
	check(t, err)
	asked, err := s.NC.SubscribeSync("$JS.API.CONSUMER.LIST." + ns.StreamOutcomes())
	check(t, err)
	clock := time.Now()
	v := overview.New(s.JS, ns, func() time.Time { clock = clock.Add(100 * time.Millisecond); return clock })
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {0, 1}, {10 * time.Second, 2}} {
		clock = clock.Add(step.after)
		got, err := v.TakeWithoutOutcomes(s.Ctx)
		check(t, err)
		check(t, s.NC.Flush())
		if n, _, err := asked.Pending(); err != nil || n != step.want || len(got.Consumers) != 1 {
			t.Errorf("%d requests (%v), consumers %+v, want %d requests and one consumer", n, err, got.Consumers,
				step.want)
		}
	}
}

// Without the permission to list the consumers, the other numbers are complete, and the permission is not tried again
// for five minutes. It is an error where all numbers are required.
func TestConsumersOfOutcomesDenied(t *testing.T) {
	t.Parallel()
	list := "$JS.API.CONSUMER.LIST." + ns.StreamOutcomes()
	server, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
		NoLog: true,
		Users: []*natsserver.User{
			{Username: "all", Password: "p"},
			{Username: "some", Password: "p", Permissions: &natsserver.Permissions{
				Publish: &natsserver.SubjectPermission{Deny: []string{list}},
			}},
		},
	})
	check(t, err)
	server.Start()
	t.Cleanup(func() {
		server.Shutdown()
		server.WaitForShutdown()
	})
	if !server.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server is not ready")
	}
	as := func(user string) string {
		return strings.Replace(server.ClientURL(), "nats://", "nats://"+user+":p@", 1)
	}
	s := stage.New(t, stage.Options{Mode: consumer.Schedule, URL: as("all")})
	s.Declare(schema.Audio, simulator.Never())
	nc, err := nats.Connect(as("some"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	check(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	check(t, err)

	clock := time.Now()
	v := overview.New(js, ns, func() time.Time { return clock })
	times := 0
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {4 * time.Minute, 1}, {time.Minute, 2}} {
		clock = clock.Add(step.after)
		mark := permission.Begin(nc)
		got, err := v.TakeWithoutOutcomes(s.Ctx)
		check(t, err)
		if mark.Denied(list) != nil {
			times++
		}
		if times != step.want || !slices.Equal(got.Denied, []string{list}) || got.Consumers != nil {
			t.Errorf("%d requests, want %d; denied %q, consumers %+v", times, step.want, got.Denied, got.Consumers)
		}
		if got.Intake == nil || got.Intake.Waiting != 1 || len(got.Lanes) != len(schema.Types()) {
			t.Errorf("other numbers are missing: %+v", got)
		}
	}
	var denied *permission.Violation
	if _, err := overview.New(js, ns, time.Now).Take(s.Ctx); !errors.As(err, &denied) || denied.Subject != list {
		t.Errorf("%v, want a violation of %s", err, list)
	}
}
