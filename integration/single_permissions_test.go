package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// users are those of deploy/nats/statusworker.conf. The test adds admin, who has all permissions.
var users = []string{"producer", "declare", "worker", "provision", "status", "dlq", "operator", "transcripts"}

const (
	password = "of-a-user"
	admin    = "admin"
)

// shippedUsers starts a server with these users.
func shippedUsers(t *testing.T) *harness.Server {
	t.Helper()
	shipped, err := os.ReadFile("../deploy/nats/statusworker.conf")
	harness.Check(t, err)
	const list = "    users: [\n"
	if strings.Count(string(shipped), list) != 1 {
		t.Fatalf("deploy/nats/statusworker.conf must contain %q exactly once", list)
	}
	var config []string
	for _, user := range users {
		config = append(config, strings.ToUpper(user)+"_PASSWORD: "+password)
	}
	return harness.StartServer(t, append(config,
		strings.Replace(string(shipped), list, list+"{ user: "+admin+", password: "+password+" }\n", 1))...)
}

// urlOf returns the server's address with the credentials of a user.
func urlOf(s *harness.Server, user string) string {
	return strings.Replace(s.URL, "nats://", "nats://"+user+":"+password+"@", 1)
}

// envOf returns the environment of a command that connects as a user.
func envOf(s *harness.Server, user string) []string {
	return []string{
		"NATS_URL=" + s.URL,
		"NATS_USER=" + user,
		"NATS_PASSWORD=" + password,
		"NATS_INBOX_PREFIX=_INBOX_" + user,
	}
}

func connectAs(t *testing.T, s *harness.Server, user string) *nats.Conn {
	t.Helper()
	// Do not print the violations, which are expected.
	return harness.Connect(
		t,
		urlOf(s, user),
		nats.CustomInboxPrefix("_INBOX_"+user),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	)
}

// The shipped users have all permissions that they need to provision, declare, poll, pause and resume, publish and read
// outcomes, and run the operators' commands.
func TestSingleShippedUsersCanWork(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		server := shippedUsers(t)
		provision(t, server.URL, mode, 1, scaled, envOf(server, "provision")...)
		// This provisions again, with the worker's permissions, which are enough because nothing is missing.
		// The deadline leaves time for the commands that run before the worker.
		s := newScenario(t, setting{
			name: "shipped-users/" + string(mode), url: urlOf(server, admin), mode: mode,
			env: append(envOf(server, "worker"), "STATUSWORKER_DEADLINE=40s"),
		})

		producer, err := jetstream.New(connectAs(t, server, "producer"))
		harness.Check(t, err)
		s.js = producer
		interactions := append(processed(1500*time.Millisecond), failing(schema.Audio, 1500*time.Millisecond)...)
		s.declareAll(interactions)
		declared := processed(time.Second)[0]
		s.expect(declared)
		run(t, envOf(server, "declare"), "declare", "--type", string(declared.typ), declared.identifier)

		other, err := simulator.Start(simulator.Config{})
		harness.Check(t, err)
		t.Cleanup(other.Close)
		run(t, append(workerEnv(server.URL, other.URL(), scaled), envOf(server, "worker")...), "doctor")

		s.vendor.SetFaults(simulator.Refusal(503))
		w := s.start()
		_, err = w.AwaitLine(s.ctx, "polling paused")
		harness.Check(t, err)
		s.vendor.SetFaults()
		_, err = w.AwaitLine(s.ctx, "polling resumed")
		harness.Check(t, err)

		// Declared again: the worker reads the stored outcome, and publishes none.
		harness.Check(t, s.oracle.Await(s.ctx, harness.Expected{declared.identifier: s.want[declared.identifier]}))
		polls := s.vendor.Count()
		harness.Check(t, s.publish(declared))
		harness.Check(t, s.vendor.WaitPolls(s.ctx, polls+1))

		stage, err := jetstream.New(connectAs(t, server, "transcripts"))
		harness.Check(t, err)
		transcripts, err := stage.CreateOrUpdateConsumer(s.ctx, ns.StreamOutcomes(), jetstream.ConsumerConfig{
			Durable:       "transcripts",
			FilterSubject: ns.ProcessedSubject(schema.ToTranscript, "*"),
			AckPolicy:     jetstream.AckExplicitPolicy,
		})
		harness.Check(t, err)
		m, err := transcripts.Next(jetstream.FetchMaxWait(10 * time.Second))
		harness.Check(t, err)
		if kind, _, _ := ns.SplitSubject(m.Subject()); kind != string(schema.ToTranscript) {
			t.Errorf("the consumer of transcripts received %s", m.Subject())
		}
		harness.Check(t, m.DoubleAck(s.ctx))

		run(t, envOf(server, "status"), "status", "-o", "json")
		run(t, envOf(server, "dlq"), "dlq", "ls")
		run(t, envOf(server, "operator"), "status", "-o", "json")
		run(t, envOf(server, "operator"), "dlq", "ls")
		for _, user := range []string{"operator", "worker"} {
			run(t, envOf(server, user), "show", declared.identifier, interactions[0].identifier)
		}
		families, err := metricsOf(s.ctx, w)
		harness.Check(t, err)
		if families["statusworker_lane_due"] == nil {
			t.Error("the worker has no metric statusworker_lane_due")
		}

		s.js = harness.JetStream(t, urlOf(server, admin))
		s.finish()
		run(t, envOf(server, "dlq"), "dlq", "replay", "--reason", "not_found", "--yes")
		run(t, envOf(server, "dlq"), "dlq", "purge", "--all", "--yes")
		if log := w.Output(); strings.Contains(strings.ToLower(log), "permissions violation") {
			t.Errorf("the worker lacks a permission; its log:\n%s", log)
		}
	})
}

// run runs a command, which must exit with 0 and not lack a permission.
func run(t *testing.T, env []string, args ...string) {
	t.Helper()
	code, output := harness.RunWorker(t, env, args...)
	if code != 0 || strings.Contains(strings.ToLower(output), "permissions violation") {
		t.Fatalf("statusworker %v: exit code %d, want 0; output:\n%s", args, code, output)
	}
}

// refused calls do with the connection of a user, and reports whether the server denied it for lack of a permission.
func refused(nc *nats.Conn, do func() error) (bool, error) {
	before := nc.LastError()
	if err := do(); err != nil {
		return false, err
	}
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		return false, err
	}
	after := nc.LastError()
	fresh := after != before //nolint:errorlint // another error than before, even if it wraps the same one
	return fresh && errors.Is(after, nats.ErrPermissionViolation), nil
}

// None of the shipped users can create, change, delete or read anything that it does not need, or receive responses to
// another user.
func TestSingleShippedUsersCanDoNothingElse(t *testing.T) {
	t.Parallel()
	server := shippedUsers(t)
	provision(t, server.URL, consumer.Schedule, 1, scaled, envOf(server, "provision")...)
	ctx := harness.Context(t, time.Minute)
	js := harness.JetStream(t, urlOf(server, admin))
	_, err := js.Publish(ctx, ns.DeclaredSubject(schema.Audio, uuid.NewString()), []byte("{}"))
	harness.Check(t, err)
	before := state(ctx, t, js)

	attempts := 0
	need, granted := needed(), granted()
	for _, user := range users {
		nc := connectAs(t, server, user)
		publish := forbidden()
		for other, subjects := range need {
			for _, s := range subjects {
				if other != user && !slices.Contains(need[user], s) {
					publish = append(publish, s)
				}
			}
		}
		listen := []string{
			">",
			"*",
			"interactions.>",
			"interactions.processed.>",
			"interactions.hold.*.*",
			"$JS.>",
			"$JS.API.>",
			"$JS.EVENT.>",
			"$KV.>",
			"$SYS.>",
			"_INBOX.>",
			"*.>",
		}
		for _, other := range users {
			if other != user {
				listen = append(listen, "_INBOX_"+other+".>", "_INBOX_"+other+".x")
				publish = append(publish, "_INBOX_"+other+".x")
			}
		}
		for _, subject := range publish {
			if slices.Contains(granted[user], subject) {
				continue
			}
			attempts++
			ok, err := refused(nc, func() error { return nc.Publish(subject, nil) })
			harness.Check(t, err)
			if !ok {
				t.Errorf("%s may publish %s", user, subject)
			}
		}
		for _, subject := range listen {
			attempts++
			ok, err := refused(nc, func() error { _, err := nc.SubscribeSync(subject); return err })
			harness.Check(t, err)
			if !ok {
				t.Errorf("%s may subscribe to %s", user, subject)
			}
		}
		// The user may subscribe to its own inbox: the subscriptions above were denied for their subjects.
		ok, err := refused(nc, func() error { _, err := nc.SubscribeSync("_INBOX_" + user + ".>"); return err })
		if ok || err != nil {
			t.Errorf("%s may not subscribe to its own inbox (%v)", user, err)
		}
	}
	if after := state(ctx, t, js); after != before {
		t.Errorf("the streams have changed from\n%s\nto\n%s", before, after)
	}
	note(t, "scenario=shipped-users users=%d attempts=%d", len(users), attempts)
}

// The filter is part of the subject of the request that creates a consumer, so that a user cannot request more.
func TestSingleConsumerOfOutcomesKeepsItsFilter(t *testing.T) {
	t.Parallel()
	server := shippedUsers(t)
	provision(t, server.URL, consumer.Schedule, 1, scaled, envOf(server, "provision")...)
	nc := connectAs(t, server, "transcripts")
	allowed := ns.ProcessedSubject(schema.ToTranscript, "*")
	subject := "$JS.API.CONSUMER.CREATE." + ns.StreamOutcomes() + ".transcripts." + allowed
	request := func(name, filter string) string {
		m, err := nc.RequestWithContext(harness.Context(t, 10*time.Second), subject, fmt.Appendf(nil,
			`{"stream_name":%q,"config":{"name":%q,"durable_name":%[2]q,"filter_subject":%q,"ack_policy":"explicit"}}`,
			ns.StreamOutcomes(), name, filter))
		harness.Check(t, err)
		return string(m.Data)
	}
	for _, wrong := range [][2]string{
		{"transcripts", ns.SubjectsFailed()}, {"transcripts", ""}, {"another", allowed},
	} {
		if answer := request(wrong[0], wrong[1]); !strings.Contains(answer, `"error"`) {
			t.Errorf("consumer %s with the filter %q was created: %s", wrong[0], wrong[1], answer)
		}
	}
	if answer := request("transcripts", allowed); strings.Contains(answer, `"error"`) {
		t.Errorf("consumer transcripts with the filter %q was not created: %s", allowed, answer)
	}
}

// state describes all streams and consumers.
func state(ctx context.Context, t *testing.T, js jetstream.JetStream) string {
	t.Helper()
	var lines []string
	streams := js.ListStreams(ctx)
	for s := range streams.Info() {
		lines = append(lines, fmt.Sprintf("%+v %+v", s.Config, s.State))
		stream, err := js.Stream(ctx, s.Config.Name)
		harness.Check(t, err)
		consumers := stream.ListConsumers(ctx)
		for c := range consumers.Info() {
			lines = append(
				lines,
				fmt.Sprintf("%s %s %d %d %d", c.Stream, c.Name, c.Delivered.Consumer, c.NumAckPending, c.NumPending),
			)
		}
		harness.Check(t, consumers.Err())
	}
	harness.Check(t, streams.Err())
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
