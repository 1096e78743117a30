package provisioning_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// bare is a broker on which nothing is provisioned.
type bare struct {
	t *testing.T
	broker
}

func newBare(t *testing.T) bare {
	t.Helper()
	return bare{t, newBroker(t)}
}

// provision makes what should be there, after a change.
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

// refused are the differences for which Check refuses, without what they have and want.
func (b bare) refused(cfg consumer.Config) (*provisioning.TopologyError, []string) {
	b.t.Helper()
	mode, err := provisioning.Check(b.ctx, b.js, cfg)
	var bad *provisioning.TopologyError
	if mode != "" || !errors.As(err, &bad) {
		b.t.Fatalf("Check gave mode %q, error %v, want a TopologyError", mode, err)
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

const (
	onDeclared = "consumer " + schema.StreamDeclared + "/"
	onPolls    = "consumer " + schema.StreamPolls + "/"
)

func TestCheckFindsTheMode(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			b := newBare(t)
			if got, err := provisioning.Detect(b.ctx, b.js); got != "" || err != nil {
				t.Errorf("Detect on a bare broker gave %q, %v", got, err)
			}
			bad, all := b.refused(consumer.Config{})
			if len(all) != 0 || bad.Mode != "" {
				t.Errorf("Check on a bare broker gave %v (%v), want no differences and no mode", bad, all)
			}
			b.provision(mode, nil)
			if got, err := provisioning.Detect(b.ctx, b.js); got != mode || err != nil {
				t.Errorf("Detect gave %q, %v, want %s", got, err, mode)
			}
			if got, err := provisioning.Check(b.ctx, b.js, consumer.Config{}); got != mode || err != nil {
				t.Errorf("Check gave %q, %v, want %s", got, err, mode)
			}
			b.nc.Close()
			for name, check := range map[string]func() (consumer.Mode, error){
				"Detect": func() (consumer.Mode, error) { return provisioning.Detect(b.ctx, b.js) },
				"Check":  func() (consumer.Mode, error) { return provisioning.Check(b.ctx, b.js, consumer.Config{}) },
			} {
				got, err := check()
				if bad := (*provisioning.TopologyError)(nil); got != "" || err == nil || errors.As(err, &bad) {
					t.Errorf("%s without a broker gave %q, %v, want an error that blames nothing on the streams", name, got, err)
				}
			}
		})
	}
}

// What was provisioned by half is refused with a list of what is missing and the command that fixes it.
func TestCheckHalfProvisioned(t *testing.T) {
	for name, c := range map[string]struct {
		mode   consumer.Mode
		change func(*topology.Set)
		want   []string
	}{
		"reserve: the intake alone": {consumer.Schedule,
			func(s *topology.Set) { s.Streams, s.Consumers = s.Streams[:1], s.Consumers[:1] },
			[]string{"stream " + schema.StreamPolls + ": missing", "stream " + schema.StreamWorkers + ": missing", onPolls + "poll-audio: missing", onPolls + "poll-chat: missing", onPolls + "poll-transcript: missing"}},
		"reserve: no intake": {consumer.Schedule,
			func(s *topology.Set) { s.Consumers = s.Consumers[1:] },
			[]string{onDeclared + "intake: missing"}},
		"reserve: a lane lacks": {consumer.Schedule,
			func(s *topology.Set) { s.Consumers = s.Consumers[:3] },
			[]string{onPolls + "poll-transcript: missing"}},
		"nak: a lane lacks": {consumer.Nak,
			func(s *topology.Set) { s.Consumers = s.Consumers[:2] },
			[]string{onDeclared + "poll-transcript: missing"}},
		"changed over by half": {consumer.Schedule,
			func(s *topology.Set) {
				old := s.Unwanted[1]
				old.Config.AckPolicy, old.Config.FilterSubject = jetstream.AckExplicitPolicy, schema.DeclaredSubject(schema.Chat, "*")
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
			if text := bad.Error(); !strings.Contains(text, bad.Differences[0].String()) {
				t.Errorf("the error is %q, want the differences", text)
			}
		})
	}
}

// A worker runs on what an operator may choose, and refuses what would lose something or poll too early.
func TestCheckMindsWhatCorrectnessHangsOn(t *testing.T) {
	for name, c := range map[string]struct {
		mode   consumer.Mode
		change func(*topology.Set)
		want   []string
	}{
		"choices, reserve": {consumer.Schedule, func(s *topology.Set) {
			s.Streams[0].MaxMsgs, s.Streams[0].MaxBytes, s.Streams[0].MaxMsgSize = 1000, 1<<20, 1<<17
			s.Streams[1].Storage = jetstream.MemoryStorage
			s.Consumers[1].Config.AckWait = time.Minute
			s.Consumers[1].Config.MaxAckPending = 100
			s.Consumers[2].Config.MaxWaiting, s.Consumers[2].Config.MemoryStorage = 100, true
			s.Streams[2].Duplicates, s.Streams[2].MaxMsgSize = time.Second, schema.MaxAnnouncementBytes
		}, nil},
		"choices, nak":        {consumer.Nak, func(s *topology.Set) { s.Consumers[0].Config.AckWait = time.Hour }, nil},
		"back-off":            {consumer.Schedule, func(s *topology.Set) { s.Consumers[1].Config.BackOff = []time.Duration{time.Second} }, []string{onPolls + "poll-audio: back-off"}},
		"back-off, nak":       {consumer.Nak, func(s *topology.Set) { s.Consumers[1].Config.BackOff = []time.Duration{time.Second} }, []string{onDeclared + "poll-chat: back-off"}},
		"short ack wait":      {consumer.Schedule, func(s *topology.Set) { s.Consumers[3].Config.AckWait = 9 * time.Second }, []string{onPolls + "poll-transcript: ack wait"}},
		"short ack wait, nak": {consumer.Nak, func(s *topology.Set) { s.Consumers[0].Config.AckWait = 44 * time.Second }, []string{onDeclared + "poll-audio: ack wait"}},
		"max deliver":         {consumer.Nak, func(s *topology.Set) { s.Consumers[2].Config.MaxDeliver = 1000 }, []string{onDeclared + "poll-transcript: max deliver"}},
		"max ack pending":     {consumer.Nak, func(s *topology.Set) { s.Consumers[2].Config.MaxAckPending = 100000 }, []string{onDeclared + "poll-transcript: max ack pending"}},
		"an age":              {consumer.Schedule, func(s *topology.Set) { s.Streams[1].MaxAge = 48 * time.Hour }, []string{"stream " + schema.StreamPolls + ": max age"}},
		"a bucket's age":      {consumer.Schedule, func(s *topology.Set) { s.Streams[2].MaxAge = time.Hour }, []string{"stream " + schema.StreamWorkers + ": max age"}},
		"a limit":             {consumer.Schedule, func(s *topology.Set) { s.Streams[1].MaxMsgs = 1e6 }, []string{"stream " + schema.StreamPolls + ": max messages"}},
		"two a subject":       {consumer.Nak, func(s *topology.Set) { s.Streams[0].MaxMsgsPerSubject = 2 }, []string{"stream " + schema.StreamDeclared + ": max messages per subject"}},
		"direct gets":         {consumer.Schedule, func(s *topology.Set) { s.Streams[1].AllowDirect = true }, []string{"stream " + schema.StreamPolls + ": direct gets"}},
		"message TTLs":        {consumer.Schedule, func(s *topology.Set) { s.Streams[0].AllowMsgTTL = true }, []string{"stream " + schema.StreamDeclared + ": message TTLs"}},
		"message TTLs, nak":   {consumer.Nak, func(s *topology.Set) { s.Streams[0].AllowMsgTTL = true }, []string{"stream " + schema.StreamDeclared + ": message TTLs"}},
		"roll-ups":            {consumer.Schedule, func(s *topology.Set) { s.Streams[0].AllowRollup = true }, []string{"stream " + schema.StreamDeclared + ": roll-ups"}},
		"duplicate window":    {consumer.Schedule, func(s *topology.Set) { s.Streams[0].Duplicates = 0 }, []string{"stream " + schema.StreamDeclared + ": duplicate window"}},
		"delete markers": {consumer.Schedule, func(s *topology.Set) { s.Streams[2].SubjectDeleteMarkerTTL = time.Minute },
			[]string{"stream " + schema.StreamWorkers + ": delete marker TTL"}},
		"small announcements": {consumer.Schedule, func(s *topology.Set) { s.Streams[2].MaxMsgSize = 100 }, []string{"stream " + schema.StreamWorkers + ": max message size"}},
		"a slow replay": {consumer.Schedule, func(s *topology.Set) { s.Consumers[0].Config.ReplayPolicy = jetstream.ReplayOriginalPolicy },
			[]string{onDeclared + "intake: replay policy"}},
		"no schedules": {consumer.Schedule, func(s *topology.Set) { s.Streams[1].AllowMsgSchedules = false }, []string{"stream " + schema.StreamPolls + ": message schedules"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBare(t)
			b.provision(c.mode, c.change)
			if c.want == nil {
				if mode, err := provisioning.Check(b.ctx, b.js, consumer.Config{}); mode != c.mode || err != nil {
					t.Errorf("Check gave %q, %v, want %s", mode, err, c.mode)
				}
				return
			}
			if _, all := b.refused(consumer.Config{}); !slices.Equal(all, c.want) {
				t.Errorf("Check refused %v, want %v", all, c.want)
			}
		})
	}
}

// With naks, the ack wait must fit the intervals and the time-out that the worker runs with.
func TestCheckFitsTheConfiguration(t *testing.T) {
	t.Parallel()
	b := newBare(t)
	b.provision(consumer.Nak, nil)
	for _, c := range []struct {
		cfg  consumer.Config
		want []string
	}{
		{consumer.Config{Intervals: consumer.Intervals{Chat: 6 * time.Second}}, []string{onDeclared + "poll-chat: ack wait"}},
		{consumer.Config{RequestTimeout: 11 * time.Second}, []string{
			onDeclared + "poll-audio: ack wait", onDeclared + "poll-chat: ack wait", onDeclared + "poll-transcript: ack wait"}},
	} {
		if _, all := b.refused(c.cfg); !slices.Equal(all, c.want) {
			t.Errorf("Check refused %v, want %v", all, c.want)
		}
	}
	shorter := consumer.Config{Intervals: consumer.Intervals{Audio: time.Second}, RequestTimeout: time.Second}
	if mode, err := provisioning.Check(b.ctx, b.js, shorter); mode != consumer.Nak || err != nil {
		t.Errorf("Check of shorter times gave %q, %v", mode, err)
	}
}

// Without its consumers a stream is of no use, but it is there: the message should not say otherwise.
func TestCheckStreamsWithoutConsumers(t *testing.T) {
	t.Parallel()
	b := newBare(t)
	b.provision(consumer.Schedule, func(s *topology.Set) { s.Consumers = nil })
	if bad, _ := b.refused(consumer.Config{}); len(bad.Differences) == 0 {
		t.Errorf("Check gave %q, want differences: there are streams", bad)
	}
}
