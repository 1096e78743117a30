package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/schema"
)

// deadLetter returns a dead letter of an interaction that was declared an hour ago.
func deadLetter(r schema.Reason, id string) schema.Outcome {
	stored := time.Now().Add(-time.Hour).UTC()
	o := schema.Outcome{
		Identifier: id, Type: schema.Chat, Reason: r, Detail: "why it failed", Observed: stored.Add(time.Minute),
		Answer: json.RawMessage(`{"status":"processingFailed"}`),
		Origin: schema.Origin{Stream: ns.StreamDeclared(), Subject: ns.DeclaredSubject(schema.Chat, id),
			Sequence: 7, Deliveries: 1, Stored: stored, Polls: 3},
	}
	if r == schema.InvalidMessage {
		o.Payload = []byte("{oops\x1b[31m")
	} else {
		o.Declaration = json.RawMessage(fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id))
	}
	return o
}

// storeDeadLetter stores outcomes, and returns the sequence of the last one.
func storeDeadLetter(t *testing.T, js jetstream.JetStream, outcomes ...schema.Outcome) (sequence uint64) {
	t.Helper()
	for _, o := range outcomes {
		data, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(t.Context(), ns.OutcomeSubject(o), data)
		if err != nil {
			t.Fatal(err)
		}
		sequence = ack.Sequence
	}
	return sequence
}

// storeDeadLetters stores n dead letters of one reason.
func storeDeadLetters(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	for range n {
		o := deadLetter(schema.NotFound, uuid.NewString())
		data, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishAsync(ns.OutcomeSubject(o), data); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-t.Context().Done():
		t.Fatal("the broker does not accept them")
	}
}

// messages returns how many messages a stream has, and how many were ever stored in it.
func messages(t *testing.T, js jetstream.JetStream, stream string) (now, ever uint64) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs, s.CachedInfo().State.LastSeq
}

func TestDLQRejects(t *testing.T) {
	t.Parallel()
	at := nobody(t) // the commands fail before they connect
	for args, want := range map[string]string{
		"replay":                             "--reason, --type",
		"purge":                              "--all",
		"purge --all --reason not_found -y":  "--all cannot be combined",
		"purge --all":                        "--yes or --dry-run",
		"replay " + uuid.NewString():         "--yes or --dry-run",
		"ls --reason unlucky":                `--reason is "unlucky": must be one of invalid_message,`,
		"ls --reason not_found,x":            `--reason is "x"`,
		"ls --type video":                    `--type is "video": must be one of audio, chat, transcript`,
		"ls --older-than yesterday":          `--older-than is "yesterday": must be a duration`,
		"ls --older-than=-1h":                "--older-than is -1h0m0s: must be more than 0",
		"ls --older-than 2h --newer-than 1h": "more than the minimum age",
		"ls -o yaml":                         "must be one of table, json, ndjson",
		"show":                               "<id>",
		"show *":                             `"*" is not the name`,
		"show >":                             `">" is not the name`,
		"show a.b":                           `"a.b" is not the name`,
		"show a\tb":                          `"a\tb" is not the name`,
		"show a\r\nb":                        `"a\r\nb" is not the name`,
		"show \x1b[31m":                      `"\x1b[31m" is not the name`,
		"show @":                             `"@" is not the name`,
		"show @1x":                           `"@1x" is not the name`,
		"purge -y a >":                       `">" is not the name`,
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			c := command(t, append(append([]string{"dlq"}, strings.Split(args, " ")...), "--nats-url",
				at)...).exits(exitUsage)
			says(t, "standard error", &c.stderr, want)
			if n := len(c.stderr.lines()); n != 1 {
				t.Errorf("%d lines on standard error, want 1:\n%s", n, &c.stderr)
			}
		})
	}
}

// An answer that is not JSON is shown too, without its control characters.
func TestDLQShowsAnAnswerThatIsNotJSON(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	o := deadLetter(schema.ProcessingFailed, uuid.NewString())
	o.Answer, o.AnswerPayload = nil, []byte("{\"status\":\"processingFailed\",\"x\":\"\xff\x1b[2J\"}")
	storeDeadLetter(t, js, o)
	c := command(t, "dlq", "show", o.Identifier, "--nats-url", at).exits(exitOK)
	says(t, "standard output", &c.stdout, "answer", "processingFailed", `\xff`)
	unforged(t, &c.stdout)
}

func TestDLQListsAndShows(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	failed, invalid := uuid.NewString(), "seq-9"
	o := deadLetter(schema.ProcessingFailed, failed)
	o.Detail = "the vendor's errorMessage: \x1b[2J\r\nnothing \u202e here\u009b31m"
	o.Answer = json.RawMessage(`{"errorMessage":"` + "\u009b31m\u202e" + `"}`)
	o.Origin.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	storeDeadLetter(t, js, o, deadLetter(schema.InvalidMessage, invalid))
	if _, err := js.Publish(t.Context(), "interactions.failed.x.y", []byte("\x1b]0;owned\a not ours")); err != nil {
		t.Fatal(err)
	}

	t.Run("table", func(t *testing.T) {
		c := command(t, "dlq", "ls", "--nats-url", at).exits(exitOK)
		says(t, "standard output", &c.stdout, "SEQ", "@1", failed, "processing_failed", "@2", invalid, "@3",
			"is not an event in JSON")
		says(t, "standard error", &c.stderr, "3 dead letters")
		if n := len(c.stdout.lines()); n != 4 {
			t.Errorf("%d lines, want a heading and one for each of 3:\n%s", n, &c.stdout)
		}
		unforged(t, &c.stdout)
	})
	t.Run("json", func(t *testing.T) {
		c := command(t, "dlq", "ls", "--nats-url", at, "-o", "json").exits(exitOK)
		unforged(t, &c.stdout)
		var all []struct {
			Sequence uint64
			Subject  string
			Event    struct{ Data struct{ Detail string } }
			Problem  string
			Message  []byte
		}
		if err := json.Unmarshal([]byte(c.stdout.String()), &all); err != nil || len(all) != 3 {
			t.Fatalf("%d dead letters, %v:\n%s", len(all), err, &c.stdout)
		}
		if all[0].Sequence != 1 || all[0].Event.Data.Detail != o.Detail {
			t.Errorf("the first is %+v", all[0])
		}
		if all[2].Subject != "interactions.failed.x.y" || all[2].Problem == "" || !bytes.Contains(all[2].Message,
			[]byte("owned")) {
			t.Errorf("the one that is not ours is %+v", all[2])
		}
		c = command(t, "dlq", "ls", "--nats-url", at, "-o", "json", "--reason", "rejected").exits(exitOK)
		if got := strings.TrimSpace(c.stdout.String()); got != "[]" {
			t.Errorf("none is %q, want []", got)
		}
	})
	t.Run("ndjson", func(t *testing.T) {
		c := command(t, "dlq", "ls", "--nats-url", at, "-o", "ndjson", "--type", "chat").exits(exitOK)
		if n := len(c.stdout.lines()); n != 2 {
			t.Errorf("%d lines, want 2:\n%s", n, &c.stdout)
		}
		for _, line := range c.stdout.lines() {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	})
	t.Run("show", func(t *testing.T) {
		c := command(t, "dlq", "show", strings.ToUpper(failed), "--nats-url", at).exits(exitOK)
		says(t, "standard output", &c.stdout, failed+"  processing_failed  @1", "could not process",
			schema.ProcessingFailed.Advice()[:20], "polled       3 times",
			`"errorMessage": "\u009b31m\u202e"`, `"interactionIdentifier": "`+failed+`"`, "statusworker dlq replay @1",
			o.Origin.Traceparent)
		unforged(t, &c.stdout)
		c = command(t, "dlq", "show", invalid, "--nats-url", at).exits(exitOK)
		says(t, "standard output", &c.stdout, `payload      10 bytes: "{oops\x1b[31m"`, "cannot be replayed",
			"status       processingFailed: "+schema.StatusProcessingFailed.Text())
		c = command(t, "dlq", "show", "@3", "--nats-url", at).exits(exitOK)
		says(t, "standard output", &c.stdout, `"\x1b]0;owned\a not ours"`)
		unforged(t, &c.stdout)
		c = command(t, "dlq", "show", "@1", "--nats-url", at, "-o", "json").exits(exitOK)
		var event struct{ ID string }
		if err := json.Unmarshal([]byte(c.stdout.String()), &event); err != nil || event.ID != o.ID() {
			t.Errorf("event %q, want %q (%v)", event.ID, o.ID(), err)
		}
		c = command(t, "dlq", "show", "@99", "--nats-url", at).exits(exitFault)
		says(t, "standard error", &c.stderr, `"@99"`)
	})
	t.Run("replay leaves foreign messages", func(t *testing.T) {
		c := command(t, "dlq", "replay", "--yes", "@3", invalid, "--nats-url", at).exits(exitFault)
		says(t, "standard output", &c.stdout, "replayed 0, superseded 0, gone 0, unchanged 2")
		says(t, "standard error", &c.stderr, "@3 y: unchanged: it cannot be replayed: ", "@2 seq-9: unchanged: ")
		unforged(t, &c.stderr)
	})
}

// unforged requires that no text from outside could control a terminal or begin a line.
func unforged(t *testing.T, o *output) {
	t.Helper()
	for _, bad := range []string{"\x1b", "\r", "\a", "\u009b", "\u202e", "\nnothing"} {
		if strings.Contains(o.String(), bad) {
			t.Errorf("%q is in the output:\n%q", bad, o)
		}
	}
}

func TestDLQReplayAndPurge(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	const n = 300
	storeDeadLetters(t, js, n)
	other := uuid.NewString()
	storeDeadLetter(t, js, deadLetter(schema.Rejected, other))

	c := command(t, "dlq", "replay", "--dry-run", "--reason", "not_found", "--nats-url", at).exits(exitOK)
	says(t, "standard output", &c.stdout, "dry run", fmt.Sprintf("replayed %d, superseded 0, gone 0, unchanged 0", n))
	if now, _ := messages(t, js, ns.StreamDeclared()); now != 0 {
		t.Fatalf("a dry run declared %d", now)
	}
	c = command(t, "dlq", "replay", "--yes", "--reason", "not_found", "--nats-url", at).exits(exitOK)
	says(t, "standard output", &c.stdout, fmt.Sprintf("replayed %d, superseded 0, gone 0, unchanged 0", n))
	if now, ever := messages(t, js, ns.StreamDeclared()); now != n || ever != n {
		t.Errorf("%d declared messages, %d ever, want %d", now, ever, n)
	}
	c = command(t, "dlq", "replay", "--yes", "--reason", "not_found", "--nats-url", at).exits(exitOK)
	says(t, "standard error", &c.stderr, "no dead letter matches")
	if now, _ := messages(t, js, ns.StreamOutcomes()); now != 1 {
		t.Errorf("%d outcomes are left, want the unselected one", now)
	}
	c = command(t, "dlq", "purge", "--dry-run", "--all", "--nats-url", at).exits(exitOK)
	says(t, "standard output", &c.stdout, other, "deleted 1, gone 0, unchanged 0")
	c = command(t, "dlq", "purge", "--yes", other, "--nats-url", at).exits(exitOK)
	says(t, "standard output", &c.stdout, "deleted 1, gone 0, unchanged 0")
	if now, _ := messages(t, js, ns.StreamOutcomes()); now != 0 {
		t.Errorf("%d outcomes are left", now)
	}
}

// Each command reports names without a dead letter once, and fails. It processes the others.
func TestDLQReportsMissingNames(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	failed, other, gone, token := uuid.NewString(), uuid.NewString(), uuid.NewString(), "seq-17"
	storeDeadLetter(t, js, deadLetter(schema.NotFound, failed), deadLetter(schema.Rejected, other),
		deadLetter(schema.InvalidMessage, token))
	deleted := fmt.Sprintf("@%d", storeDeadLetter(t, js, deadLetter(schema.NotFound, gone)))
	processed := schema.Outcome{Identifier: uuid.NewString(), Type: schema.Chat, Destination: schema.ToCXAI,
		Observed:    time.Now(),
		Declaration: json.RawMessage(`{}`), Answer: json.RawMessage(`{"status":"processed"}`),
		Origin: deadLetter(schema.NotFound, gone).Origin}
	noDeadLetter := fmt.Sprintf("@%d", storeDeadLetter(t, js, processed))
	command(t, "dlq", "purge", "--yes", deleted, "--nats-url", at).exits(exitOK)

	for _, missing := range [][]string{
		{deleted}, {noDeadLetter}, {"@99"}, {gone}, {"seq-18"}, {uuid.NewString()}, {processed.Identifier},
		{deleted, gone, "@99", "seq-18"},
	} {
		for _, args := range [][]string{
			{"ls"}, {"ls", "-o", "json"}, {"show"}, {"replay", "--yes"}, {"purge", "--yes"}, {"replay",
				"--dry-run"}, {"purge", "--dry-run"},
			{"ls", failed}, {"replay", "--dry-run", failed, "@2"}, {"purge", "--dry-run", token},
		} {
			switch {
			case args[0] == "show" && len(missing) > 1:
				continue
			case len(missing) == 1 && missing[0] != gone && (args[0] != "ls" || len(args) > 1): // the same lookup
				continue
			}
			c := command(t, slices.Concat([]string{"dlq"}, args, missing,
				[]string{"--nats-url", at})...).exits(exitFault)
			for _, id := range append([]string{failed, "@2", token}, missing...) {
				if named := strings.Count(c.stderr.readable(),
					schema.Quote(id)); named != strings.Count(strings.Join(missing, " "), id) {
					t.Errorf("%v %v: %s is named %d times:\n%s", args, missing, id, named, &c.stderr)
				}
			}
			for _, dry := range args {
				if dry == "--dry-run" && len(args) > 2 {
					says(t, "standard output", &c.stdout, "dry run")
				}
			}
		}
	}

	// Different spellings of a name are one name.
	c := command(t, "dlq", "replay", "--yes", "@99", "@099", "@99", gone, strings.ToUpper(gone), "--nats-url",
		at).exits(exitFault)
	for _, id := range []string{"@99", gone} {
		if n := strings.Count(c.stderr.readable(), schema.Quote(id)); n != 1 {
			t.Errorf("%s is named %d times, want once:\n%s", id, n, &c.stderr)
		}
	}
	// A dead letter that another flag excludes counts as missing.
	for _, flag := range []string{"--reason=rejected", "--type=audio", "--older-than=1h"} {
		for _, what := range []string{"replay", "purge"} {
			c := command(t, "dlq", what, "--yes", flag, "@1", "--nats-url", at).exits(exitFault)
			says(t, "standard error", &c.stderr, `"@1"`)
		}
	}
	if now, _ := messages(t, js, ns.StreamOutcomes()); now != 4 {
		t.Fatalf("%d outcomes are stored, want 4", now)
	}
	// Existing dead letters are processed in any order. The second time they are missing.
	c = command(t, "dlq", "replay", "--yes", deleted, failed, "@99", strings.ToUpper(other), failed, "--nats-url",
		at).exits(exitFault)
	says(t, "standard output", &c.stdout, "replayed 2, superseded 0, gone 0, unchanged 0")
	c = command(t, "dlq", "purge", "--yes", failed, token, "--nats-url", at).exits(exitFault)
	says(t, "standard output", &c.stdout, "deleted 1, gone 0, unchanged 0")
	c = command(t, "dlq", "purge", "--yes", failed, token, "--nats-url", at).exits(exitFault)
	says(t, "standard error", &c.stderr, schema.Quote(failed), schema.Quote(token))
	if now, _ := messages(t, js, ns.StreamDeclared()); now != 2 {
		t.Errorf("%d declared messages, want 2", now)
	}
}

// Without streams, each command fails and names `provision`.
func TestDLQWithoutStreams(t *testing.T) {
	t.Parallel()
	s, js := broker(t)
	for _, args := range [][]string{
		{"ls"}, {"ls", "-o", "json"}, {"ls", "--reason", "not_found"}, {"show", "@1"}, {"purge", "--yes",
			"--all"}, {"purge", "--dry-run", "--all"},
		{"replay", "--yes", "--all"}, {"replay", "--yes", "@1"},
	} {
		c := command(t, append(append([]string{"dlq"}, args...), "--nats-url", s.URL())...).exits(exitFault)
		says(t, "standard error", &c.stderr, ns.StreamOutcomes(), "`statusworker provision`")
		if c.stdout.String() != "" {
			t.Errorf("%v: %s", args, &c.stdout)
		}
	}
	command(t, "provision", "--nats-url", s.URL()).exits(exitOK)
	if err := js.DeleteStream(t.Context(), ns.StreamDeclared()); err != nil {
		t.Fatal(err)
	}
	c := command(t, "dlq", "replay", "--yes", "--all", "--nats-url", s.URL()).exits(exitFault)
	says(t, "standard error", &c.stderr, ns.StreamDeclared(), "`statusworker provision`")
}

// A restart of the broker during a replay loses and duplicates nothing.
func TestDLQReplaySurvivesARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	command(t, "provision", "--nats-url", s.URL()).exits(exitOK)
	js := connectTo(t, s.URL())
	const n = 600
	storeDeadLetters(t, js, n)
	c := command(t, "dlq", "replay", "--yes", "--all", "--nats-url", s.URL()).start()
	waitFor(c.ctx, t, func() bool { now, _ := messages(t, js, ns.StreamDeclared()); return now > n/10 })
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if code := c.end(); code != exitOK {
		t.Fatalf("exit code %d; stdout:\n%s\nstderr:\n%s", code, &c.stdout, &c.stderr)
	}
	js = connectTo(t, s.URL())
	if now, ever := messages(t, js, ns.StreamDeclared()); now != n || ever != n {
		t.Errorf("%d declared messages, %d ever, want %d; %s", now, ever, n, &c.stdout)
	}
	if now, _ := messages(t, js, ns.StreamOutcomes()); now != 0 {
		t.Errorf("%d dead letters are left; %s", now, &c.stdout)
	}
}

// The commands work with the permissions in docs/permissions.md, and report a missing one.
func TestDLQPermissions(t *testing.T) {
	t.Parallel()
	const outcomes = "INTERACTIONS_OUTCOMES"
	reads := []string{"$JS.API.STREAM.INFO." + outcomes, "$JS.API.CONSUMER.CREATE." + outcomes + ".>",
		"$JS.API.CONSUMER.MSG.NEXT." + outcomes + ".>",
		"$JS.API.STREAM.MSG.GET." + outcomes}
	finds := slices.Concat(reads, []string{"$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*"})
	purges := slices.Concat(finds, []string{"$JS.API.STREAM.MSG.DELETE." + outcomes})
	replays := slices.Concat(purges, []string{"interactions.declared.>"})
	user := func(name string, may []string) *server.User {
		return &server.User{Username: name, Password: "secret", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: may},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}}
	}
	at := bare(t, server.Options{JetStream: true, StoreDir: t.TempDir(), Users: []*server.User{
		{Username: "admin", Password: "secret"}, user("reader", reads), user("finder", finds),
		user("purger", purges), user("replayer", replays),
	}})
	as := func(name string) []string {
		return []string{"--nats-url", at, "--nats-user", name, "--nats-password", "secret"}
	}
	command(t, append([]string{"provision"}, as("admin")...)...).exits(exitOK)
	nc, err := nats.Connect(at, nats.UserInfo("admin", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.NewString()
	storeDeadLetter(t, js, deadLetter(schema.NotFound, id), deadLetter(schema.NotFound, uuid.NewString()),
		deadLetter(schema.Rejected, uuid.NewString()))
	do := func(want int, name string, args ...string) *call {
		t.Helper()
		return command(t, append(append([]string{"dlq"}, args...), as(name)...)...).exits(want)
	}
	do(exitOK, "reader", "ls", "--reason", "not_found")
	do(exitOK, "reader", "show", id)
	do(exitOK, "reader", "show", "@1")
	for _, what := range []string{"purge", "replay"} {
		c := do(exitFault, "reader", what, "--yes", id)
		says(t, "standard error", &c.stderr, "STREAM.INFO.INTERACTIONS_DECLARED", "docs/permissions.md")
	}
	c := do(exitFault, "finder", "purge", "--yes", id)
	says(t, "standard error", &c.stderr, "STREAM.MSG.DELETE", "docs/permissions.md")
	do(exitOK, "purger", "purge", "--yes", "--reason", "rejected")
	c = do(exitFault, "purger", "replay", "--yes", id)
	says(t, "standard error", &c.stderr, "interactions.declared", "docs/permissions.md")
	do(exitOK, "replayer", "replay", "--yes", "--all")
}

func TestConfirmed(t *testing.T) {
	t.Parallel()
	for want, answers := range map[bool][]string{
		true: {"y\n", "YES\n", " yes \r\n", "y"}, false: {"", "\n", "n\n", "yesterday\n"},
	} {
		for _, answer := range answers {
			if got, err := confirmed(t.Context(), strings.NewReader(answer)); err != nil || got != want {
				t.Errorf("%q counts as %t, %v", answer, got, err)
			}
		}
	}
}

// --detail selects by the text of the detail, and is a selection for replay and purge.
func TestDLQDetail(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	found, other := uuid.NewString(), uuid.NewString()
	o := deadLetter(schema.Rejected, found)
	o.Detail = "ElevateAI said: Gone"
	storeDeadLetter(t, js, o, deadLetter(schema.Rejected, other))
	c := command(t, "dlq", "ls", "--detail", "said: gone", "--nats-url", at).exits(exitOK)
	if text := c.stdout.String(); !strings.Contains(text, found) || strings.Contains(text, other) {
		t.Errorf("listed\n%s", text)
	}
	command(t, "dlq", "purge", "--detail", "gone", "--yes", "--nats-url", at).exits(exitOK)
	c = command(t, "dlq", "ls", "--nats-url", at).exits(exitOK)
	if text := c.stdout.String(); strings.Contains(text, found) || !strings.Contains(text, other) {
		t.Errorf("left\n%s", text)
	}
}
