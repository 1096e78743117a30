package consumer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

var (
	_ consumer.StatusClient     = (*statusclient.Client)(nil)
	_ consumer.OutcomePublisher = (*publisher.Publisher)(nil)
)

// pendingOnce makes an interaction be polled twice at least, however slow the machine is.
var pendingOnce = simulator.Fault{Kind: simulator.OtherStatus, Status: "processing"}.On(1, 1)

// quick is the guidance, scaled: short enough for a test, long enough for the broker to be on time.
var quick = consumer.Intervals{
	Audio:      600 * time.Millisecond,
	Chat:       400 * time.Millisecond,
	Transcript: 400 * time.Millisecond,
}

// stage is a broker, a vendor and workers in one process.
type stage struct {
	t      *testing.T
	ctx    context.Context
	broker *embedded.Server
	vendor *simulator.Simulator
	nc     *nats.Conn
	js     jetstream.JetStream
	cfg    consumer.Config
	seen   *outcomes
	mode   consumer.Mode

	typesMu sync.Mutex
	types   map[string]schema.Type // of what was declared
}

func newStage(t *testing.T, mode consumer.Mode, vendor simulator.Config, change func(*consumer.Config)) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	s := &stage{
		t:     t,
		ctx:   ctx,
		mode:  mode,
		types: map[string]schema.Type{},
		cfg:   consumer.Config{Intervals: quick, RequestTimeout: 2 * time.Second, Log: testLog()},
	}
	if change != nil {
		change(&s.cfg)
	}
	var err error
	if s.broker, err = embedded.Start(t.TempDir(), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.broker.Stop)
	if s.vendor, err = simulator.Start(vendor); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.vendor.Close)
	if s.nc, err = nats.Connect(
		s.broker.URL(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nc.Close)
	if s.js, err = jetstream.New(s.nc); err != nil {
		t.Fatal(err)
	}
	set := consumer.Topology(
		s.cfg,
		consumer.Choices{Mode: mode},
	).Add(
		publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}),
	)
	if _, err := provisioning.Create(ctx, s.js, set); err != nil {
		t.Fatal(err)
	}
	s.seen = watchOutcomes(t, s.js)
	return s
}

func testLog() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	if os.Getenv("STATUSWORKER_TEST_LOG") != "" {
		l.SetOutput(os.Stderr)
		l.SetLevel(logrus.DebugLevel)
	}
	return l
}

// running is a worker that runs.
type running struct {
	*consumer.Worker
	stop, leave context.CancelFunc
	done        chan error
}

// start runs a worker on a connection of its own. It is stopped at the end of the test.
func (s *stage) start() *running {
	s.t.Helper()
	nc, err := nats.Connect(s.broker.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		s.t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := statusclient.New(
		statusclient.Config{
			BaseURL: s.vendor.URL(),
			Token:   simulator.DefaultToken,
			Timeout: s.cfg.RequestTimeout,
			Now:     s.cfg.Now,
		},
	)
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := publisher.New(s.ctx, adapter.New(js), s.cfg.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := consumer.New(s.ctx, adapter.New(js), s.mode, client, out, s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		client.Close()
		nc.Close()
	})
	return s.run(w)
}

// run runs a worker, and ends it with the test.
func (s *stage) run(w *consumer.Worker) *running {
	ctx, stop := context.WithCancel(s.ctx)
	leave, now := context.WithCancel(s.ctx)
	r := &running{Worker: w, stop: stop, leave: now, done: make(chan error, 1)}
	go func() { r.done <- w.Run(ctx, leave); close(r.done) }()
	s.t.Cleanup(func() {
		stop()
		now()
		<-r.done
	})
	return r
}

func (s *stage) declare(t schema.Type, id string, more ...string) schema.Declared {
	s.t.Helper()
	extra := ""
	if len(more) > 0 {
		extra = "," + more[0]
	}
	message := fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q%s}`, id, t, extra)
	s.publish(schema.DeclaredSubject(t, id), message)
	d, err := schema.Decode([]byte(message))
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *stage) publish(subject, data string) {
	s.t.Helper()
	s.publishMsg(&nats.Msg{Subject: subject, Data: []byte(data)})
}

// publishMsg remembers the type of the interaction that the subject names. Of several it is that with the shortest
// guidance.
func (s *stage) publishMsg(m *nats.Msg) {
	s.t.Helper()
	kind, id, _ := schema.SplitSubject(m.Subject)
	id = strings.ToLower(id) // as the vendor has it
	s.typesMu.Lock()
	known, typ := s.types[id], schema.Type(kind)
	if typ.Valid() && (known == "" || quick.Of(typ) < quick.Of(known)) {
		s.types[id] = typ
	}
	s.typesMu.Unlock()
	if _, err := s.js.PublishMsg(s.ctx, m); err != nil {
		s.t.Fatal(err)
	}
}

// outcomes reads the outcome stream as it grows.
type outcomes struct {
	t       *testing.T
	js      jetstream.JetStream
	mu      sync.Mutex
	all     []outcome
	changed chan struct{}
}

type outcome struct {
	Subject string
	Data    struct {
		Identifier    string          `json:"interactionIdentifier"`
		Reason        schema.Reason   `json:"reason"`
		Detail        string          `json:"detail"`
		Answer        json.RawMessage `json:"answer"`
		AnswerPayload []byte          `json:"answerPayload"`
		AnswerSize    int             `json:"answerSize"`
		Payload       []byte          `json:"payload"`
		Declaration   json.RawMessage `json:"declaration"`
		Polls         uint64          `json:"polls"`
	} `json:"data"`
}

func watchOutcomes(t *testing.T, js jetstream.JetStream) *outcomes {
	t.Helper()
	o := &outcomes{t: t, js: js, changed: make(chan struct{})}
	c, err := js.OrderedConsumer(context.Background(), schema.StreamOutcomes, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	consuming, err := c.Consume(func(m jetstream.Msg) {
		var one outcome
		if err := json.Unmarshal(m.Data(), &one); err != nil {
			t.Errorf("outcome on %s: %v", m.Subject(), err)
		}
		one.Subject = m.Subject()
		o.mu.Lock()
		defer o.mu.Unlock()
		o.all = append(o.all, one)
		close(o.changed)
		o.changed = make(chan struct{})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consuming.Stop)
	return o
}

// wait returns the outcomes when there are n of them.
func (o *outcomes) wait(ctx context.Context, n int) []outcome {
	o.t.Helper()
	for {
		o.mu.Lock()
		all, changed := append([]outcome(nil), o.all...), o.changed
		o.mu.Unlock()
		if len(all) >= n {
			return all
		}
		select {
		case <-changed:
		case <-ctx.Done():
			o.t.Fatalf("%d of %d outcomes: %+v%s", len(all), n, all, o.left())
		}
	}
}

// left tells what the streams still hold, for a test that has failed.
func (o *outcomes) left() string {
	var b strings.Builder
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, name := range []string{schema.StreamDeclared, schema.StreamPolls} {
		stream, err := o.js.Stream(ctx, name)
		if err != nil {
			continue
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err != nil {
			return err.Error()
		}
		fmt.Fprintf(&b, "\n%s: %v", name, info.State.Subjects)
		for c := range stream.ListConsumers(ctx).Info() {
			fmt.Fprintf(
				&b,
				"\n%s/%s: %d pending, %d ack pending, %d redelivered, %d pulls waiting",
				name,
				c.Name,
				c.NumPending,
				c.NumAckPending,
				c.NumRedelivered,
				c.NumWaiting,
			)
		}
	}
	return b.String()
}

func (o *outcomes) subjects(ctx context.Context, n int) map[string]int {
	o.t.Helper()
	m := map[string]int{}
	for _, one := range o.wait(ctx, n) {
		m[one.Subject]++
	}
	return m
}

// polite fails the test where the vendor was asked more often than the guidance allows, and where there was nothing to
// find out: no interaction was polled twice, or one whose type the stage does not know.
func (s *stage) polite() {
	s.t.Helper()
	s.typesMu.Lock()
	defer s.typesMu.Unlock()
	compared := false
	for _, typ := range schema.Types() {
		gap, id, ok := s.vendor.MinGapOf(func(id string) bool { return s.types[id] == typ })
		compared = compared || ok
		if interval := quick.Of(typ); ok && gap < interval {
			s.t.Errorf("%s was polled twice within %s, the guidance is %s", id, gap, interval)
		}
	}
	if !compared {
		s.t.Error("no interaction was polled twice: there is no gap to compare with the guidance")
	}
	if _, id, ok := s.vendor.MinGapOf(func(id string) bool { return !s.types[id].Valid() }); ok {
		s.t.Errorf("%s was polled twice, and nobody knows its guidance", id)
	}
}

// drained waits until no interaction is in any stream any more: not even a tombstone.
func (s *stage) drained() {
	s.t.Helper()
	for _, name := range s.mode.Streams() {
		stream, err := s.js.Stream(s.ctx, name)
		if err != nil {
			s.t.Fatal(err)
		}
		for {
			info, err := stream.Info(s.ctx)
			if err != nil {
				s.t.Fatal(err)
			}
			if info.State.Msgs == 0 {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-s.ctx.Done():
				s.t.Fatalf("%s still has %d messages", name, info.State.Msgs)
			}
		}
	}
}

// onStored calls do for each outcome that is stored on a subject. A plain subscription may see it before it is stored.
func (s *stage) onStored(subject string, do func(id string)) {
	s.t.Helper()
	c, err := s.js.OrderedConsumer(
		s.ctx,
		schema.StreamOutcomes,
		jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}},
	)
	if err != nil {
		s.t.Fatal(err)
	}
	consuming, err := c.Consume(func(m jetstream.Msg) {
		_, id, _ := schema.SplitSubject(m.Subject())
		do(id)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(consuming.Stop)
}

func modes(t *testing.T, test func(t *testing.T, mode consumer.Mode)) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

func TestEveryTypeReachesItsSubjects(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, simulator.Config{}, nil)
		want := map[string]int{}
		for _, typ := range schema.Types() {
			for n := range len(schema.Flags()) + 1 {
				id := uuid.NewString()
				s.vendor.Declare(id, simulator.Processed(3*time.Second).With(pendingOnce)) // some polls, with naks too
				var more []string
				if n > 0 {
					f := schema.Flags()[n-1]
					more = append(more, fmt.Sprintf("%q:%t", f, !f.Default()))
				}
				for _, to := range s.declare(typ, id, more...).Destinations() {
					want[schema.ProcessedSubject(to, id)] = 1
				}
			}
		}
		s.start()
		got := s.seen.subjects(s.ctx, len(want))
		for subject := range want {
			if got[subject] != 1 {
				t.Errorf("%s has %d outcomes, want 1", subject, got[subject])
			}
		}
		s.drained()
		s.polite()
		if got := s.seen.subjects(s.ctx, len(want)); len(got) != len(want) {
			t.Errorf("%d subjects, want %d: %v", len(got), len(want), got)
		}
	})
}
