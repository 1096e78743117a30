package main

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"statusworker/cmd/internal/interaction"
	"statusworker/cmd/internal/permissions"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
	"statusworker/statusclient/simulator"
)

// The shipped file has the users of the default namespace.
func TestShippedUsersAreThoseOfTheCommand(t *testing.T) {
	t.Parallel()
	printed := command(t, "permissions").exits(exitOK).stdout.String()
	if shipped := readDoc(t, "../../deploy/nats/statusworker.conf"); printed != shipped {
		t.Error("deploy/nats/statusworker.conf is not what `statusworker permissions` prints: write it again")
	}
	both := command(t, "permissions", "--namespace", "eu,us").exits(exitOK).stdout.String()
	if name := regexp.MustCompile(`(?i)"[^"\n]*interactions\b[^"\n]*"`).FindString(both); name != "" {
		t.Errorf("%s is a name of the default namespace", name)
	}
}

func TestInvalidNamespace(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"EU", "a.b", "kv_eu", "a*", strings.Repeat("a", 33)} {
		for _, args := range [][]string{
			{"run"}, {"provision"}, {"declare", uuid.NewString()}, {"show", uuid.NewString()}, {"status"}, {"doctor"},
			{"dlq", "ls"}, {"dlq", "replay", "--all"}, {"console"}, {"permissions"},
		} {
			c := command(t, append(args, "--namespace", name)...).exits(exitUsage)
			says(t, "standard error", &c.stderr, "--namespace", name, "must be ")
		}
	}
	for _, bad := range []string{"eu,us,eu", "", "eu-west,eu_west"} {
		command(t, "permissions", "--namespace", bad).exits(exitUsage)
	}
	variable := command(t, "status")
	variable.env["STATUSWORKER_NAMESPACE"] = "EU"
	variable.exits(exitUsage)
}

// namespaced is one of several stages in one account, with its own vendor.
type namespaced struct {
	t    *testing.T
	name schema.Namespace
	at   string
	mode consumer.Mode
	// vendor accepts token only. It processes good, and fails bad.
	vendor    *simulator.Simulator
	token     string
	good, bad []string
}

func newNamespaced(t *testing.T, at, name string, mode consumer.Mode, good, bad []string) *namespaced {
	t.Helper()
	n, err := schema.NewNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	s := &namespaced{t: t, name: n, at: at, mode: mode, token: uuid.NewString(), good: good, bad: bad}
	s.vendor, err = simulator.Start(simulator.Config{Token: s.token, Default: func(id string) simulator.Script {
		if slices.Contains(bad, id) {
			return simulator.Failed(schema.StatusProcessingFailed, 0)
		}
		return simulator.Processed(0)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.vendor.Close)
	return s
}

// command prepares a command as a user of the stage.
func (s *namespaced) command(role string, args ...string) *call {
	s.t.Helper()
	c := command(s.t, args...)
	for name, value := range map[string]string{
		"NATS_URL": s.at, "NATS_USER": permissions.User(s.name, role), "NATS_PASSWORD": userPassword,
		"NATS_INBOX_PREFIX": permissions.Inbox(s.name, role), "STATUSWORKER_NAMESPACE": s.name.String(),
		"ELEVATEAI_BASE_URL": s.vendor.URL(), "ELEVATEAI_API_TOKEN": s.token, "STATUSWORKER_CHAT_INTERVAL": "200ms",
	} {
		c.env[name] = value
	}
	return c
}

func (s *namespaced) interactions() []string { return slices.Concat(s.good, s.bad) }

// start provisions the stage, and runs a worker.
func (s *namespaced) start() {
	s.t.Helper()
	s.command("provision", "provision", "--redelivery", string(s.mode)).exits(exitOK)
	w := s.command("worker", "run").start()
	w.logs(`"namespace":"` + s.name.String() + `"`)
}

// check requires that the commands of the stage show what is its own, and nothing else.
func (s *namespaced) check() {
	s.t.Helper()
	ended := s.command("operator", append([]string{"show", "--watch", "-o", "ndjson"}, s.interactions()...)...)
	shown := map[string]interaction.Interaction{}
	for _, line := range ended.exits(exitOK).stdout.lines() {
		var i interaction.Interaction
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			s.t.Fatal(err)
		}
		shown[i.Identifier] = i
	}
	for _, id := range s.interactions() {
		want := lifecycle.StateProcessed
		if slices.Contains(s.bad, id) {
			want = lifecycle.StateDeadLettered
		}
		i := shown[id]
		if i.State != want || i.Namespace != s.name || len(i.Outcomes) == 0 {
			s.t.Errorf("%s: %s of %s is %s with %d outcomes, want %s", s.name, id, i.Namespace, i.State,
				len(i.Outcomes), want)
		}
		for _, o := range i.Outcomes {
			if _, _, own := s.name.SplitSubject(o.Subject); !own {
				s.t.Errorf("%s: an outcome of %s is on %s", s.name, id, o.Subject)
			}
		}
	}

	var o overview.Overview
	out := s.command("status", "status", "-o", "json").exits(exitOK).stdout.String()
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		s.t.Fatal(err)
	}
	processed, failed := o.Outcomes.Stored.Processed[schema.ToCXAI], o.Outcomes.Stored.Failed[schema.ProcessingFailed]
	if o.Namespace != s.name || len(o.Workers) != 1 || o.Redelivery != s.mode ||
		processed != uint64(len(s.good)) || failed != uint64(len(s.bad)) {
		s.t.Errorf("%s: status shows %d processed and %d failed:\n%s", s.name, processed, failed, out)
	}

	var letters []struct {
		Subject string `json:"subject"`
	}
	out = s.command("dlq", "dlq", "ls", "-o", "json").exits(exitOK).stdout.String()
	if err := json.Unmarshal([]byte(out), &letters); err != nil || len(letters) != len(s.bad) {
		s.t.Errorf("%s: %d dead letters, %v, want %d:\n%s", s.name, len(letters), err, len(s.bad), out)
	}
	for _, l := range letters {
		if _, id, own := s.name.SplitSubject(l.Subject); !own || !slices.Contains(s.bad, id) {
			s.t.Errorf("%s: dlq shows %s", s.name, l.Subject)
		}
	}

	if n := s.vendor.Counts().Polls; n < len(s.interactions()) {
		s.t.Errorf("%s: %d polls, want at least %d", s.name, n, len(s.interactions()))
	}
	for _, p := range s.vendor.Polls() {
		if !slices.Contains(s.interactions(), p.Identifier) || p.Status == "" {
			s.t.Errorf("%s: the vendor got a poll of %s, and answered %d", s.name, p.Identifier, p.StatusCode)
		}
	}
	s.command("worker", "doctor").exits(exitOK) // it polls an interaction that does not exist
}

// Two stages with vendors and tokens of their own work at the same time in one account. Each has users with the
// permissions of its namespace only. One interaction has the same identifier in both, and ends differently.
func TestTwoStagesInOneAccount(t *testing.T) {
	t.Parallel()
	at := usersOf(t, command(t, "permissions", "--namespace", "eu,us").exits(exitOK).stdout.String(),
		func(all []*server.User) []*server.User { return all })
	both := uuid.NewString()
	good := func() []string { return []string{uuid.NewString(), uuid.NewString(), uuid.NewString()} }
	eu := newNamespaced(t, at, "eu", consumer.Schedule, append(good(), both), []string{uuid.NewString()})
	us := newNamespaced(t, at, "us", consumer.Nak, good(), []string{uuid.NewString(), both})
	stages := []*namespaced{eu, us}
	for _, s := range stages {
		s.start()
	}
	for _, s := range stages {
		s.command("declare", append([]string{"declare", "--type", "chat"}, s.interactions()...)...).exits(exitOK)
	}
	for _, s := range stages {
		s.check()
	}

	id := slices.DeleteFunc(slices.Clone(us.good), func(id string) bool { return id == both })[0]
	unknown := eu.command("operator", "show", "-o", "ndjson", id).exits(exitFault).stdout.String()
	var i interaction.Interaction
	if err := json.Unmarshal([]byte(unknown), &i); err != nil || i.State != lifecycle.StateUnknown {
		t.Errorf("eu shows an interaction of us: %v, %s", err, unknown)
	}
	for role, args := range map[string][]string{
		"provision": {"provision"}, "worker": {"run"}, "declare": {"declare", "--type", "chat", id},
		"status": {"status"}, "operator": {"show", id}, "dlq": {"dlq", "ls"},
	} {
		c := eu.command(role, append(args, "--namespace", "us")...).exits(exitFault)
		if !errors.Is(c.err, nats.ErrPermissionViolation) {
			t.Errorf("user %s of eu with --namespace us: %v, want a violation", role, c.err)
		}
	}
	eu.command("worker", "doctor", "--namespace", "us").exits(exitFault)
}
