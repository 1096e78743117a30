package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/doctor"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// requestsOfNATS are the requests of each `nats` command that operators need, as nats 0.5.1 makes them. %s is the
// stream, and then the consumer.
var requestsOfNATS = map[string][]string{
	"stream get":               {"STREAM.INFO.%s", "STREAM.MSG.GET.%s"},
	"stream report":            {"STREAM.LIST"},
	"stream cluster step-down": {"STREAM.INFO.%s", "STREAM.LEADER.STEPDOWN.%s"},
	"consumer ls":              {"STREAM.INFO.%s", "CONSUMER.NAMES.%s"},
	"consumer info":            {"CONSUMER.INFO.%s.%s"},
	"consumer resume":          {"CONSUMER.INFO.%s.%s", "INFO", "CONSUMER.PAUSE.%s.%s"},
}

// requestsOf returns the requests of a `nats` command.
func requestsOf(t *testing.T, command string) (subjects []string) {
	t.Helper()
	words := strings.Fields(regexp.MustCompile(`--(inbox-prefix \S+|names)`).ReplaceAllString(command, ""))[1:]
	arguments := 0
	for arguments < len(words) && words[arguments] == strings.ToLower(words[arguments]) {
		arguments++
	}
	verb := strings.Join(words[:arguments], " ")
	of, ok := requestsOfNATS[verb]
	if !ok {
		t.Errorf("the requests of `%s` are unknown: add them to requestsOfNATS", command)
	}
	for _, format := range of {
		subject := jetstream.DefaultAPIPrefix + format
		for _, word := range append(words[arguments:], "x", "x")[:strings.Count(format, "%s")] {
			subject = strings.Replace(subject, "%s", word, 1)
		}
		subjects = append(subjects, subject)
	}
	return subjects
}

// The shipped user `operator` may do everything that docs/alerts.md and `status` ask of an operator, and has no other
// permission.
func TestOperator(t *testing.T) {
	t.Parallel()
	var allowed []string
	at := users(t, func(all []*server.User) []*server.User {
		i := slices.IndexFunc(all, func(u *server.User) bool { return u.Username == "operator" })
		allowed = all[i].Permissions.Publish.Allow
		return append(all, &server.User{Username: "admin", Password: userPassword, Account: all[i].Account})
	})
	command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	admin, err := nats.Connect(at, nats.UserInfo("admin", userPassword))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	js, err := jetstream.New(admin)
	if err != nil {
		t.Fatal(err)
	}
	replayed, purged := uuid.NewString(), uuid.NewString()
	storeDeadLetter(t, js, deadLetter(schema.NotFound, replayed), deadLetter(schema.Rejected, purged))
	// status and the doctor read the announcement of a worker.
	if _, err := js.Publish(t.Context(), ns.WorkerSubject("w"), []byte(`{"state":"working"}`)); err != nil {
		t.Fatal(err)
	}
	seen, err := admin.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Flush(); err != nil {
		t.Fatal(err)
	}

	for _, args := range [][]string{
		{"status"}, {"show", replayed}, {"dlq", "ls"}, {"dlq", "show", replayed}, {"dlq", "replay", replayed, "--yes"},
		{"dlq", "purge", purged, "--yes"},
	} {
		command(t, append(append(args, "--nats-url", at), as("operator")...)...).exits(exitOK)
	}
	found := examined(t, exitFault, at, vendor(t, simulator.Config{}).URL(), as("operator")...)
	want := map[string]doctor.Result{"certificate": doctor.Skip, "vendor certificate": doctor.Skip}
	for _, check := range []string{"hold", "processed", "failed", "announce", "pull", "ack"} {
		want["permission "+check] = doctor.Fail // those of a worker
	}
	only(t, found, want)

	nc, err := nats.Connect(at, nats.UserInfo("operator", userPassword), nats.CustomInboxPrefix("_INBOX_operator"),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	commands := []string{ // of advice.Overview
		advice.NATS(ns) + "consumer resume " + ns.StreamDeclared() + " " + ns.ConsumerIntake(),
		advice.NATS(ns) + "consumer resume " + ns.StreamPolls() + " " + ns.PollConsumer(schema.Audio),
		advice.NATS(ns) + "consumer ls " + ns.StreamDeclared(),
	}
	for _, m := range regexp.MustCompile("`(nats\\s[^`]+)`|\n(nats [^\n]+)").FindAllStringSubmatch(
		readDoc(t, docsDirectory+"alerts.md"), -1) {
		commands = append(commands, strings.Join(strings.Fields(m[1]+m[2]), " "))
	}
	if len(commands) < 9 {
		t.Errorf("only %d commands: %q", len(commands), commands)
	}
	for _, c := range commands {
		if !strings.HasPrefix(c, advice.NATS(ns)) {
			t.Errorf("`%s` does not begin with %q: its user gets no reply", c, advice.NATS(ns))
		}
		for _, subject := range requestsOf(t, c) {
			_, err := nc.Request(subject, []byte(`{}`), 10*time.Second)
			if err != nil || errors.Is(nc.LastError(), nats.ErrPermissionViolation) {
				t.Fatalf("`%s` requests %s: %v, %v", c, subject, err, nc.LastError())
			}
		}
	}

	if err := admin.Flush(); err != nil { // all requests have been seen
		t.Fatal(err)
	}
	used := map[string]bool{}
	for n, _, _ := seen.Pending(); n > 0; n-- {
		m, err := seen.NextMsg(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, pattern := range allowed {
			if server.SubjectsCollide(m.Subject, pattern) {
				used[pattern] = true
			}
		}
	}
	for _, pattern := range allowed {
		if !used[pattern] {
			t.Errorf("nothing that an operator does publishes %s: remove the permission", pattern)
		}
	}
}
