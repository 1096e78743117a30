package provisioning_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// bare is a broker without streams.
type bare struct {
	t *testing.T
	broker
}

func newBare(t *testing.T) bare {
	t.Helper()
	return bare{t, newBroker(t)}
}

// provision creates the streams and consumers of a mode, after a change.
func (b bare) provision(mode consumer.Mode, change func(*topology.Set)) {
	b.t.Helper()
	set := consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode})
	if change != nil {
		change(&set)
	}
	if _, err := provisioning.Create(b.ctx, b.js, set); err != nil {
		b.t.Fatal(err)
	}
}

// refused returns the error of Check, and its differences without their values.
func (b bare) refused(cfg consumer.Config) (*provisioning.TopologyError, []string) {
	b.t.Helper()
	mode, err := provisioning.Check(b.ctx, b.js, cfg)
	var bad *provisioning.TopologyError
	if mode != "" || !errors.As(err, &bad) {
		b.t.Fatalf("Check: mode %q, error %v, want a TopologyError", mode, err)
	}
	var all []string
	for _, d := range bad.Differences {
		what := d.Field
		switch {
		case d.Missing:
			what = "missing"
		case d.Unwanted:
			what = "unwanted"
		}
		all = append(all, d.Object+": "+what)
	}
	return bad, all
}

var (
	onDeclared = "consumer " + ns.StreamDeclared() + "/"
	onPolls    = "consumer " + ns.StreamPolls() + "/"

	streamDeclared = "stream " + ns.StreamDeclared() + ": "
	streamPolls    = "stream " + ns.StreamPolls() + ": "
	streamWorkers  = "stream " + ns.StreamWorkers() + ": "
)

func TestCheckFindsTheMode(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			b := newBare(t)
			if got, err := provisioning.Detect(b.ctx, b.js, ns); got != "" || err != nil {
				t.Errorf("Detect without streams: %q, %v", got, err)
			}
			bad, all := b.refused(consumer.Config{})
			if len(all) != 0 || bad.Mode != "" {
				t.Errorf("Check without streams: %v (%v), want no differences and no mode", bad, all)
			}
			b.provision(mode, nil)
			if got, err := provisioning.Detect(b.ctx, b.js, ns); got != mode || err != nil {
				t.Errorf("Detect: %q, %v, want %s", got, err, mode)
			}
			if got, err := provisioning.Check(b.ctx, b.js, consumer.Config{}); got != mode || err != nil {
				t.Errorf("Check: %q, %v, want %s", got, err, mode)
			}
			b.nc.Close()
			for name, check := range map[string]func() (consumer.Mode, error){
				"Detect": func() (consumer.Mode, error) { return provisioning.Detect(b.ctx, b.js, ns) },
				"Check":  func() (consumer.Mode, error) { return provisioning.Check(b.ctx, b.js, consumer.Config{}) },
			} {
				got, err := check()
				if bad := (*provisioning.TopologyError)(nil); got != "" || err == nil || errors.As(err, &bad) {
					t.Errorf("%s without a broker: %q, %v, want an error other than TopologyError", name, got, err)
				}
			}
		})
	}
}

// Check refuses incomplete streams and consumers, and returns what is missing.
func TestCheckIncomplete(t *testing.T) {
	for name, c := range map[string]struct {
		mode   consumer.Mode
		change func(*topology.Set)
		want   []string
	}{
		"schedule: only the intake": {consumer.Schedule,
			func(s *topology.Set) { s.Streams, s.Consumers = s.Streams[:1], s.Consumers[:1] },
			[]string{
				streamPolls + "missing", streamWorkers + "missing", onPolls + "poll-audio: missing",
				onPolls + "poll-chat: missing", onPolls + "poll-transcript: missing",
			}},
		"schedule: no intake": {consumer.Schedule,
			func(s *topology.Set) { s.Consumers = s.Consumers[1:] },
			[]string{onDeclared + "intake: missing"}},
		"schedule: a lane is missing": {consumer.Schedule,
			func(s *topology.Set) { s.Consumers = s.Consumers[:3] },
			[]string{onPolls + "poll-transcript: missing"}},
		"nak: a lane is missing": {consumer.Nak,
			func(s *topology.Set) { s.Consumers = s.Consumers[:2] },
			[]string{onDeclared + "poll-transcript: missing"}},
		"of both modes": {consumer.Schedule,
			func(s *topology.Set) {
				old := s.Unwanted[1]
				old.Config.AckPolicy = jetstream.AckExplicitPolicy
				old.Config.FilterSubject = ns.DeclaredSubject(schema.Chat, "*")
				s.Consumers = append(s.Consumers[1:], old)
			},
			[]string{onDeclared + "intake: missing", onDeclared + "poll-chat: unwanted"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBare(t)
			b.provision(c.mode, c.change)
			bad, all := b.refused(consumer.Config{})
			if !slices.Equal(all, c.want) || bad.Mode != c.mode {
				t.Errorf("Check refused %v for %s, want %v for %s", all, bad.Mode, c.want, c.mode)
			}
		})
	}
}

// A worker runs with what an operator may choose, and not with settings that could lose messages or poll too early.
func TestCheckRefusesWhatCorrectnessDependsOn(t *testing.T) {
	for name, c := range map[string]struct {
		mode   consumer.Mode
		change func(*topology.Set)
		want   []string
	}{
		"choices": {consumer.Schedule, func(s *topology.Set) {
			s.Streams[0].MaxMsgs, s.Streams[0].MaxBytes, s.Streams[0].MaxMsgSize = 1000, 1<<20, 1<<17
			s.Streams[1].Storage = jetstream.MemoryStorage
			s.Consumers[1].Config.AckWait = time.Minute
			s.Consumers[1].Config.MaxAckPending = 100
			s.Consumers[2].Config.MaxWaiting, s.Consumers[2].Config.MemoryStorage = 100, true
			s.Streams[2].Duplicates, s.Streams[2].MaxMsgSize = time.Second, schema.MaxAnnouncementBytes
		}, nil},
		"choices, nak": {consumer.Nak, func(s *topology.Set) { s.Consumers[0].Config.AckWait = time.Hour }, nil},
		"back-off": {consumer.Schedule,
			func(s *topology.Set) { s.Consumers[1].Config.BackOff = []time.Duration{time.Second} },
			[]string{onPolls + "poll-audio: back-off"}},
		"back-off, nak": {consumer.Nak,
			func(s *topology.Set) { s.Consumers[1].Config.BackOff = []time.Duration{time.Second} },
			[]string{onDeclared + "poll-chat: back-off"}},
		"short ack wait": {consumer.Schedule, func(s *topology.Set) { s.Consumers[3].Config.AckWait = 9 * time.Second },
			[]string{onPolls + "poll-transcript: ack wait"}},
		"short ack wait, nak": {consumer.Nak,
			func(s *topology.Set) { s.Consumers[0].Config.AckWait = 44 * time.Second },
			[]string{onDeclared + "poll-audio: ack wait"}},
		"max deliver": {consumer.Nak, func(s *topology.Set) { s.Consumers[2].Config.MaxDeliver = 1000 },
			[]string{onDeclared + "poll-transcript: max deliver"}},
		"max ack pending": {consumer.Nak, func(s *topology.Set) { s.Consumers[2].Config.MaxAckPending = 100000 },
			[]string{onDeclared + "poll-transcript: max ack pending"}},
		"max age": {consumer.Schedule, func(s *topology.Set) { s.Streams[1].MaxAge = 48 * time.Hour },
			[]string{streamPolls + "max age"}},
		"max age of the bucket": {consumer.Schedule, func(s *topology.Set) { s.Streams[2].MaxAge = time.Hour },
			[]string{streamWorkers + "max age"}},
		"max messages": {consumer.Schedule, func(s *topology.Set) { s.Streams[1].MaxMsgs = 1e6 },
			[]string{streamPolls + "max messages"}},
		"max messages per subject": {consumer.Nak, func(s *topology.Set) { s.Streams[0].MaxMsgsPerSubject = 2 },
			[]string{streamDeclared + "max messages per subject"}},
		"direct gets": {consumer.Schedule, func(s *topology.Set) { s.Streams[1].AllowDirect = true },
			[]string{streamPolls + "direct gets"}},
		"message TTLs": {consumer.Schedule, func(s *topology.Set) { s.Streams[0].AllowMsgTTL = true },
			[]string{streamDeclared + "message TTLs"}},
		"message TTLs, nak": {consumer.Nak, func(s *topology.Set) { s.Streams[0].AllowMsgTTL = true },
			[]string{streamDeclared + "message TTLs"}},
		"roll-ups": {consumer.Schedule, func(s *topology.Set) { s.Streams[0].AllowRollup = true },
			[]string{streamDeclared + "roll-ups"}},
		"duplicate window": {consumer.Schedule, func(s *topology.Set) { s.Streams[0].Duplicates = 0 },
			[]string{streamDeclared + "duplicate window"}},
		"delete markers": {consumer.Schedule,
			func(s *topology.Set) { s.Streams[2].SubjectDeleteMarkerTTL = time.Minute },
			[]string{streamWorkers + "delete marker TTL"}},
		"small announcements": {consumer.Schedule, func(s *topology.Set) { s.Streams[2].MaxMsgSize = 100 },
			[]string{streamWorkers + "max message size"}},
		"replay at the original rate": {consumer.Schedule,
			func(s *topology.Set) { s.Consumers[0].Config.ReplayPolicy = jetstream.ReplayOriginalPolicy },
			[]string{onDeclared + "intake: replay policy"}},
		"no schedules": {consumer.Schedule, func(s *topology.Set) { s.Streams[1].AllowMsgSchedules = false },
			[]string{streamPolls + "message schedules"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBare(t)
			b.provision(c.mode, c.change)
			if c.want == nil {
				if mode, err := provisioning.Check(b.ctx, b.js, consumer.Config{}); mode != c.mode || err != nil {
					t.Errorf("Check: %q, %v, want %s", mode, err, c.mode)
				}
				return
			}
			if _, all := b.refused(consumer.Config{}); !slices.Equal(all, c.want) {
				t.Errorf("Check refused %v, want %v", all, c.want)
			}
		})
	}
}

// With redelivery nak, the ack wait depends on the intervals and the request timeout of the worker.
func TestCheckUsesTheConfiguration(t *testing.T) {
	t.Parallel()
	b := newBare(t)
	b.provision(consumer.Nak, nil)
	for _, c := range []struct {
		cfg  consumer.Config
		want []string
	}{
		{consumer.Config{Intervals: consumer.Intervals{Chat: 6 * time.Second}},
			[]string{onDeclared + "poll-chat: ack wait"}},
		{consumer.Config{RequestTimeout: 11 * time.Second}, []string{
			onDeclared + "poll-audio: ack wait", onDeclared + "poll-chat: ack wait",
			onDeclared + "poll-transcript: ack wait"}},
	} {
		if _, all := b.refused(c.cfg); !slices.Equal(all, c.want) {
			t.Errorf("Check refused %v, want %v", all, c.want)
		}
	}
	shorter := consumer.Config{Intervals: consumer.Intervals{Audio: time.Second}, RequestTimeout: time.Second}
	if mode, err := provisioning.Check(b.ctx, b.js, shorter); mode != consumer.Nak || err != nil {
		t.Errorf("Check with shorter times: %q, %v, want %s", mode, err, consumer.Nak)
	}
}

// A stream without consumers is not reported as missing.
func TestCheckStreamsWithoutConsumers(t *testing.T) {
	t.Parallel()
	b := newBare(t)
	b.provision(consumer.Schedule, func(s *topology.Set) { s.Consumers = nil })
	if bad, _ := b.refused(consumer.Config{}); len(bad.Differences) == 0 {
		t.Errorf("Check: %q, want differences", bad)
	}
}
