package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"statusworker/cmd/internal/interaction"
	"statusworker/schema"
	brokers "statusworker/schema/broker"
	"statusworker/schema/lifecycle"
	"statusworker/statusclient/simulator"
)

// shown decodes the array of `show -o json`.
func shown(t *testing.T, c *call) (all []interaction.Interaction) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.stdout.String()), &all); err != nil {
		t.Fatalf("%v in %s", err, &c.stdout)
	}
	return all
}

func TestShowRejects(t *testing.T) {
	t.Parallel()
	at := nobody(t) // the command fails before it connects
	for args, want := range map[string]string{
		"":                             "<id>",
		"x":                            `"x" is 1 bytes long, must be a GUID`,
		someID + " @7":                 `"@7" is 2 bytes long, must be a GUID`,
		someID[:35] + "g":              "at position 36",
		someID + " -o yaml":            "must be one of table, json, ndjson",
		someID + " --timeout=0s":       "--timeout is 0s: must be more than 0",
		"\x1b[31m" + someID[:31]:       `\x1b`,
		someID + " --log-level=louder": "--log-level",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			c := command(t, append([]string{"show", "--nats-url", at}, strings.Fields(args)...)...).exits(exitUsage)
			says(t, "standard error", &c.stderr, want)
			unforged(t, &c.stderr)
		})
	}
	c := command(t, "show", someID, "--nats-url", at, "--timeout", "200ms").exits(exitFault)
	says(t, "standard error", &c.stderr, "--timeout")
}

// The command finds an interaction by its GUID in any case, shows each once in all formats, and exits with 1 if one is
// unknown.
func TestShow(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s, js := broker(t)
			at := s.URL()
			c := command(t, "show", someID, "--nats-url", at).exits(exitFault)
			says(t, "standard error", &c.stderr, "statusworker provision", ns.StreamDeclared())
			command(t, "provision", "--redelivery", mode, "--nats-url", at).exits(exitOK)

			declared, failed := declare(t, js), uuid.NewString()
			o := deadLetter(schema.NotFound, failed)
			o.Detail = "why \x1b[31m\u009b31m\u202e it failed"
			o.History = []schema.StatusChange{{Status: schema.StatusProcessing, At: time.Now().UTC(), Poll: 2}}
			storeDeadLetter(t, js, o)

			ids := []string{strings.ToUpper(declared), failed, declared}
			c = command(t, append([]string{"show", "-o", "json", "--nats-url", at}, ids...)...).exits(exitOK)
			all := shown(t, c)
			if len(all) != 2 || all[0].Identifier != declared || all[0].State != lifecycle.StateDeclared ||
				all[0].Problem != interaction.NoWorkers || all[1].Identifier != failed ||
				all[1].State != lifecycle.StateDeadLettered || len(all[1].History) != 1 || all[1].Polls != 3 ||
				len(all[1].Outcomes) != 1 || all[1].Outcomes[0].Advice != schema.NotFound.Advice() {
				t.Errorf("%+v", all)
			}
			unforged(t, &c.stdout)

			c = command(t, append([]string{"show", "-o", "ndjson", "--nats-url", at}, ids...)...).exits(exitOK)
			if n := len(c.stdout.lines()); n != 2 {
				t.Errorf("%d lines, want 2:\n%s", n, &c.stdout)
			}
			c = command(t, append([]string{"show", "--nats-url", at}, ids...)...).exits(exitOK)
			says(t, "standard output", &c.stdout, declared+"  declared", failed+"  dead_lettered", "not_found: ",
				"statusworker dlq replay @1", "statusworker run", "poll 2", "processing: ")
			unforged(t, &c.stdout)

			unknown := uuid.NewString()
			c = command(t, "show", unknown, declared, "--nats-url", at, "-o", "json").exits(exitFault)
			if all := shown(t, c); len(all) != 2 || all[0].State != lifecycle.StateUnknown {
				t.Errorf("%+v, want an unknown interaction first", all)
			}
			if c.stderr.String() != "" {
				t.Errorf("standard error: %s, want the answer on standard output only", &c.stderr)
			}
		})
	}
}

// With --watch, each change is shown, until the interaction has ended.
func TestShowWatches(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	v := vendor(t, simulator.Config{})
	id := uuid.NewString()
	v.Declare(id, simulator.Processed(0))
	data := fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id)
	if _, err := js.Publish(t.Context(), ns.DeclaredSubject(schema.Chat, id), []byte(data)); err != nil {
		t.Fatal(err)
	}
	watching := command(t, "show", "--watch", id, "-o", "ndjson", "--nats-url", at).start()
	watching.prints(`"state":"declared"`)
	worker := command(t, "run", "--nats-url", at, "--base-url", v.URL(), "--chat-interval", "1s")
	worker.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
	worker.start()
	if code := watching.end(); code != exitOK {
		t.Errorf("exit code %d, want %d; stderr: %s", code, exitOK, &watching.stderr)
	}
	var states []lifecycle.State
	for _, line := range watching.stdout.lines() {
		var i interaction.Interaction
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			t.Fatal(err)
		}
		states = append(states, i.State)
	}
	if last := states[len(states)-1]; last != lifecycle.StateProcessed ||
		slices.Index(states, lifecycle.StateProcessed) != len(states)-1 {
		t.Errorf("states %v, want processed at the end only", states)
	}
	worker.stop()
	worker.end()

	stopped := command(t, "show", "--watch", declare(t, js), "--nats-url", at).start()
	stopped.prints("declared")
	stopped.stop()
	if code := stopped.end(); code != exitOK {
		t.Errorf("exit code %d after a signal, want %d", code, exitOK)
	}
}

// The shipped users `worker` and `operator` have the permissions that the command needs, and each that is missing is
// named.
func TestShowPermissions(t *testing.T) {
	t.Parallel()
	const get = "$JS.API.STREAM.MSG.GET."
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			missing := map[string]string{"": "", // none
				"info":      "$JS.API.STREAM.INFO." + ns.StreamDeclared(),
				"declared":  get + ns.StreamDeclared(),
				"outcomes":  get + ns.StreamOutcomes(),
				"workers":   "$JS.API.STREAM.INFO." + ns.StreamWorkers(),
				"announced": "$JS.API.DIRECT.GET." + ns.StreamWorkers() + ".>",
			}
			if mode == "schedule" {
				missing["polls"] = get + ns.StreamPolls()
				missing["intake"] = "$JS.API.CONSUMER.INFO." + ns.StreamDeclared() + "." + ns.ConsumerIntake()
			}
			for name, subject := range missing {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					at := users(t, func(all []*server.User) []*server.User {
						for _, u := range all {
							if allow := u.Permissions; u.Username == "operator" || u.Username == "worker" {
								allow.Publish.Allow = slices.DeleteFunc(allow.Publish.Allow, func(s string) bool {
									return s == subject || strings.Contains(subject, ".CONSUMER.INFO.") &&
										s == "$JS.API.CONSUMER.INFO."+ns.StreamDeclared()+".*"
								})
							}
						}
						return all
					})
					command(t, append([]string{"provision", "--redelivery", mode, "--nats-url", at},
						as("provision")...)...).exits(exitOK)
					id := uuid.NewString()
					nc, err := nats.Connect(at, nats.UserInfo("producer", userPassword),
						nats.CustomInboxPrefix("_INBOX_producer"))
					if err != nil {
						t.Fatal(err)
					}
					defer nc.Close()
					data := fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id)
					if _, err := nc.Request(ns.DeclaredSubject(schema.Chat, id), []byte(data),
						10*time.Second); err != nil {
						t.Fatal(err)
					}
					announcer, err := nats.Connect(at, nats.UserInfo("worker", userPassword),
						nats.CustomInboxPrefix("_INBOX_worker"))
					if err != nil {
						t.Fatal(err)
					}
					defer announcer.Close()
					if _, err := announcer.Request(ns.WorkerSubject("w"), []byte(`{"state":"working"}`),
						10*time.Second); err != nil {
						t.Fatal(err)
					}
					want := exitOK
					if subject != "" {
						want = exitFault
					}
					for _, user := range []string{"operator", "worker"} {
						c := command(t, append([]string{"show", id, "--nats-url", at, "-o", "json"}, as(user)...)...)
						c.exits(want)
						if subject != "" {
							says(t, "standard error", &c.stderr, strings.TrimSuffix(subject, ".>"),
								"docs/permissions.md")
							continue
						}
						if all := shown(t, c); all[0].State != lifecycle.StateDeclared || all[0].Workers.Alive != 1 {
							t.Errorf("%+v, want a declared interaction, and a worker", all)
						}
					}
				})
			}
		})
	}
}

// What `show` prints is valid by its schema, whose words are those of the code.
func TestShowIsValidByItsSchema(t *testing.T) {
	t.Parallel()
	doc, compiled := compiledSchema(t, "show")
	members := doc["properties"].(map[string]any)
	for member, words := range map[string]string{
		"state": fmt.Sprint(lifecycle.States()), "problem": fmt.Sprint(interaction.Problems()),
	} {
		if got := fmt.Sprint(members[member].(map[string]any)["enum"]); got != words {
			t.Errorf("%s: the schema has %s, the code %s", member, got, words)
		}
	}
	known := reflect.TypeFor[interaction.Interaction]()
	for n := range known.NumField() {
		if name, _, _ := strings.Cut(known.Field(n).Tag.Get("json"), ","); members[name] == nil {
			t.Errorf("the schema lacks the member %s", name)
		}
	}
	if len(members) != known.NumField() {
		t.Errorf("the schema has %d members, the code %d", len(members), known.NumField())
	}
	at, js := provisioned(t)
	waiting, failed := uuid.NewString(), uuid.NewString()
	storeDeadLetter(t, js, deadLetter(schema.NotFound, failed))
	m := nats.NewMsg(ns.HoldSubject(schema.Chat, waiting))
	m.Header = nats.Header{
		schema.HeaderPoll: {"2"}, schema.HeaderGeneration: {time.Now().UTC().Format(time.RFC3339Nano)},
		schema.HeaderHistory:         {"1 2026-11-27T01:02:03.456Z processing"},
		brokers.HeaderSchedule:       {"@at " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)},
		brokers.HeaderScheduleTarget: {ns.PollSubject(schema.Chat, waiting)},
	}
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	c := command(t, "show", "-o", "ndjson", "--nats-url", at, declare(t, js), waiting, failed,
		uuid.NewString()).exits(exitFault)
	for _, line := range c.stdout.lines() {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(v); err != nil {
			t.Errorf("%v in %s", err, line)
		}
	}
	says(t, "standard output", &c.stdout, `"state":"declared"`, `"state":"waiting"`, `"next_poll_at":`,
		`"state":"dead_lettered"`, `"state":"unknown"`, `"history":[{"status":"processing"`)
}
