package consumer_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// bare is a broker on which nothing is provisioned.
type bare struct {
	t   *testing.T
	ctx context.Context
	nc  *nats.Conn
	js  jetstream.JetStream
}

func newBare(t *testing.T) bare {
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
	return bare{t, ctx, nc, js}
}

// provision makes what should be there, after a change.
func (b bare) provision(mode consumer.Mode, change func(*topology.Set)) {
	b.t.Helper()
	set := consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode})
	if change != nil {
		change(&set)
	}
	if _, err := topology.Create(b.ctx, b.js, set); err != nil {
		b.t.Fatal(err)
	}
}

// refused are the differences for which Check refuses, without what they have and want.
func (b bare) refused(cfg consumer.Config) (*consumer.TopologyError, []string) {
	b.t.Helper()
	mode, err := consumer.Check(b.ctx, b.js, cfg)
	var bad *consumer.TopologyError
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
	modes(t, func(t *testing.T, mode consumer.Mode) {
		b := newBare(t)
		if got, err := consumer.Detect(b.ctx, b.js); got != "" || err != nil {
			t.Errorf("Detect on a bare broker gave %q, %v", got, err)
		}
		bad, all := b.refused(consumer.Config{})
		if len(all) != 0 || !strings.Contains(bad.Error(), "`statusworker provision`") {
			t.Errorf("Check on a bare broker gave %v (%v), want it to name the command", bad, all)
		}
		b.provision(mode, nil)
		if got, err := consumer.Detect(b.ctx, b.js); got != mode || err != nil {
			t.Errorf("Detect gave %q, %v, want %s", got, err, mode)
		}
		if got, err := consumer.Check(b.ctx, b.js, consumer.Config{}); got != mode || err != nil {
			t.Errorf("Check gave %q, %v, want %s", got, err, mode)
		}
		b.nc.Close()
		for name, check := range map[string]func() (consumer.Mode, error){
			"Detect": func() (consumer.Mode, error) { return consumer.Detect(b.ctx, b.js) },
			"Check":  func() (consumer.Mode, error) { return consumer.Check(b.ctx, b.js, consumer.Config{}) },
		} {
			got, err := check()
			if bad := (*consumer.TopologyError)(nil); got != "" || err == nil || errors.As(err, &bad) {
				t.Errorf("%s without a broker gave %q, %v, want an error that blames nothing on the streams", name, got, err)
			}
		}
	})
}

// The consumers for naks depend on the worker's timing, so that the command which fixes them has to say it.
func TestProvisionCommand(t *testing.T) {
	for want, c := range map[string]struct {
		mode consumer.Mode
		cfg  consumer.Config
	}{
		"statusworker provision":                  {consumer.Schedule, consumer.Config{Intervals: consumer.Intervals{Audio: time.Minute}}},
		"statusworker provision --redelivery nak": {consumer.Nak, consumer.Config{}},
		"statusworker provision --redelivery nak --audio-interval 1m --transcript-interval 6s --request-timeout 5s": {
			consumer.Nak, consumer.Config{Intervals: consumer.Intervals{Audio: time.Minute, Transcript: 6 * time.Second}, RequestTimeout: 5 * time.Second}},
		"statusworker provision --redelivery nak --chat-interval 1s --base-url URL": {
			consumer.Nak, consumer.Config{Intervals: consumer.Intervals{Chat: time.Second}}},
	} {
		if got := consumer.ProvisionCommand(c.mode, c.cfg); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	bad := consumer.TopologyError{Mode: consumer.Nak, Config: consumer.Config{RequestTimeout: time.Second},
		Differences: []topology.Difference{{Object: "stream S", Missing: true}, {Object: "stream T", Field: "replicas"}}}
	if says := bad.Error(); !strings.Contains(says, "`statusworker provision --redelivery nak --request-timeout 1s --update`") {
		t.Errorf("it says %q, want the whole command", says)
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
			command := "`statusworker provision"
			if c.mode == consumer.Nak {
				command += " --redelivery nak"
			}
			if says := bad.Error(); !strings.Contains(says, bad.Differences[0].String()) || !strings.Contains(says, command) {
				t.Errorf("it says %q, want the differences and the command %s", says, command)
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
				if mode, err := consumer.Check(b.ctx, b.js, consumer.Config{}); mode != c.mode || err != nil {
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
	if mode, err := consumer.Check(b.ctx, b.js, shorter); mode != consumer.Nak || err != nil {
		t.Errorf("Check of shorter times gave %q, %v", mode, err)
	}
}

// Without its consumers a stream is of no use, but it is there: the message should not say otherwise.
func TestCheckStreamsWithoutConsumers(t *testing.T) {
	t.Parallel()
	b := newBare(t)
	b.provision(consumer.Schedule, func(s *topology.Set) { s.Consumers = nil })
	bad, _ := b.refused(consumer.Config{})
	if strings.Contains(bad.Error(), "no streams") {
		t.Errorf("it says %q, but there are streams", bad)
	}
}

func TestTopologyIsTheDesigns(t *testing.T) {
	names := func(s topology.Set) (streams, consumers, unwanted []string) {
		for _, one := range s.Streams {
			streams = append(streams, one.Name)
			if one.Name == schema.StreamWorkers {
				if one.MaxAge != schema.AnnouncementLife || one.MaxMsgsPerSubject != 1 || !one.AllowRollup || one.Replicas != 3 {
					t.Errorf("stream %s: %+v, want a bucket that forgets, with the 3 replicas chosen", one.Name, one)
				}
				continue
			}
			if one.Retention != jetstream.WorkQueuePolicy || one.MaxAge != 0 || one.AllowDirect || one.Storage != jetstream.FileStorage {
				t.Errorf("stream %s: %+v, want a work queue on disk without an age or direct gets", one.Name, one)
			}
			if one.Replicas != 3 {
				t.Errorf("stream %s has %d replicas, want the 3 chosen", one.Name, one.Replicas)
			}
		}
		for _, one := range s.Consumers {
			consumers = append(consumers, one.Stream+"/"+one.Config.Durable)
			if c := one.Config; c.AckPolicy != jetstream.AckExplicitPolicy || c.MaxDeliver != -1 || c.BackOff != nil {
				t.Errorf("consumer %s: %+v, want explicit acks, any number of deliveries, and no back-off", c.Durable, c)
			}
		}
		for _, one := range s.Unwanted {
			unwanted = append(unwanted, one.Stream+"/"+one.Config.Durable)
		}
		return streams, consumers, unwanted
	}
	same := func(what string, got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s are %v, want %v", what, got, want)
		}
	}
	lanesOn := func(stream string) []string {
		return []string{stream + "/poll-audio", stream + "/poll-chat", stream + "/poll-transcript"}
	}
	choices := consumer.Choices{Mode: consumer.Schedule, Replicas: 3, DeclaredMaxMsgs: 7, DeclaredMaxBytes: 4096}

	reserve := consumer.Topology(consumer.Config{}, choices)
	streams, consumers, unwanted := names(reserve)
	same("streams", streams, []string{schema.StreamDeclared, schema.StreamPolls, schema.StreamWorkers})
	same("consumers", consumers, append([]string{schema.StreamDeclared + "/intake"}, lanesOn(schema.StreamPolls)...))
	same("unwanted", unwanted, lanesOn(schema.StreamDeclared))
	polls := reserve.Streams[1]
	if !polls.AllowMsgSchedules || polls.MaxMsgs > 0 || polls.MaxBytes > 0 || polls.MaxMsgsPerSubject > 0 {
		t.Errorf("the polls stream is %+v, want schedules and no limits", polls)
	}
	for _, c := range reserve.Consumers[1:] {
		if c.Config.AckWait != 10*time.Second || c.Config.MaxAckPending <= 0 {
			t.Errorf("consumer %s: %+v, want a short ack wait and a small max ack pending", c.Config.Durable, c.Config)
		}
	}

	choices.Mode = consumer.Nak
	nak := consumer.Topology(consumer.Config{RequestTimeout: 3 * time.Second}, choices)
	streams, consumers, unwanted = names(nak)
	same("streams with naks", streams, []string{schema.StreamDeclared, schema.StreamWorkers})
	same("consumers with naks", consumers, lanesOn(schema.StreamDeclared))
	same("unwanted with naks", unwanted, []string{schema.StreamDeclared + "/intake"})
	for i, typ := range schema.Types() {
		c := nak.Consumers[i].Config
		if c.AckWait != consumer.Guidance.Of(typ)+8*time.Second || c.MaxAckPending != -1 || c.FilterSubject != schema.DeclaredSubject(typ, "*") {
			t.Errorf("consumer %s: %+v, want guidance, time-out and 5 s of ack wait, any number pending, and its own subjects", c.Durable, c)
		}
	}

	for _, set := range []topology.Set{reserve, nak} {
		d := set.Streams[0]
		if d.Discard != jetstream.DiscardNew || !d.DiscardNewPerSubject || d.MaxMsgsPerSubject != 1 || d.MaxMsgs != 7 || d.MaxBytes != 4096 || d.AllowMsgSchedules {
			t.Errorf("the declared stream is %+v, want one a subject, the second refused, and the limits chosen", d)
		}
	}
}

// What would let a declared message vanish, or take others with it, is refused at the publish.
func TestDeclaredStreamRefusesWhatEndsMessages(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		b := newBare(t)
		b.provision(mode, nil)
		subject := schema.DeclaredSubject(schema.Chat, "b6a3c2c0-4f7e-4b0e-9f0b-1c2d3e4f5a6b")
		if _, err := b.js.Publish(b.ctx, subject, nil); err != nil {
			t.Fatal(err)
		}
		for header, value := range map[string]string{"Nats-TTL": "1s", "Nats-Rollup": "sub"} {
			var refused *jetstream.APIError
			_, err := b.js.PublishMsg(b.ctx, &nats.Msg{Subject: subject + "2", Header: nats.Header{header: {value}}})
			if want := map[string]jetstream.ErrorCode{"Nats-TTL": 10166, "Nats-Rollup": 10111}[header]; !errors.As(err, &refused) || refused.ErrorCode != want {
				t.Errorf("with %s: %v, want error %d", header, err, want)
			}
		}
	})
}

// The broker takes no shorter duplicate window than the one that is asked for.
func TestMinDuplicatesIsTheBrokersLeast(t *testing.T) {
	t.Parallel()
	b := newBare(t)
	for window, taken := range map[time.Duration]bool{topology.MinDuplicates: true, topology.MinDuplicates - time.Millisecond: false} {
		_, err := b.js.CreateStream(b.ctx, jetstream.StreamConfig{Name: window.String(), Subjects: []string{window.String()}, Duplicates: window})
		if (err == nil) != taken {
			t.Errorf("a window of %s: %v", window, err)
		}
	}
}
