package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/overview"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// streams returns the names of all streams.
func streams(t *testing.T, js jetstream.JetStream) []string {
	t.Helper()
	var names []string
	list := js.StreamNames(t.Context())
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestProvisionCreatesOnce(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string][]string{
		"schedule": {ns.StreamDeclared(), ns.StreamOutcomes(), ns.StreamPolls(), ns.StreamWorkers()},
		"nak":      {ns.StreamDeclared(), ns.StreamOutcomes(), ns.StreamWorkers()},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s, js := broker(t)
			provision := func(more ...string) *call {
				return command(
					t,
					append([]string{"provision", "--nats-url", s.URL(), "--redelivery", mode}, more...)...)
			}
			c := provision("--dry-run").exits(exitFault)
			says(
				t,
				"dry run",
				&c.stdout,
				"would create stream "+ns.StreamDeclared(),
				"would create stream "+ns.StreamOutcomes(),
			)
			if have := streams(t, js); len(have) != 0 {
				t.Fatalf("a dry run created %v", have)
			}
			if c.stderr.String() != "" {
				t.Errorf("unexpected standard error: %s", &c.stderr)
			}
			says(
				t,
				"first run",
				&provision().exits(exitOK).stdout,
				"created stream "+ns.StreamDeclared(),
				"created consumer ",
			)
			if have := streams(t, js); !slices.Equal(have, want) {
				t.Errorf("streams %v, want %v", have, want)
			}
			for _, again := range []*call{provision(), provision("--dry-run"), provision("--update")} {
				if again.exits(exitOK); again.stdout.String() != "nothing to change\n" {
					t.Errorf("%v prints:\n%s", again.args, &again.stdout)
				}
			}
		})
	}
}

func TestProvisionShowsAndUpdatesDifferences(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	other := []string{
		"provision",
		"--nats-url",
		at,
		"--max-age",
		"48h",
		"--outcomes-max-bytes",
		"1000000",
		"--declared-max-msgs",
		"500",
	}
	want := []string{
		"stream " + ns.StreamOutcomes() + ": max age is 14d, should be 48h",
		"stream " + ns.StreamOutcomes() + ": max bytes is unlimited, should be 1000000",
		"stream " + ns.StreamDeclared() + ": max messages is unlimited, should be 500",
	}
	age := func() time.Duration {
		s, err := js.Stream(t.Context(), ns.StreamOutcomes())
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Config.MaxAge
	}
	says(t, "dry run", &command(t, append(other, "--dry-run")...).exits(exitFault).stdout, want...)
	c := command(t, other...).exits(exitFault)
	says(t, "without --update", &c.stdout, want...)
	says(t, "without --update", &c.stderr, "--update")
	if age() != 336*time.Hour {
		t.Fatalf("max age was changed to %s without --update", age())
	}
	c = command(t, append(other, "--update")...).exits(exitOK)
	says(
		t,
		"update",
		&c.stdout,
		append(want, "updated stream "+ns.StreamOutcomes(), "updated stream "+ns.StreamDeclared())...)
	if age() != 48*time.Hour {
		t.Errorf("max age is %s after the update, want 48h", age())
	}
	command(t, append(other, "--dry-run")...).exits(exitOK)
}

func TestProvisionReadsVariables(t *testing.T) {
	t.Parallel()
	s, js := broker(t)
	c := command(t, "provision", "--max-age", "72h")
	c.env["NATS_URL"], c.env["STATUSWORKER_REDELIVERY"], c.env["STATUSWORKER_MAX_AGE"] = s.URL(), "nak", "48h"
	c.exits(exitOK)
	if have := streams(t, js); slices.Contains(have, ns.StreamPolls()) {
		t.Errorf("streams %v: the variable of --redelivery was not read", have)
	}
	stream, err := js.Stream(t.Context(), ns.StreamOutcomes())
	if err != nil {
		t.Fatal(err)
	}
	if age := stream.CachedInfo().Config.MaxAge; age != 72*time.Hour {
		t.Errorf("max age is %s: want the flag's 72h", age)
	}
}

func TestProvisionKeepsTheMode(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]string{"schedule": "nak", "nak": "schedule"} {
		t.Run(from+" to "+to, func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t, "--redelivery", from)
			before := streams(t, js)
			for _, more := range [][]string{nil, {"--update"}, {"--dry-run"}} {
				c := command(
					t,
					append([]string{"provision", "--nats-url", at, "--redelivery", to}, more...)...).exits(
					exitFault,
				)
				says(t, "standard output", &c.stdout, "must not exist", "redelivery "+from)
			}
			says(
				t,
				"standard error",
				&command(t, "provision", "--nats-url", at, "--redelivery", to).exits(exitFault).stderr,
				"nothing was changed",
				"--redelivery ($STATUSWORKER_REDELIVERY)",
			)
			// Without the flag, it keeps the mode, also if consumers are missing.
			kept := command(t, "provision", "--nats-url", at).exits(exitOK)
			says(t, "standard output", &kept.stdout, "nothing to change")
			lost := ns.StreamDeclared()
			if from == "schedule" {
				lost = ns.StreamPolls()
			}
			for _, typ := range schema.Types() {
				if err := js.DeleteConsumer(t.Context(), lost, ns.PollConsumer(typ)); err != nil {
					t.Fatal(err)
				}
			}
			says(
				t,
				"standard output",
				&command(t, "provision", "--nats-url", at).exits(exitOK).stdout,
				"created consumer "+lost+"/"+ns.PollConsumer(schema.Chat),
			)
			if after := streams(t, js); !slices.Equal(before, after) {
				t.Errorf("streams were %v and are %v", before, after)
			}
			c := worker(t, at).start() // it still works
			c.logs(`"redelivery":"` + from + `"`)
			c.stop()
			c.end()
		})
	}
}

// A bucket for workers that was created by `nats kv` has no max age. A worker names the command that fixes it.
func TestProvisionFixesTheBucket(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	if err := js.DeleteStream(t.Context(), ns.StreamWorkers()); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(
		t.Context(),
		jetstream.KeyValueConfig{Bucket: strings.TrimPrefix(ns.StreamWorkers(), "KV_")},
	); err != nil {
		t.Fatal(err)
	}
	says(
		t,
		"standard error",
		&worker(t, at).exits(exitFault).stderr,
		"max age is unlimited, should be 10s",
		"`statusworker provision --update`",
	)
	command(t, "provision", "--nats-url", at, "--update").exits(exitOK)
	w := worker(t, at).start()
	w.logs(`"working"`)
	w.stop()
	w.end()
}

// A stream that producers have created before the first provision does not decide the redelivery mode.
func TestProvisionOverAForeignStream(t *testing.T) {
	t.Parallel()
	s, js := broker(t)
	if _, err := js.CreateStream(
		t.Context(),
		jetstream.StreamConfig{
			Name:      ns.StreamDeclared(),
			Subjects:  []string{"interactions.declared.>"},
			Retention: jetstream.WorkQueuePolicy,
		},
	); err != nil {
		t.Fatal(err)
	}
	says(
		t,
		"standard output",
		&command(t, "provision", "--nats-url", s.URL(), "--update").exits(exitOK).stdout,
		"created stream "+ns.StreamPolls(),
	)
}

// With delayed naks, the ack wait is computed from the worker's timing. Without the flags it is kept. The command in
// the worker's error fixes it.
func TestProvisionTimingOfNaks(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t, "--redelivery", "nak", "--audio-interval", "60s")
	ackWait := func(want time.Duration) {
		t.Helper()
		c, err := js.Consumer(t.Context(), ns.StreamDeclared(), ns.PollConsumer(schema.Audio))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.CachedInfo().Config.AckWait; got != want {
			t.Errorf("the ack wait is %s, want %s", got, want)
		}
	}
	provision := func(more ...string) *call {
		return command(t, append([]string{"provision", "--nats-url", at}, more...)...)
	}
	for _, more := range [][]string{nil, {"--update"}, {"--chat-interval", "5s", "--update"}} {
		says(t, "standard output", &provision(more...).exits(exitOK).stdout, "nothing to change")
		ackWait(75 * time.Second)
	}
	c := provision("--audio-interval", "30s").exits(exitFault)
	says(t, "standard output", &c.stdout, "poll-audio: ack wait is 1m15s, should be 45s")
	variable := provision()
	variable.env["STATUSWORKER_AUDIO_INTERVAL"] = "30s"
	says(t, "standard output", &variable.exits(exitFault).stdout, "poll-audio: ack wait is 1m15s, should be 45s")

	longer := []string{"--audio-interval", "90s", "--request-timeout", "20s"}
	refused := worker(t, at, longer...).exits(exitFault)
	_, fix, _ := strings.Cut(refused.stderr.String(), "`statusworker ")
	fix, _, _ = strings.Cut(fix, "`")
	examined := command(
		t,
		append([]string{"doctor", "--nats-url", at, "--base-url", "http://127.0.0.1:1/v1", "-o", "json"}, longer...)...)
	examined.env["ELEVATEAI_API_TOKEN"] = "token"
	says(t, "doctor", &examined.exits(exitFault).stdout, "`statusworker "+fix+"`")
	command(t, append(strings.Fields(fix), "--nats-url", at)...).exits(exitOK)
	ackWait(115 * time.Second)
	w := worker(t, at, longer...).start()
	w.logs(`"working"`)
	w.stop()
	w.end()
}

// `status` and `provision` report messages that a consumer has skipped. The command that they name delivers them.
func TestProvisionRedelivers(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	skip(t, js)
	provision := func(more ...string) *call {
		return command(t, append([]string{"provision", "--nats-url", at}, more...)...)
	}
	objects := []string{
		"consumer " + ns.StreamDeclared() + "/" + ns.ConsumerIntake(),
		"consumer " + ns.StreamPolls() + "/" + ns.PollConsumer(schema.Chat),
	}
	inspect := func() (s overview.Overview) {
		t.Helper()
		if err := json.Unmarshal(
			[]byte(command(t, "status", "-o", "json", "--nats-url", at).exits(exitOK).stdout.String()),
			&s,
		); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := inspect()
	if len(s.Undelivered) != 2 || len(s.Foreign) != 0 || s.Intake.Waiting != 0 || s.Intake.WaitingSeconds != 0 {
		t.Errorf("status finds %+v, the intake %+v", s.Report, s.Intake)
	}
	if all := strings.Join(s.Advice, "\n"); strings.Count(all, "`statusworker provision --update`") != 2 {
		t.Errorf("the advice does not name the command twice: %s", all)
	}
	for _, more := range [][]string{{"--dry-run"}, nil} {
		says(t, "standard output", &provision(more...).exits(exitFault).stdout, objects...)
	}
	if again := inspect(); len(again.Undelivered) != 2 {
		t.Fatalf("changed without --update: %+v", again.Report)
	}
	says(
		t,
		"standard output",
		&provision("--update").exits(exitOK).stdout,
		"recreated "+objects[0],
		"recreated "+objects[1],
	)
	if s := inspect(); len(s.Undelivered) != 0 || s.Intake.Waiting != 1 || s.Lanes[1].Due != 1 {
		t.Errorf("afterwards status finds %+v, the intake %+v, the lanes %+v", s.Report, s.Intake, s.Lanes)
	}
	provision("--dry-run").exits(exitOK)
}

// With delayed naks, recreating a consumer under live workers would cause early polls.
func TestProvisionDoesNotRecreateNaksUnderWorkers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testing.T, jetstream.JetStream, string, string){
		"skips messages": func(t *testing.T, js jetstream.JetStream, stream, name string) {
			settle(t, js, stream+"."+name)
		},
		"in memory": inMemory,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t, "--redelivery", "nak")
			declare(t, js)
			change(t, js, ns.StreamDeclared(), ns.PollConsumer(schema.Audio))
			key := ns.WorkerSubject("another")
			if _, err := js.Publish(t.Context(), key, []byte(`{"state":"working"}`)); err != nil {
				t.Fatal(err)
			}
			update := []string{"provision", "--nats-url", at, "--update"}
			object := ns.StreamDeclared() + "/" + ns.PollConsumer(schema.Audio)
			says(t, "standard output", &command(t, update...).exits(exitFault).stdout, object)
			bucket, err := js.Stream(t.Context(), ns.StreamWorkers())
			if err != nil {
				t.Fatal(err)
			}
			if err := bucket.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			says(t, "standard output", &command(t, update...).exits(exitOK).stdout, "recreated consumer "+object)
			c, err := js.Consumer(t.Context(), ns.StreamDeclared(), ns.PollConsumer(schema.Audio))
			if err != nil {
				t.Fatal(err)
			}
			if n := c.CachedInfo().NumPending; n != 1 {
				t.Errorf("%d are pending, want the declared message", n)
			}
		})
	}
}

// NATS cannot change whether the state of a consumer is in memory.
func TestProvisionRecreatesAConsumerInMemory(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	inMemory(t, js, ns.StreamPolls(), ns.PollConsumer(schema.Chat))
	object := "consumer " + ns.StreamPolls() + "/" + ns.PollConsumer(schema.Chat)
	provision := []string{"provision", "--nats-url", at}
	for _, more := range []string{"--dry-run", "--update=false"} {
		c := command(t, append(provision, more)...).exits(exitFault)
		says(t, more, &c.stdout, object, "memory storage", "recreate")
	}
	says(t, "--update", &command(t, append(provision, "--update")...).exits(exitOK).stdout, "recreated "+object)
	says(t, "--dry-run", &command(t, append(provision, "--dry-run")...).exits(exitOK).stdout, "nothing")
}

// inMemory recreates a consumer with its state in memory.
func inMemory(t *testing.T, js jetstream.JetStream, stream, name string) {
	t.Helper()
	c, err := js.Consumer(t.Context(), stream, name)
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.CachedInfo().Config
	cfg.MemoryStorage = true
	if err := js.DeleteConsumer(t.Context(), stream, name); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateConsumer(t.Context(), stream, cfg); err != nil {
		t.Fatal(err)
	}
}

// The shipped users have the permissions to find skipped messages (status) and to redeliver them (provision).
func TestShippedUsersMayRedeliver(t *testing.T) {
	t.Parallel()
	for mode, at := range map[string]string{"schedule": ns.StreamDeclared() + "." + ns.ConsumerIntake(),
		"nak": ns.StreamDeclared() + "." + ns.PollConsumer(schema.Audio)} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			url := users(t, func(all []*server.User) []*server.User {
				root := *all[0]
				root.Username, root.Permissions = "root", nil
				return append(all, &root)
			})
			provision := append([]string{"provision", "--nats-url", url, "--redelivery", mode}, as("provision")...)
			command(t, provision...).exits(exitOK)
			js := connectTo(t, strings.Replace(url, "//", "//root:"+userPassword+"@", 1))
			declare(t, js)
			settle(t, js, at)
			var s overview.Overview
			status := append([]string{"status", "-o", "json", "--nats-url", url}, as("status")...)
			if err := json.Unmarshal([]byte(command(t, status...).exits(exitOK).stdout.String()), &s); err != nil ||
				len(s.Undelivered) != 1 {
				t.Errorf("the user status finds %+v, %v", s.Report, err)
			}
			says(
				t,
				"standard output",
				&command(t, append(provision, "--update")...).exits(exitOK).stdout,
				"recreated consumer "+strings.Replace(at, ".", "/", 1),
			)
		})
	}
}

// A stream that sources the reservations is reported. Provisioning does not change it.
func TestProvisionReportsForeignConsumers(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	if _, err := js.CreateStream(
		t.Context(),
		jetstream.StreamConfig{Name: "COPY", Sources: []*jetstream.StreamSource{{Name: ns.StreamPolls()}}},
	); err != nil {
		t.Fatal(err)
	}
	awaitConsumers(t, js, ns.StreamPolls())
	for _, more := range [][]string{nil, {"--dry-run"}, {"--update"}} {
		says(
			t,
			"standard output",
			&command(t, append([]string{"provision", "--nats-url", at}, more...)...).exits(exitFault).stdout,
			"stream "+ns.StreamPolls(),
		)
	}
	if err := js.DeleteStream(t.Context(), "COPY"); err != nil {
		t.Fatal(err)
	}
	command(t, "provision", "--nats-url", at, "--dry-run").exits(exitOK)
}

func TestProvisionOnAnOldServer(t *testing.T) {
	t.Parallel()
	for version, usable := range map[string]struct{ reserve, nak bool }{
		"2.11.4": {false, true}, "2.12.9": {false, true}, "2.13.0": {false, true}, "unknown": {false, true},
		"2.14.1": {false, false}, "2.14.2": {false, false}, "2.14.3": {false, false}, "2.14.4-preview": {false, false},
		"2.12.10": {true, true}, "2.14.4": {true, true}, "2.15.0-RC.1": {true, true},
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			for mode, works := range map[string]bool{"auto": usable.reserve, "schedule": usable.reserve,
				"nak": usable.nak} {
				s, js := broker(t)
				at := ofVersion(t, s.URL(), version)
				if works {
					command(t, "provision", "--nats-url", at, "--redelivery", mode).exits(exitOK)
					continue
				}
				c := command(t, "provision", "--nats-url", at, "--redelivery", mode).exits(exitFault)
				says(t, "standard error", &c.stderr, version, topology.MinServers)
				if offered := strings.Contains(c.stderr.String(), "--redelivery nak"); offered != usable.nak {
					t.Errorf("--redelivery nak is offered: %t, it works: %t: %s", offered, usable.nak, &c.stderr)
				}
				if n := len(footprint(t, js)); n != 0 {
					t.Errorf("%d streams and consumers were created", n)
				}
			}
		})
	}
}

func TestProvisionWarnsOfServerFaults(t *testing.T) {
	t.Parallel()
	for version, warns := range map[string]bool{"2.14.5": true, "2.15.2": true, "2.15.3": false} {
		c := command(t, "provision", "--nats-url", oldServer(t, version), "--log-format", "json").exits(exitOK)
		if warned := strings.Contains(c.stderr.String(), `"fixed_in"`); warned != warns {
			t.Errorf("warning about %s: %t: %s", version, warned, &c.stderr)
		}
	}
}

// A worker rejects a server that `provision` rejects, also if the streams exist already.
func TestWorkersRejectAnOldServer(t *testing.T) {
	t.Parallel()
	for mode, versions := range map[string]map[string]bool{
		"schedule": {"2.12.9": false, "2.14.3": false, "2.14.4": true, "2.15.0": true},
		"nak":      {"2.12.9": true, "2.14.3": false, "2.14.4": true},
	} {
		at, _ := provisioned(t, "--redelivery", mode)
		for version, works := range versions {
			w := worker(t, ofVersion(t, at, version))
			if !works {
				says(t, "standard error", &w.exits(exitFault).stderr, version, topology.MinServers)
				continue
			}
			w.start()
			w.logs(`"working"`)
			w.stop()
			w.end()
		}
	}
}

func TestProvisionReportsImmutableSettings(t *testing.T) {
	t.Parallel()
	s, js := broker(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name:      ns.StreamOutcomes(),
		Subjects:  []string{ns.SubjectsProcessed(), ns.SubjectsFailed()},
		Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := command(t, "provision", "--nats-url", s.URL(), "--update").exits(exitFault)
	says(t, "standard output", &c.stdout, "retention")
	says(t, "standard error", &c.stderr, ns.StreamOutcomes(), "docs/deploy.md")
	if strings.Count(c.stderr.String(), "\n") != 1 {
		t.Errorf("want one line on standard error:\n%s", &c.stderr)
	}
}

func TestProvisionReplicasOnASingleServer(t *testing.T) {
	t.Parallel()
	s, _ := broker(t)
	refused := func(flags ...string) {
		t.Helper()
		c := command(
			t,
			append([]string{"provision", "--nats-url", s.URL(), "--replicas", "3"}, flags...)...).exits(
			exitFault,
		)
		says(t, "standard error", &c.stderr, "--replicas ($STATUSWORKER_REPLICAS)")
	}
	refused()
	command(t, "provision", "--nats-url", s.URL()).exits(exitOK)
	refused("--update")
}

func TestProvisionTimesOut(t *testing.T) {
	t.Parallel()
	c := command(t, "provision", "--timeout", "300ms", "--nats-url", nobody(t)).exits(exitFault)
	says(
		t,
		"standard error",
		&c.stderr,
		"waiting for NATS at nats://127.0.0.1:",
		"statusworker: no answer within 300ms (--timeout)",
		"no servers available",
	)

	bad := bare(t, server.Options{}) // without JetStream
	c = command(t, "provision", "--timeout", "300ms", "--nats-url", bad).exits(exitFault)
	says(t, "standard error", &c.stderr, "statusworker: no answer within 300ms (--timeout): waiting for JetStream")

	c = command(t, "provision", "--timeout", "0s").exits(exitUsage)
	says(t, "standard error", &c.stderr, "--timeout is 0s: must be more than 0")
}

func TestProvisionStopsWhileWaiting(t *testing.T) {
	t.Parallel()
	c := command(t, "provision", "--nats-url", nobody(t)).start()
	c.logs("waiting for NATS")
	c.stop()
	c.end()
}
