package consumer_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

func TestTopology(t *testing.T) {
	names := func(s topology.Set) (streams, consumers, unwanted []string) {
		for _, one := range s.Streams {
			streams = append(streams, one.Name)
			if one.Name == ns.StreamWorkers() {
				if one.MaxAge != schema.AnnouncementMaxAge || one.MaxMsgsPerSubject != 1 || !one.AllowRollup ||
					one.Replicas != 3 {
					t.Errorf("stream %s: %+v, want a bucket with an age, and the 3 configured replicas", one.Name, one)
				}
				continue
			}
			if one.Retention != jetstream.WorkQueuePolicy || one.MaxAge != 0 || one.AllowDirect ||
				one.Storage != jetstream.FileStorage {
				t.Errorf("stream %s: %+v, want a work queue on disk without an age or direct gets", one.Name, one)
			}
			if one.Replicas != 3 {
				t.Errorf("stream %s has %d replicas, want the 3 configured", one.Name, one.Replicas)
			}
		}
		for _, one := range s.Consumers {
			consumers = append(consumers, one.Stream+"/"+one.Config.Durable)
			if c := one.Config; c.AckPolicy != jetstream.AckExplicitPolicy || c.MaxDeliver != -1 || c.BackOff != nil {
				t.Errorf("consumer %s: %+v, want explicit acks, unlimited deliveries, and no back-off", c.Durable, c)
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
	same("streams", streams, []string{ns.StreamDeclared(), ns.StreamPolls(), ns.StreamWorkers()})
	same("consumers", consumers, append([]string{ns.StreamDeclared() + "/intake"}, lanesOn(ns.StreamPolls())...))
	same("unwanted", unwanted, lanesOn(ns.StreamDeclared()))
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
	same("streams with naks", streams, []string{ns.StreamDeclared(), ns.StreamWorkers()})
	same("consumers with naks", consumers, lanesOn(ns.StreamDeclared()))
	same("unwanted with naks", unwanted, []string{ns.StreamDeclared() + "/intake"})
	for i, typ := range schema.Types() {
		c := nak.Consumers[i].Config
		if c.AckWait != consumer.Guidance.Of(typ)+8*time.Second || c.MaxAckPending != -1 ||
			c.FilterSubject != ns.DeclaredSubject(typ, "*") {
			t.Errorf("consumer %s: %+v, want an ack wait of interval, timeout and 5 s, unlimited acks pending, and "+
				"the subjects of its type", c.Durable, c)
		}
	}

	for _, set := range []topology.Set{reserve, nak} {
		d := set.Streams[0]
		if d.Discard != jetstream.DiscardNew || !d.DiscardNewPerSubject || d.MaxMsgsPerSubject != 1 || d.MaxMsgs != 7 ||
			d.MaxBytes != 4096 || d.AllowMsgSchedules {
			t.Errorf("the declared stream is %+v, want one message per subject, the second rejected, and the limits", d)
		}
	}
}

// The broker rejects declared messages with headers that would delete them or others.
func TestDeclaredStreamRejectsTTLAndRollup(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := onServer(t, mode, nil)
		subject := ns.DeclaredSubject(schema.Chat, "b6a3c2c0-4f7e-4b0e-9f0b-1c2d3e4f5a6b")
		s.Publish(subject, "")
		for _, c := range []struct {
			header, value string
			code          jetstream.ErrorCode
		}{{"Nats-TTL", "1s", 10166}, {"Nats-Rollup", "sub", 10111}} {
			var refused *jetstream.APIError
			m := &nats.Msg{Subject: subject + "2", Header: nats.Header{c.header: {c.value}}}
			_, err := s.JS.PublishMsg(s.Ctx, m)
			if !errors.As(err, &refused) || refused.ErrorCode != c.code {
				t.Errorf("with %s: %v, want error %d", c.header, err, c.code)
			}
		}
	})
}

// The broker accepts no shorter duplicate window than the one that we use.
func TestMinDuplicatesIsTheBrokersMinimum(t *testing.T) {
	t.Parallel()
	s := onServer(t, "", nil)
	const least = topology.MinDuplicates
	for window, accepted := range map[time.Duration]bool{least: true, least - time.Millisecond: false} {
		name := window.String()
		_, err := s.JS.CreateStream(s.Ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{name}, Duplicates: window,
		})
		if (err == nil) != accepted {
			t.Errorf("a window of %s: %v, want accepted %t", window, err, accepted)
		}
	}
}
