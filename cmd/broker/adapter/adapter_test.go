package adapter_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/topology"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// cmd/broker/conformance tests what adapter and fake have in common. These tests cover connections and users.

var queue = broker.StreamConfig{
	Name: "S", Subjects: []string{"s.>"}, WorkQueue: true, AtomicBatches: true,
	Consumers: []broker.ConsumerConfig{{Name: "c", AckWait: time.Minute, MaxAckPending: -1}},
}

func start(t *testing.T) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func connect(t *testing.T, url string, options ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, append(options, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func create(t *testing.T, js jetstream.JetStream, set topology.Set) {
	t.Helper()
	if _, err := provisioning.Create(t.Context(), js, set); err != nil {
		t.Fatal(err)
	}
}

// bounded returns a context for one operation that gets no answer.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// pull pulls one delivery.
func pull(t *testing.T, b broker.Broker) (d broker.Delivery) {
	t.Helper()
	p := b.Puller("S", "c")
	defer p.Close()
	if err := p.Pull(1, 30*time.Second, func(got broker.Delivery) { d = got }); err != nil {
		t.Fatal(err)
	}
	return d
}

func put(t *testing.T, b broker.Broker, subject string) {
	t.Helper()
	if _, err := b.Publish(t.Context(), broker.Publication{Subject: subject}); err != nil {
		t.Fatal(err)
	}
}

// operations are the operations that a server can deny, by the denied subject.
func operations(b broker.Broker, d broker.Delivery) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"s.1": func(ctx context.Context) error {
			_, err := b.Publish(ctx, broker.Publication{Subject: "s.1"})
			return err
		},
		"s.2": func(ctx context.Context) error { // the last message of a batch
			_, err := b.PublishAll(ctx, []broker.Publication{{Subject: "s.3"}, {Subject: "s.2"}})
			return err
		},
		"$JS.API.STREAM.INFO.S": func(ctx context.Context) error { _, err := b.Stream(ctx, "S"); return err },
		"$JS.API.STREAM.MSG.GET.S": func(ctx context.Context) error {
			_, err := b.Last(ctx, "S", "s.*")
			return err
		},
		"$JS.API.STREAM.MSG.DELETE.S": func(ctx context.Context) error { return b.Delete(ctx, "S", 1) },
		"$JS.API.CONSUMER.INFO.S.c": func(ctx context.Context) error {
			_, err := b.Consumer(ctx, "S", "c")
			return err
		},
		"$JS.API.CONSUMER.MSG.NEXT.S.c": func(context.Context) error {
			return b.Puller("S", "c").Pull(1, 0, func(broker.Delivery) {})
		},
		d.Token: func(ctx context.Context) error { return b.AckConfirmed(ctx, d) },
	}
}

// startFor starts a server with these users.
func startFor(t *testing.T, users []*natsserver.User) *natsserver.Server {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
		NoLog: true, Users: users,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s
}

// The error of a user without a permission has the denied subject. A user with all permissions gets no such error.
func TestDenied(t *testing.T) {
	t.Parallel()
	const acks = "$JS.ACK.S.c.>"
	users := []*natsserver.User{{Username: "all"}}
	for name := range operations(nil, broker.Delivery{Token: acks}) {
		users = append(users, &natsserver.User{Username: name, Permissions: &natsserver.Permissions{
			Publish: &natsserver.SubjectPermission{Deny: []string{name}},
		}})
	}
	s := startFor(t, users)
	js := connect(t, s.ClientURL(), nats.UserInfo("all", ""))
	create(t, js, adapter.Topology(queue))
	put(t, adapter.New(js), "s.0")
	d := pull(t, adapter.New(js))
	for subject, do := range operations(adapter.New(js), d) {
		if subject != d.Token {
			if err := do(bounded(t)); errors.Is(err, broker.ErrDenied) {
				t.Errorf("%s: %v for a user with all permissions", subject, err)
			}
		}
	}
	for subject := range operations(nil, d) {
		t.Run(subject, func(t *testing.T) {
			user := subject
			if subject == d.Token {
				user = acks
			}
			// Without a handler, nats.go prints the violation.
			quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
			b := adapter.New(connect(t, s.ClientURL(), nats.UserInfo(user, ""), quiet))
			err := operations(b, d)[subject](bounded(t))
			var e *broker.Error
			if !errors.As(err, &e) || !errors.Is(err, broker.ErrDenied) || e.Object != subject ||
				!errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("error %v, want %v for %s", err, broker.ErrDenied, subject)
			}
		})
	}
}

// Every operation on a closed connection fails with ErrClosed.
func TestClosed(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t).URL())
	create(t, js, adapter.Topology(queue))
	b := adapter.New(js)
	put(t, b, "s.0")
	d := pull(t, b)
	js.Conn().Close()
	ops := operations(b, d)
	ops["ack"] = func(context.Context) error { return b.Ack(d) }
	ops["nak"] = func(context.Context) error { return b.Nak(d, time.Second) }
	ops["in progress"] = func(context.Context) error { return b.InProgress(d) }
	for name, do := range ops {
		if err := do(bounded(t)); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("%s on a closed connection: error %v, want %v", name, err, broker.ErrClosed)
		}
	}
}

// While the server is stopped, operations fail with ErrNoAnswer. After its restart they succeed again.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	s := start(t)
	js := connect(t, s.URL())
	create(t, js, adapter.Topology(queue))
	b := adapter.New(js)
	put(t, b, "s.0")
	d := pull(t, b)
	s.Stop()
	for name, do := range operations(b, d) {
		if err := do(bounded(t)); !errors.Is(err, broker.ErrNoAnswer) {
			t.Errorf("%s without a server: error %v, want %v", name, err, broker.ErrNoAnswer)
		}
	}
	if err := s.StartAgain(); err != nil {
		t.Fatal(err)
	}
	// The server sends no event when it has recovered the stream.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		state, err := b.Stream(t.Context(), "S")
		if err == nil && state.Last > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the state is %+v, %v", state, err)
		}
	}
}

// A pending pull ends when its consumer is deleted, or when its server stops.
func TestPendingPullEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(*testing.T, *embedded.Server, jetstream.JetStream)
		want error
	}{
		"the consumer is deleted": {want: broker.ErrConsumerNotFound, end: func(t *testing.T, _ *embedded.Server,
			js jetstream.JetStream) {
			if err := js.DeleteConsumer(t.Context(), "S", "c"); err != nil {
				t.Error(err)
			}
		}},
		"the server stops": {want: broker.ErrNoAnswer, end: func(_ *testing.T, s *embedded.Server,
			_ jetstream.JetStream) {
			s.Stop()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			js := connect(t, s.URL())
			create(t, js, adapter.Topology(queue))
			ended := make(chan error)
			go func() {
				p := adapter.New(js).Puller("S", "c")
				defer p.Close()
				ended <- p.Pull(1, 3*time.Second, func(broker.Delivery) {})
			}()
			waits := func() bool {
				got, err := js.Consumer(t.Context(), "S", "c")
				return err == nil && got.CachedInfo().NumWaiting == 1
			}
			for !waits() {
				time.Sleep(10 * time.Millisecond) // the server reports no event when a pull begins to wait
			}
			c.end(t, s, js)
			if err := <-ended; !errors.Is(err, c.want) {
				t.Errorf("the pull ended with %v, want %v", err, c.want)
			}
		})
	}
}

// A puller leaves no pending request, and works again after a restart of the server.
func TestPullerSurvivesRestart(t *testing.T) {
	t.Parallel()
	s := start(t)
	js := connect(t, s.URL())
	create(t, js, adapter.Topology(queue))
	b := adapter.New(js)
	p := b.Puller("S", "c")
	defer p.Close()
	take := func(n int, wait time.Duration) (came int, err error) {
		err = p.Pull(n, wait, func(broker.Delivery) { came++ })
		return came, err
	}
	put(t, b, "s.1")
	put(t, b, "s.2")
	for came := 0; came == 0; { // the consumer sees stored messages with a delay
		var err error
		if came, err = take(1, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if came, err := take(5, 0); came > 1 || err != nil {
		t.Errorf("%d deliveries, want at most 1: %v", came, err)
	}
	if _, err := take(5, 10*time.Millisecond); err != nil {
		t.Error(err)
	}
	c, err := js.Consumer(t.Context(), "S", "c")
	if err != nil || c.CachedInfo().NumWaiting != 0 {
		t.Errorf("%d pending pulls, want 0: %v", c.CachedInfo().NumWaiting, err)
	}
	s.Stop()
	if _, err := take(1, 0); !errors.Is(err, broker.ErrNoAnswer) {
		t.Errorf("a pull from a stopped server: error %v, want %v", err, broker.ErrNoAnswer)
	}
	if err := s.StartAgain(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, err := b.Publish(ctx, broker.Publication{Subject: "s.3"})
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	for came := 0; came == 0; {
		if came, err = take(1, 100*time.Millisecond); ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// A pull from a missing consumer gets no responders, as during an election.
func TestPullFromADeletedConsumer(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t).URL())
	create(t, js, adapter.Topology(queue))
	if err := js.DeleteConsumer(t.Context(), "S", "c"); err != nil {
		t.Fatal(err)
	}
	p := adapter.New(js).Puller("S", "c")
	defer p.Close()
	err := p.Pull(1, time.Second, func(broker.Delivery) {})
	if !errors.Is(err, broker.ErrNoAnswer) || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("the pull ended with %v", err)
	}
}

// StreamConfigs and Topology keep everything that correctness depends on.
func TestStreamConfigs(t *testing.T) {
	t.Parallel()
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		set := consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode, DeclaredMaxMsgs: 7,
			DeclaredMaxBytes: 1 << 20}).
			Add(publisher.Topology(publisher.Choices{MaxAge: time.Hour}))
		set.Streams[len(set.Streams)-1].AllowAtomicPublish = true // as with replicas
		configs := adapter.StreamConfigs(set)
		if len(configs) != len(set.Streams) || len(configs) < 3 {
			t.Fatalf("%d streams are described as %d", len(set.Streams), len(configs))
		}
		consumers := 0
		for _, s := range configs {
			consumers += len(s.Consumers)
			if s.Name == ns.StreamPolls() && (!s.Schedules || !s.WorkQueue) {
				t.Errorf("the stream of reservations is described as %+v", s)
			}
		}
		if consumers != len(set.Consumers) || consumers < 3 {
			t.Errorf("%d consumers are described as %d", len(set.Consumers), consumers)
		}
		if again := adapter.StreamConfigs(adapter.Topology(configs...)); !reflect.DeepEqual(again, configs) {
			t.Errorf("StreamConfigs(Topology(s)) is\n%+v, want\n%+v", again, configs)
		}
		js := connect(t, start(t).URL())
		create(t, js, adapter.Topology(configs...))
		want := topology.Set{Streams: set.Streams, Consumers: set.Consumers}
		differ, err := provisioning.Compare(t.Context(), js, want)
		if err != nil || len(differ) > 0 {
			t.Errorf("%s: created from the description, these differ: %v, %v", mode, differ, err)
		}
	}
}
