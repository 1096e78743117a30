package publisher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// Two lives of one interaction.
var (
	life  = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	later = life.Add(time.Hour)
)

// stage is a broker with the outcomes stream.
type stage struct {
	t      *testing.T
	ctx    context.Context
	broker *embedded.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	window time.Duration
}

// The duplicate window of the outcomes stream: the broker's default, and the least that it takes, which is over when a
// test says so.
const (
	longWindow  = 2 * time.Minute
	shortWindow = 100 * time.Millisecond
)

func newStage(t *testing.T, window time.Duration) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	s := &stage{t: t, ctx: ctx, window: window}
	var err error
	if s.broker, err = embedded.Start(t.TempDir(), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.broker.Stop)
	s.connect()
	set := publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge})
	set.Streams[0].Duplicates = window
	if _, err := provisioning.Create(ctx, s.js, set); err != nil {
		t.Fatal(err)
	}
	return s
}

// connect makes a new connection, which says at once when the broker is gone.
func (s *stage) connect() {
	s.t.Helper()
	var err error
	s.nc, err = nats.Connect(s.broker.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.nc.Close)
	if s.js, err = jetstream.New(s.nc); err != nil {
		s.t.Fatal(err)
	}
}

// stop stops the broker, and returns when the connection knows.
func (s *stage) stop() {
	s.t.Helper()
	gone := s.nc.StatusChanged(nats.RECONNECTING)
	s.broker.Stop()
	select {
	case <-gone:
	case <-s.ctx.Done():
		s.t.Fatal("the connection did not notice that the broker is gone")
	}
}

// windows runs a test twice: where the broker remembers every Nats-Msg-Id, and where it has forgotten them.
func windows(t *testing.T, test func(t *testing.T, s *stage)) {
	for name, window := range map[string]time.Duration{"remembered": longWindow, "forgotten": shortWindow} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newStage(t, window))
		})
	}
}

// fresh is a publisher that knows nothing of those before it.
func (s *stage) fresh() *publisher.Publisher {
	s.t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	p, err := publisher.New(s.ctx, s.js, log)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// publish has a fresh publisher publish, and compares what it counted.
func (s *stage) publish(want publisher.Stats, outcomes ...schema.Outcome) {
	s.t.Helper()
	p := s.fresh()
	if err := p.Publish(s.ctx, outcomes...); err != nil {
		s.t.Fatal(err)
	}
	got := p.Stats()
	var stored uint64
	for _, n := range got.Processed {
		stored += n
	}
	for _, n := range got.Failed {
		stored += n
	}
	if stored != got.Published {
		s.t.Errorf("%d outcomes by destination and reason, %d in all", stored, got.Published)
	}
	if got.Processed, got.Failed = nil, nil; !reflect.DeepEqual(got, want) {
		s.t.Errorf("publishing %s counted %+v, want %+v", outcomes[0].Subject(), got, want)
	}
}

// forget returns when the broker, with a short window, has forgotten every Nats-Msg-Id so far.
func (s *stage) forget() {
	s.t.Helper()
	if s.window != shortWindow {
		return
	}
	probe := schema.FailedSubject(schema.Rejected, uuid.NewString())
	for first := true; ; first = false {
		ack, err := s.js.Publish(s.ctx, probe, nil, jetstream.WithMsgID(probe))
		if err != nil {
			s.t.Fatal(err)
		}
		if !first && !ack.Duplicate {
			return
		}
	}
}

// stored are the outcomes of an interaction as the broker has them, in order.
func (s *stage) stored(identifier string) []*jetstream.RawStreamMsg {
	s.t.Helper()
	stream, err := s.js.Stream(s.ctx, schema.StreamOutcomes)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		m, err := stream.GetMsg(s.ctx, sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // deleted
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.HasSuffix(m.Subject, "."+identifier) {
			all = append(all, m)
		}
	}
	return all
}

// want compares the outcomes that are stored, all lives of the interaction of the first one.
func (s *stage) want(outcomes ...schema.Outcome) {
	s.t.Helper()
	var got, want []string
	same := true
	for i, m := range s.stored(outcomes[0].Identifier) {
		got = append(got, m.Subject+" "+m.Header.Get("Nats-Msg-Id"))
		if i < len(outcomes) {
			data, err := outcomes[i].Marshal()
			same = same && err == nil && m.Subject == outcomes[i].Subject() && bytes.Equal(m.Data, data)
		}
	}
	for _, o := range outcomes {
		want = append(want, o.Subject()+" "+o.ID())
	}
	if !same || len(got) != len(want) {
		s.t.Errorf("stored are\n\t%s\nwant, byte for byte,\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// outcome is what all outcomes of one life of an interaction have in common.
func outcome(identifier string, stored time.Time) schema.Outcome {
	return schema.Outcome{
		Identifier: identifier, Type: schema.Audio, Answer: json.RawMessage(`{"status":"processed"}`),
		Declaration: json.RawMessage(`{"type":"audio"}`), Observed: stored.Add(time.Minute),
		Origin: schema.Origin{
			Stream: schema.StreamDeclared, Subject: schema.DeclaredSubject(schema.Audio, identifier), Sequence: 7, Deliveries: 1,
			Stored: stored, Polls: 2, Traceparent: traceparent,
		},
	}
}

func processed(identifier string, stored time.Time) []schema.Outcome {
	transcript, cxai := outcome(identifier, stored), outcome(identifier, stored)
	transcript.Destination, cxai.Destination = schema.ToTranscript, schema.ToCXAI
	return []schema.Outcome{transcript, cxai}
}

func failed(identifier string, stored time.Time, r schema.Reason) schema.Outcome {
	o := outcome(identifier, stored)
	o.Reason, o.Detail = r, "as the test wants it"
	return o
}

func TestPublishFirst(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	id, bad := uuid.NewString(), uuid.NewString()
	both := processed(id, life)
	s.publish(publisher.Stats{Published: 2}, both...)
	s.want(both...)
	invalid := failed(bad, life, schema.InvalidMessage)
	invalid.Origin.Traceparent = ""
	s.publish(publisher.Stats{Published: 1}, invalid)
	s.want(invalid)

	header := func(o schema.Outcome, sequence, family string) nats.Header {
		h := nats.Header{
			"Content-Type":                                {"application/cloudevents+json"},
			"Nats-Msg-Id":                                 {o.ID()},
			"Nats-Expected-Last-Subject-Sequence":         {sequence},
			"Nats-Expected-Last-Subject-Sequence-Subject": {family},
		}
		if o.Origin.Traceparent != "" {
			h["traceparent"] = []string{traceparent}
		}
		return h
	}
	all := slices.Concat(s.stored(id), s.stored(bad))
	for i, want := range []nats.Header{
		header(both[0], "0", "interactions.*.*."+id),
		header(both[1], "1", "interactions.*.*."+id),
		header(invalid, "0", "interactions.failed.invalid_message."+bad), // its own subject only
	} {
		if got := all[i].Header; !maps.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Errorf("%s has headers\n%v, want\n%v", all[i].Subject, got, want)
		}
	}
}

// A worker died after the first of two, or after both; another one repeats the publish, and once more.
func TestPublishRepeated(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		id, dead := uuid.NewString(), uuid.NewString()
		both := processed(id, life)
		s.publish(publisher.Stats{Published: 1}, both[0])
		s.forget()
		s.publish(publisher.Stats{Published: 1, Repeated: 1}, both...)
		s.want(both...)
		for range 2 {
			s.forget()
			s.publish(publisher.Stats{Repeated: 2}, both...)
			s.want(both...)
		}

		rejected := failed(dead, life, schema.Rejected)
		s.publish(publisher.Stats{Published: 1}, rejected)
		s.forget()
		s.publish(publisher.Stats{Repeated: 1}, rejected)
		s.want(rejected)
	})
}

// A broker that restarts knows what it has stored.
func TestPublishRepeatedAfterRestart(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		both := processed(uuid.NewString(), life)
		s.publish(publisher.Stats{Published: 1}, both[0])
		s.forget()
		if err := s.broker.Restart(); err != nil {
			t.Fatal(err)
		}
		s.connect()
		p := s.fresh()
		if err := p.Publish(s.ctx, both...); err != nil {
			t.Fatal(err)
		}
		s.want(both...)
		if got := p.Stats(); got.Published != 1 || got.Repeated != 1 || got.Contradictions != 0 {
			t.Errorf("counted %+v, want one published and one repeated", got)
		}
	})
}

func TestPublishContradiction(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		contradicts := publisher.Stats{Contradictions: 1}
		id, dead := uuid.NewString(), uuid.NewString()

		s.publish(publisher.Stats{Published: 2}, processed(id, life)...)
		s.publish(contradicts, failed(id, life, schema.ProcessingFailed))
		superseded := publisher.Stats{Repeated: 1}
		s.publish(superseded, failed(id, later, schema.ProcessingFailed))
		s.want(processed(id, life)...)

		s.publish(publisher.Stats{Published: 1}, failed(dead, later, schema.Rejected))
		s.publish(contradicts, failed(dead, later, schema.NotFound))
		s.publish(contradicts, processed(dead, later)...)
		s.publish(publisher.Stats{Repeated: 2}, processed(dead, life)...)
		s.publish(superseded, failed(dead, life, schema.NotFound))
		s.want(failed(dead, later, schema.Rejected))
	})
}

// Who stored one of two processed events may have come to its end before it stored the other, and the vendor may know
// nothing of the interaction any more.
func TestPublishCompletesHalfASuccess(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		dead := func(id string, stored time.Time) schema.Outcome {
			o := failed(id, stored, schema.NotFound)
			o.Success = []schema.Destination{schema.ToTranscript, schema.ToCXAI}
			return o
		}
		for i := range 2 { // whichever comes first
			id := uuid.NewString()
			both := processed(id, life)
			s.publish(publisher.Stats{Published: 1}, both[i])
			s.forget()
			s.publish(publisher.Stats{Published: 1}, dead(id, life))
			s.want(both[i], both[1-i])
			s.forget()
			s.publish(publisher.Stats{Contradictions: 1}, dead(id, life))
			s.want(both[i], both[1-i])
		}

		// An event of an earlier generation leaves this one no outcome.
		again := uuid.NewString()
		unrouted := outcome(again, life)
		unrouted.Destination = schema.Unrouted
		both := processed(again, later)
		s.publish(publisher.Stats{Published: 1}, unrouted)
		s.publish(publisher.Stats{Repeated: 1}, both[0])
		s.publish(publisher.Stats{Repeated: 1}, dead(again, later))
		s.want(unrouted)

		// What somebody else published says nothing that could be handed on.
		other := processed(uuid.NewString(), life)[0]
		ofAnother, err := other.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		noEvent := []byte(`{"data":{"destination":"transcript","declaredAt":"` + life.Format(time.RFC3339Nano) + `"}}`)
		for _, data := range [][]byte{[]byte("nonsense"), noEvent, ofAnother} {
			foreign := processed(uuid.NewString(), life)[0]
			if _, err := s.js.Publish(s.ctx, foreign.Subject(), data); err != nil {
				t.Fatal(err)
			}
			s.publish(publisher.Stats{Contradictions: 1}, dead(foreign.Identifier, life))
			if n := len(s.stored(foreign.Identifier)); n != 1 {
				t.Errorf("%d outcomes beside the foreign one %s, want none", n-1, data)
			}
		}
		if n := len(s.stored(other.Identifier)); n != 0 {
			t.Errorf("%d outcomes of an interaction that has none", n)
		}
	})
}

// What was deleted is published again, though the broker remembers its ID for a while.
func TestPublishWhatWasDeleted(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		id := uuid.NewString()
		both := processed(id, life)
		s.publish(publisher.Stats{Published: 1}, both[0])
		stream, err := s.js.Stream(s.ctx, schema.StreamOutcomes)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.DeleteMsg(s.ctx, s.stored(id)[0].Sequence); err != nil {
			t.Fatal(err)
		}
		requests, err := s.nc.SubscribeSync("interactions.processed.>")
		if err != nil {
			t.Fatal(err)
		}
		p := s.fresh()
		if err := p.Publish(s.ctx, both...); err != nil {
			t.Fatal(err)
		}
		if n, _, err := requests.Pending(); err != nil || n > 5 {
			t.Errorf("%d publishes (%v), want two or three", n, err)
		}
		var subjects []string
		for _, m := range s.stored(id) {
			subjects = append(subjects, m.Subject)
		}
		if !slices.Equal(subjects, []string{both[0].Subject(), both[1].Subject()}) {
			t.Errorf("stored are %v, want both", subjects)
		}
	})
}

// Declaring again after a failure is for a new outcome. What the old life still says comes too late.
func TestPublishNewLife(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		id := uuid.NewString()
		old, both := failed(id, life, schema.ProcessingFailed), processed(id, later)
		s.publish(publisher.Stats{Published: 1}, old)
		s.forget()
		s.publish(publisher.Stats{Published: 1}, both[0])
		s.publish(publisher.Stats{Published: 1, Repeated: 1}, both...)
		s.forget()
		p := s.fresh()
		if err := p.Publish(s.ctx, old); err != nil {
			t.Fatal(err)
		}
		if got := p.Stats(); got.Published != 0 || got.Repeated+got.Contradictions != 1 {
			t.Errorf("the old life's late duplicate counted %+v, want nothing published", got)
		}
		s.publish(publisher.Stats{Contradictions: 1}, failed(id, life, schema.NotFound))
		s.want(slices.Concat([]schema.Outcome{old}, both)...)

		// A failure that follows a failure is an outcome of its own, also for the same reason.
		again := uuid.NewString()
		s.publish(publisher.Stats{Published: 1}, failed(again, life, schema.ProcessingFailed))
		s.publish(publisher.Stats{Published: 1}, failed(again, later, schema.ProcessingFailed))
		s.forget()
		s.publish(publisher.Stats{Repeated: 1}, failed(again, later, schema.ProcessingFailed))
		s.publish(publisher.Stats{Repeated: 1}, failed(again, life, schema.ProcessingFailed))
		s.want(failed(again, life, schema.ProcessingFailed), failed(again, later, schema.ProcessingFailed))

		// What was handed on once is not handed on again.
		s.publish(publisher.Stats{Repeated: 2}, processed(id, later.Add(time.Hour))...)
		s.want(slices.Concat([]schema.Outcome{old}, both)...)
	})
}

// Dead letters of invalid messages: one for each message, and none of them is an outcome of the interaction.
func TestPublishInvalidMessages(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		id := uuid.NewString()
		bad, next, last := failed(id, life, schema.InvalidMessage), failed(id, later, schema.InvalidMessage), failed(id, later.Add(time.Hour), schema.InvalidMessage)
		s.publish(publisher.Stats{Published: 1}, bad)
		s.forget()
		s.publish(publisher.Stats{Repeated: 1}, bad)
		s.publish(publisher.Stats{Published: 1}, next)
		s.forget()
		s.publish(publisher.Stats{Repeated: 1}, next)
		s.want(bad, next)

		fixed := processed(id, life.Add(time.Minute)) // between the two
		s.publish(publisher.Stats{Published: 2}, fixed...)
		s.publish(publisher.Stats{Published: 1}, last)
		s.forget()
		s.publish(publisher.Stats{Repeated: 2}, fixed...)
		s.publish(publisher.Stats{Repeated: 1}, last)
		s.want(slices.Concat([]schema.Outcome{bad, next}, fixed, []schema.Outcome{last})...)
	})
}

// Two invalid messages on different subjects can have the same last token, and so the same dead letter subject. Whoever
// is first, each has its dead letter.
func TestPublishInvalidMessagesInAnyOrder(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		id := uuid.NewString()
		older, newer := failed(id, life, schema.InvalidMessage), failed(id, later, schema.InvalidMessage)
		newer.Origin.Subject = schema.DeclaredSubject(schema.Chat, id)
		s.publish(publisher.Stats{Published: 1}, newer)
		s.publish(publisher.Stats{Published: 1}, older)
		s.want(newer, older)
		for _, o := range []schema.Outcome{older, newer} {
			s.forget()
			s.publish(publisher.Stats{Repeated: 1}, o)
		}
		s.want(newer, older)
	})
}

// A producer that sends thousands of invalid messages of two types under one token, such as "undefined", must not make
// the next dead letter there take thousands of requests.
func TestPublishInvalidMessagesBesideMany(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	const token, many = "undefined", 3000
	stored := func(kind schema.Type, at time.Time) schema.Outcome {
		o := failed(token, at, schema.InvalidMessage)
		o.Origin.Subject = schema.DeclaredSubject(kind, token)
		return o
	}
	for i := range many {
		o := stored(schema.Audio, life.Add(time.Duration(i)))
		data, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.js.PublishMsgAsync(&nats.Msg{Subject: o.Subject(), Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-s.js.PublishAsyncComplete():
	case <-s.ctx.Done():
		t.Fatal("the broker did not take them")
	}
	requests, err := s.nc.SubscribeSync("$JS.API.>")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, tt := range []struct {
		name     string
		declared time.Time
	}{
		{"all of them were stored since it was declared", life.Add(-time.Minute)},
		{"none of them were", time.Now().Add(2 * time.Minute)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.publish(publisher.Stats{Published: 1}, stored(schema.Chat, tt.declared))
			s.publish(publisher.Stats{Published: 1}, stored(schema.Audio, tt.declared.Add(time.Hour)))
			s.publish(publisher.Stats{Repeated: 1}, stored(schema.Chat, tt.declared))
			n, _, err := requests.Pending()
			if err != nil {
				t.Fatal(err)
			}
			before := seen
			seen = n
			if n -= before; n == 0 || n > 3*90 {
				t.Errorf("%d requests for three dead letters, want some, and far less than %d", n, many)
			}
			t.Logf("%d requests", n)
		})
	}
}

// The newest outcome on each subject is read, with its generation.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	id := uuid.NewString()
	p := s.fresh()
	want := func(want ...schema.Outcome) {
		t.Helper()
		got, err := p.Outcomes(s.ctx, id)
		if err != nil || len(got) != len(want) {
			t.Fatalf("outcomes %+v (%v), want %d", got, err, len(want))
		}
		for _, o := range want {
			if !slices.ContainsFunc(got, func(g lifecycle.Outcome) bool {
				return g.Subject == o.Subject() && g.Reason == o.Reason && g.Destination == o.Destination && g.Generation.Equal(o.Origin.Stored) && g.Stored.After(life)
			}) {
				t.Errorf("outcomes %+v lack %s of %s", got, o.Subject(), o.Origin.Stored)
			}
		}
	}
	want()
	invalid := failed(id, life, schema.InvalidMessage)
	s.publish(publisher.Stats{Published: 1}, invalid)
	want(invalid)
	s.publish(publisher.Stats{Published: 1}, failed(id, life, schema.NotFound))
	s.publish(publisher.Stats{Published: 1}, failed(id, later, schema.NotFound))
	third := processed(id, later.Add(time.Hour))
	s.publish(publisher.Stats{Published: 2}, third...)
	want(invalid, failed(id, later, schema.NotFound), third[0], third[1])
}

// What somebody else published on an outcome's subject is taken for what its subject says.
func TestPublishBesideForeignMessages(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	for _, foreign := range []string{"not JSON", "{}", `[1]`, `{"data":{"destination":"cxai","reason":"rejected"}}`} {
		id, dead := uuid.NewString(), uuid.NewString()
		for _, subject := range []string{schema.ProcessedSubject(schema.ToTranscript, id), schema.FailedSubject(schema.Rejected, dead)} {
			if _, err := s.js.Publish(s.ctx, subject, []byte(foreign)); err != nil {
				t.Fatal(err)
			}
		}
		s.publish(publisher.Stats{Published: 1, Repeated: 1}, processed(id, life)...)
		s.publish(publisher.Stats{Contradictions: 1}, failed(id, life, schema.Rejected))
		s.publish(publisher.Stats{Published: 2}, processed(dead, life)...) // it counts as old
		if n, m := len(s.stored(id)), len(s.stored(dead)); n != 2 || m != 3 {
			t.Errorf("beside %s %d and %d outcomes are stored, want 2 and 3", foreign, n, m)
		}
	}
}

// race has fresh publishers publish at the same moment, and adds up what they counted.
func (s *stage) race(of func(racer int) []schema.Outcome) publisher.Stats {
	s.t.Helper()
	const racers = 16
	var all sync.WaitGroup
	var mu sync.Mutex
	var sum publisher.Stats
	start := make(chan struct{})
	for i := range racers {
		p := s.fresh()
		all.Go(func() {
			<-start
			if err := p.Publish(s.ctx, of(i)...); err != nil {
				s.t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got := p.Stats()
			sum.Published += got.Published
			sum.Repeated += got.Repeated
			sum.Contradictions += got.Contradictions
		})
	}
	close(start)
	all.Wait()
	return sum
}

func TestPublishRace(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		for range 5 {
			both := processed(uuid.NewString(), life)
			sum := s.race(func(int) []schema.Outcome { return both })
			if sum.Published != 2 || sum.Repeated != 30 || sum.Contradictions != 0 {
				t.Errorf("16 publishers of the same two outcomes counted %+v", sum)
			}
			s.want(both...)
		}
	})
}

// Of contradicting outcomes exactly one wins, and each of the others is counted.
func TestPublishRaceOfContradictions(t *testing.T) {
	windows(t, func(t *testing.T, s *stage) {
		for range 5 {
			id := uuid.NewString()
			ways := [][]schema.Outcome{processed(id, life), {failed(id, life, schema.ProcessingFailed)}}
			sum := s.race(func(i int) []schema.Outcome { return ways[i%2] })
			won := ways[0]
			if s.stored(id)[0].Subject == ways[1][0].Subject() {
				won = ways[1]
			}
			s.want(won...)
			if sum.Contradictions != 8 || sum.Published != uint64(len(won)) || sum.Repeated != uint64(7*len(won)) {
				t.Errorf("8 publishers of each of two contradicting outcomes counted %+v, %d stored", sum, len(won))
			}
		}
	})
}

func TestPublishWhileBrokerIsDown(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	p := s.fresh()
	both := processed(uuid.NewString(), life)
	s.stop()

	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	if err := p.Publish(ctx, both...); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a broker Publish gave %v, want the deadline's error in it", err)
	}
	tried := p.Stats().Retries
	if tried == 0 {
		t.Error("Publish did not try again")
	}

	done := make(chan error)
	go func() { done <- p.Publish(s.ctx, both...) }()
	for p.Stats().Retries < tried+2 {
		select {
		case err := <-done:
			t.Fatalf("Publish gave %v while the broker was down", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := s.broker.StartAgain(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("with the broker back Publish gave %v", err)
	}
	s.want(both...)
}

// An error of Publish says what went wrong, and not only that time was up.
func TestPublishErrorNamesItsCause(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	p := s.fresh()
	s.stop()
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	o := failed(uuid.NewString(), life, schema.Rejected)
	if err := p.Publish(ctx, o); err == nil || !strings.Contains(err.Error(), o.Subject()) {
		t.Errorf("without a broker Publish gave %v, want the last error, which names %s", err, o.Subject())
	}
}

// A stream that somebody has deleted is told as such, and not as a broker that is slow.
func TestPublishWithoutItsStream(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	p := s.fresh()
	if err := s.js.DeleteStream(s.ctx, schema.StreamOutcomes); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Second)
	defer cancel()
	o := failed(uuid.NewString(), life, schema.Rejected)
	if err := p.Publish(ctx, o); !errors.Is(err, jetstream.ErrNoStreamResponse) || !strings.Contains(err.Error(), o.Subject()) {
		t.Errorf("Publish gave %v, want that no stream takes %s", err, o.Subject())
	}
}

// What no repetition can fix is not repeated.
func TestPublishGivesUp(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	noJSON, huge := failed(uuid.NewString(), life, schema.Rejected), failed(uuid.NewString(), life, schema.Rejected)
	noJSON.Reason, noJSON.Destination, noJSON.Declaration = "", schema.ToCXAI, json.RawMessage(`{`)
	huge.Origin.Stream = strings.Repeat("x", 2<<20) // no stream has such a name, and all else is cut
	for name, o := range map[string]schema.Outcome{"not JSON": noJSON, "too large": huge} {
		p := s.fresh()
		err := p.Publish(s.ctx, o)
		if err == nil || p.Stats().Published+p.Stats().Repeated+p.Stats().Contradictions+p.Stats().Retries != 0 {
			t.Errorf("%s: Publish gave %v after %+v, want an error at once", name, err, p.Stats())
		}
		if name == "too large" && !errors.Is(err, nats.ErrMaxPayload) {
			t.Errorf("%s: the error is %v, want the client's", name, err)
		}
		if n := len(s.stored(o.Identifier)); n != 0 {
			t.Errorf("%s: %d outcomes are stored", name, n)
		}
	}

	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	o := failed(uuid.NewString(), life, schema.Rejected)
	if err := s.fresh().Publish(ended, o); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context Publish gave %v", err)
	}
}

func TestNewWithoutStream(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	if err := s.js.DeleteStream(s.ctx, schema.StreamOutcomes); err != nil {
		t.Fatal(err)
	}
	_, err := publisher.New(s.ctx, s.js, logrus.New())
	if !errors.Is(err, jetstream.ErrStreamNotFound) || !strings.Contains(fmt.Sprint(err), schema.StreamOutcomes) {
		t.Errorf("New gave %v, want an error that names the stream", err)
	}
}
