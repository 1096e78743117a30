package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/producer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

func put(t *testing.T, js jetstream.JetStream, subject string, headers nats.Header) {
	t.Helper()
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: headers,
		Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
}

// The stored messages of an interaction decide whether it is declared.
func TestDeclareLooksInteractionsUp(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	later := func(id string, more ...string) nats.Header {
		h := nats.Header{"Nats-Schedule": {"@at " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)},
			"Nats-Schedule-Target": {ns.PollSubject(schema.Audio, id)},
			schema.HeaderPoll:      {"3"}, schema.HeaderGeneration: {time.Now().UTC().Format(time.RFC3339Nano)}}
		for _, name := range more {
			h[name] = []string{"true"}
		}
		return h
	}
	event := func(id string) schema.Outcome {
		o := deadLetter(schema.NotFound, id)
		o.Reason, o.Detail, o.Destination = "", "", schema.ToCXAI
		return o
	}
	const declared, waiting, processed = "declared", "waiting", "processed"
	for _, tt := range []struct {
		name  string
		store func(id string)
		want  string
	}{
		{"nothing", func(string) {}, declared},
		{"a reservation", func(id string) { put(t, js, ns.HoldSubject(schema.Audio, id), later(id)) }, waiting},
		{"a due message", func(id string) {
			put(t, js, ns.PollSubject(schema.Audio, id), nats.Header{schema.HeaderPoll: {"3"},
				schema.HeaderGeneration: {time.Now().UTC().Format(time.RFC3339Nano)}})
		}, waiting},
		{"a due message without headers", func(id string) { put(t, js, ns.PollSubject(schema.Audio, id), nil) },
			waiting},
		{"a tombstone", func(id string) {
			put(t, js, ns.HoldSubject(schema.Audio, id), later(id, schema.HeaderTombstone))
		}, declared},
		{"a tombstone that is due", func(id string) {
			put(t, js, ns.PollSubject(schema.Audio, id), nats.Header{schema.HeaderTombstone: {"true"}})
		}, declared},
		{"a declared message", func(id string) { put(t, js, ns.DeclaredSubject(schema.Audio, id), nil) }, waiting},
		{"a processed event", func(id string) { storeDeadLetter(t, js, event(id)) }, processed},
		{"a processed event, and a tombstone", func(id string) {
			storeDeadLetter(t, js, event(id))
			put(t, js, ns.HoldSubject(schema.Audio, id), later(id, schema.HeaderTombstone))
		}, processed},
		{"one of two processed events", func(id string) {
			storeDeadLetter(t, js, event(id))
			put(t, js, ns.HoldSubject(schema.Audio, id), later(id))
		}, waiting},
		{"a dead letter", func(id string) { storeDeadLetter(t, js, deadLetter(schema.NotFound, id)) }, declared},
		{"a processed event, and an older dead letter", func(id string) {
			storeDeadLetter(t, js, deadLetter(schema.NotFound, id), event(id))
		}, processed},
		{"a foreign message on the subject of a processed event",
			func(id string) { put(t, js, ns.ProcessedSubject(schema.ToTranscript, id), nil) }, declared},
		{"messages of another interaction", func(string) {
			put(t, js, ns.HoldSubject(schema.Audio, someID), later(someID))
			storeDeadLetter(t, js, event(someID))
		}, declared},
	} {
		for _, typ := range []schema.Type{schema.Audio, schema.Chat} {
			id := uuid.NewString()
			tt.store(id)
			before := stored(t, js)
			c := command(t, "declare", "--nats-url", at, "--type", string(typ), strings.ToUpper(id)).exits(exitOK)
			want, more := producer.Counts{}, 0
			switch tt.want {
			case declared:
				want.Declared, more = 1, 1
			case waiting:
				want.Waiting = 1
			case processed:
				want.Processed = 1
			}
			c.counts(want)
			if explained := c.stderr.String() != ""; explained != (tt.want == processed) {
				t.Errorf("%s, declared as %s: standard error has %q", tt.name, typ, &c.stderr)
			}
			if n := len(stored(t, js)) - len(before); n != more {
				t.Errorf("%s, declared as %s: %d more messages are stored, want %d", tt.name, typ, n, more)
			}
		}
	}
}

// Lines with the same identifier are one interaction, whatever their distance in the input.
func TestDeclareLinesWithOneIdentifier(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t, "--redelivery", mode)
			var ids []string
			for range 200 { // with 3 lines each, more than the producer's window
				ids = append(ids, uuid.NewString())
			}
			var b strings.Builder
			for i, id := range ids {
				b.WriteString(line(id, schema.Types()[i%3]))
				b.WriteString(line(strings.ToUpper(id), schema.Types()[(i+1)%3]))
				b.WriteString(line(id, schema.Types()[i%3]))
			}
			for i, id := range ids {
				b.WriteString(line(id, schema.Types()[(i+2)%3]))
			}
			c := declareLines(t, at, b.String(), len(ids), 3*len(ids))
			if lines := withoutProgress(&c.stderr); len(lines) != 0 {
				t.Errorf("standard error: %q", lines)
			}
			subjects := stored(t, js)
			for i, id := range ids {
				if subjects[ns.DeclaredSubject(schema.Types()[i%3], id)] != 1 {
					t.Errorf("%s is not stored on the subject of its first line", id)
				}
			}
			if len(subjects) != len(ids) {
				t.Errorf("%d messages are stored, want %d", len(subjects), len(ids))
			}
		})
	}
}

// While a worker runs, a polled interaction is in flight, and an ended one can be declared again.
func TestDeclareWhileAWorkerPolls(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t, "--chat-interval", "400ms", "--base-url", "http://127.0.0.1:1/v1")
	vendor, err := simulator.Start(simulator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vendor.Close)
	w := command(t, "run", "--nats-url", at, "--base-url", vendor.URL(), "--api-token", simulator.DefaultToken,
		"--chat-interval", "400ms").start()
	ids := []string{uuid.NewString(), uuid.NewString()}
	polled, ended := ids[0], ids[1]
	vendor.Declare(polled, simulator.Never())
	vendor.Declare(ended, simulator.Failed(schema.StatusProcessingFailed, 0))
	declareLines(t, at, line(polled, schema.Chat)+line(ended, schema.Chat), 2, 0)
	for _, id := range ids {
		if err := vendor.WaitPollsOf(w.ctx, id, 1); err != nil {
			t.Fatal(err)
		}
	}
	declareLines(t, at, line(polled, schema.Chat)+line(polled, schema.Audio)+line(strings.ToUpper(polled),
		schema.Transcript), 0, 3)

	polls, err := js.Stream(w.ctx, ns.StreamPolls())
	if err != nil {
		t.Fatal(err)
	}
	waitFor(w.ctx, t, func() bool { // the tombstone is stored, or already deleted
		m, err := polls.GetLastMsgForSubject(w.ctx, ns.WaitingSubjects(ended))
		return err != nil || m.Header.Get(schema.HeaderTombstone) != ""
	})
	declareLines(t, at, line(ended, schema.Chat), 1, 0)
	w.stop()
	if code := w.end(); code != exitOK {
		t.Errorf("the worker's exit code is %d:\n%s", code, &w.stderr)
	}
}

// Without the permission to look up interactions, `declare` works, and warns once about the counts.
func TestDeclareWithoutPermissionToLookUp(t *testing.T) {
	t.Parallel()
	permissions := map[string]string{
		ns.StreamDeclared(): "$JS.API.STREAM.MSG.GET." + ns.StreamDeclared(),
		ns.StreamPolls():    "$JS.API.STREAM.MSG.GET." + ns.StreamPolls(),
		ns.StreamOutcomes(): "$JS.API.STREAM.MSG.GET." + ns.StreamOutcomes(),
	}
	for name, missing := range map[string][]string{
		"none":     nil,
		"any":      {ns.StreamDeclared(), ns.StreamPolls(), ns.StreamOutcomes()},
		"declared": {ns.StreamDeclared()}, "polls": {ns.StreamPolls()}, "outcomes": {ns.StreamOutcomes()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := users(t, func(all []*server.User) []*server.User {
				for _, u := range all {
					if u.Username == "declare" {
						u.Permissions.Publish.Allow = slices.DeleteFunc(u.Permissions.Publish.Allow,
							func(subject string) bool {
								return slices.ContainsFunc(missing,
									func(stream string) bool { return permissions[stream] == subject })
							})
					}
				}
				return all
			})
			command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
			var lines strings.Builder
			const n = 600
			for range n {
				lines.WriteString(line(uuid.NewString(), schema.Chat))
			}
			declareLines(t, at, lines.String(), n, 0, as("declare")...)
			c := declareLines(t, at, lines.String(), 0, n, as("declare")...)
			for _, stream := range slices.Sorted(maps.Keys(permissions)) {
				warnings := strings.Count(c.stderr.String(), "needs the permission to publish")
				named := 0
				for _, l := range c.stderr.lines() {
					if strings.Contains(l, "needs the permission") && strings.Contains(l, permissions[stream]) {
						named++
					}
				}
				want := 0
				if slices.Contains(missing, stream) {
					want = 1
				}
				if named != want || warnings != min(1, len(missing)) {
					t.Errorf("%s is named %d times, want %d:\n%s", permissions[stream], named, want, &c.stderr)
				}
			}
		})
	}
}
