package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/statusview"
	"statusworker/cmd/internal/terminal"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// working starts a worker, and waits until it is working.
func working(t *testing.T, nats string, vendor *simulator.Simulator) *call {
	t.Helper()
	c := command(t, "run", "--nats-url", nats, "--base-url", vendor.URL(), "--audio-interval", "1s", "--chat-interval",
		"1s", "--transcript-interval", "1s")
	c.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
	c.start()
	c.logs(`"working"`)
	return c
}

func vendorOf(t *testing.T) *simulator.Simulator {
	t.Helper()
	v, err := simulator.Start(simulator.Config{Default: func(string) simulator.Script { return simulator.Never() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// workersOf waits until an overview has n workers.
func workersOf(t *testing.T, nats string, n int) overview.Overview {
	t.Helper()
	watch := command(t, "status", "--watch", "-o", "json", "--nats-url", nats).start()
	for seen := 0; ; seen++ {
		watch.stdout.next(watch.ctx, t, seen)
		var v overview.Overview
		if err := json.Unmarshal([]byte(watch.stdout.lines()[seen]), &v); err != nil {
			t.Fatal(err)
		}
		if len(v.Workers) == n {
			watch.stop()
			if code := watch.end(); code != exitOK {
				t.Fatalf("exit code %d after a stop, want 0: %s", code, &watch.stderr)
			}
			return v
		}
	}
}

func TestStatusOfThreeWorkersIsOneScreen(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			vendor := vendorOf(t)
			url, _ := provisioned(t, "--redelivery", mode, "--base-url", vendor.URL(), "--audio-interval", "1s",
				"--chat-interval", "1s", "--transcript-interval", "1s")
			for range 3 {
				working(t, url, vendor)
			}
			command(t, "declare", "--nats-url", url, "--type", "chat", uuid.NewString()).exits(exitOK)
			v := workersOf(t, url, 3)
			if string(v.Redelivery) != mode || v.Workers[0].Host != hostName() ||
				v.Workers[0].Version != versionString() {
				t.Errorf("overview %+v", v)
			}
			c := command(t, "status", "--nats-url", url).exits(exitOK)
			lines := c.stdout.lines()
			if len(lines) > 24 {
				t.Errorf("%d lines, want at most 24", len(lines))
			}
			for _, line := range lines {
				if strings.Contains(line, "\x1b") || utf8.RuneCountInString(line) > 80 {
					t.Errorf("a line of %d columns: %q", utf8.RuneCountInString(line), line)
				}
			}
			says(t, "the table", &c.stdout, "redelivery "+mode, "redelivered", "deadline_exceeded", "working")
			if n := strings.Count(c.stdout.String(), "working"); n != 3 {
				t.Errorf("%d workers:\n%s", n, &c.stdout)
			}
			command(t, "status", "--check", "--nats-url", url).exits(exitOK)
		})
	}
}

func TestStatusWithoutWorkers(t *testing.T) {
	t.Parallel()
	url, _ := provisioned(t)
	command(t, "declare", "--nats-url", url, "--type", "chat", uuid.NewString()).exits(exitOK)
	c := command(t, "status", "--nats-url", url).exits(exitOK)
	says(t, "the table", &c.stdout, "no workers", "! no worker is alive: nothing is polled")
	if !strings.HasPrefix(c.stdout.lines()[2], "! ") {
		t.Errorf("the advice is not below the title:\n%s", &c.stdout)
	}
	c = command(t, "status", "--check", "--nats-url", url).exits(exitFault)
	says(t, "the table", &c.stdout, "! no worker is alive")
	command(t, "status", "--check", "--watch", "--nats-url", url).exits(exitUsage)
	c = command(t, "status", "-o", "json", "--nats-url", url).exits(exitOK)
	var v overview.Overview
	if err := json.Unmarshal([]byte(c.stdout.String()), &v); err != nil || len(c.stdout.lines()) != 1 ||
		v.Intake.Waiting != 1 {
		t.Errorf("%v in %s", err, &c.stdout)
	}
}

// If streams or consumers are missing, the command fails, and says which, and how to create them.
func TestStatusWithMissingStreams(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		provision []string
		spoil     func(jetstream.JetStream) error
		want      []string
	}{
		"nothing provisioned": {want: []string{"nothing is provisioned", "`statusworker provision`"}},
		"no polls": {[]string{},
			func(js jetstream.JetStream) error { return js.DeleteStream(t.Context(), ns.StreamPolls()) },
			[]string{"stream " + ns.StreamPolls(), "`statusworker provision`"}},
		"no consumer of a lane": {[]string{}, func(js jetstream.JetStream) error {
			return js.DeleteConsumer(t.Context(), ns.StreamPolls(), ns.PollConsumer(schema.Chat))
		}, []string{"consumer " + ns.StreamPolls() + "/" + ns.PollConsumer(schema.Chat),
			"`statusworker provision`"}},
		"no outcomes, with naks": {[]string{"--redelivery", "nak"},
			func(js jetstream.JetStream) error { return js.DeleteStream(t.Context(), ns.StreamOutcomes()) },
			[]string{"stream " + ns.StreamOutcomes(), "`statusworker provision --redelivery nak`"}},
		"only outcomes": {[]string{}, func(js jetstream.JetStream) error {
			return errors.Join(js.DeleteStream(t.Context(), ns.StreamPolls()),
				js.DeleteStream(t.Context(), ns.StreamDeclared()), js.DeleteStream(t.Context(), ns.StreamWorkers()))
		}, []string{"stream " + ns.StreamDeclared(), "`statusworker provision`"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, js := broker(t)
			if test.provision != nil {
				command(t, append([]string{"provision", "--nats-url", s.URL()}, test.provision...)...).exits(exitOK)
				if err := test.spoil(js); err != nil {
					t.Fatal(err)
				}
			}
			quiet := []string{"--nats-url", s.URL(), "--log-level", "error"} // a slow broker is logged as a warning
			table := command(t, append([]string{"status"}, quiet...)...).exits(exitFault)
			object := command(t, append([]string{"status", "-o", "json"}, quiet...)...).exits(exitFault)
			for _, c := range []*call{table, object} {
				says(t, "standard error", &c.stderr, test.want...)
				if n := len(c.stderr.lines()); n != 1 {
					t.Errorf("%d lines on standard error, want 1: %s", n, &c.stderr)
				}
			}
			var v overview.Overview
			if err := json.Unmarshal([]byte(object.stdout.String()), &v); err != nil || len(v.Missing) == 0 ||
				len(v.Advice) == 0 {
				t.Errorf("%v in %s", err, &object.stdout)
			}
			says(t, "the table", &table.stdout, "! ")
			// A watch shows it, and continues until nothing is missing.
			watch := command(t, "status", "--watch", "-o", "json", "--nats-url", s.URL()).start()
			watch.prints(`"missing"`)
			command(t, append([]string{"provision", "--nats-url", s.URL()}, test.provision...)...).exits(exitOK)
			watch.stdout.until(watch.ctx, t, "a complete overview", func(all string) bool {
				lines := strings.Split(strings.TrimSuffix(all, "\n"), "\n")
				return !strings.Contains(lines[len(lines)-1], `"missing"`)
			})
			watch.stop()
			if code := watch.end(); code != exitOK {
				t.Errorf("exit code %d after a stop, want 0", code)
			}
			command(t, "status", "--nats-url", s.URL()).exits(exitOK)
		})
	}
}

// Other commands fail too if nothing is provisioned.
func TestNothingProvisionedIsAnError(t *testing.T) {
	t.Parallel()
	s, _ := broker(t)
	for name, c := range map[string]*call{
		"declare": command(t, "declare", "--type", "chat", uuid.NewString(), "--nats-url", s.URL()),
		"doctor":  command(t, "doctor", "--base-url", "http://127.0.0.1:1/v1", "--nats-url", s.URL()),
		"run":     worker(t, s.URL()),
	} {
		c.exits(exitFault)
		if all := c.stdout.String() + c.stderr.String(); !strings.Contains(all, "statusworker provision") {
			t.Errorf("%s does not name the command that creates the streams:\n%s", name, all)
		}
	}
}

func TestStatusTimesOut(t *testing.T) {
	t.Parallel()
	c := command(t, "status", "--timeout", "300ms", "--nats-url", nobody(t)).exits(exitFault)
	says(t, "standard error", &c.stderr, "waiting for NATS at nats://127.0.0.1:",
		"statusworker: no answer within 300ms (--timeout)", "no servers available")

	bad := bare(t, server.Options{}) // without JetStream
	c = command(t, "status", "--timeout", "300ms", "--nats-url", bad).exits(exitFault)
	says(t, "standard error", &c.stderr, "statusworker: no answer within 300ms (--timeout): waiting for JetStream")
}

func TestStatusStopsWhileWaiting(t *testing.T) {
	t.Parallel()
	c := command(t, "status", "--watch", "--nats-url", nobody(t)).start()
	c.logs("waiting for NATS")
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0", code)
	}
}

func TestWatchSurvivesARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s, err := embedded.Start(folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	var port int
	if _, err := fmt.Sscanf(s.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	command(t, "provision", "--nats-url", s.URL()).exits(exitOK)
	tables := command(t, "status", "--watch", "--nats-url", s.URL()).start()
	objects := command(t, "status", "--watch", "-o", "json", "--nats-url", s.URL()).start()
	for _, c := range []*call{tables, objects} {
		c.prints("transcript")
	}
	s.Stop()
	for _, c := range []*call{tables, objects} {
		c.logs("no answer from the broker")
	}
	before := len(objects.stdout.lines())
	if s, err = embedded.Start(folder, port); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*call{tables, objects} {
		c.stdout.next(c.ctx, t, len(c.stdout.lines()))
		c.stop()
		if code := c.end(); code != exitOK {
			t.Errorf("exit code %d after a stop, want 0", code)
		}
		if n := strings.Count(c.stderr.String(), "no answer from the broker"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, &c.stderr)
		}
	}
	if lines := objects.stdout.lines(); len(lines) <= before || !json.Valid([]byte(lines[len(lines)-1])) {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

// `statusworker status` needs the permissions that docs/permissions.md lists.
func TestStatusPermissions(t *testing.T) {
	t.Parallel()
	permissions := []string{
		"$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.INFO.*.*", "$JS.API.STREAM.MSG.GET.*",
		"$JS.API.DIRECT.GET.KV_INTERACTIONS_WORKERS.>",
		"$JS.API.CONSUMER.CREATE.INTERACTIONS_OUTCOMES.>", "$JS.API.CONSUMER.DELETE.INTERACTIONS_OUTCOMES.*",
		"$JS.API.CONSUMER.LIST.INTERACTIONS_OUTCOMES",
	}
	may := func(publish []string) *server.Permissions {
		return &server.Permissions{Publish: &server.SubjectPermission{Allow: publish},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}
	}
	url := bare(t, server.Options{JetStream: true, StoreDir: t.TempDir(), Users: []*server.User{
		{Username: "all", Password: "s3cret"},
		{Username: "status", Password: "s3cret", Permissions: may(permissions)},
		{Username: "less", Password: "s3cret", Permissions: may(permissions[:4])},
		{Username: "without-list", Password: "s3cret", Permissions: may(permissions[:6])},
	}})
	as := func(user string, args ...string) *call {
		c := command(t, append(args, "--nats-url", url, "--nats-user", user)...)
		c.env["NATS_PASSWORD"] = "s3cret"
		return c
	}
	as("all", "provision").exits(exitOK)
	// One message for each kind of request.
	js := connectTo(t, strings.Replace(url, "nats://", "nats://all:s3cret@", 1))
	for subject, data := range map[string]string{
		ns.PollSubject(schema.Audio, uuid.NewString()):      "{}",
		ns.FailedSubject(schema.NotFound, uuid.NewString()): "{}",
		ns.WorkerSubject("one"):                             `{"state":"working","host":"pod-one"}`,
		ns.DeclaredSubject(schema.Audio, uuid.NewString()):  "{}",
	} {
		if _, err := js.Publish(t.Context(), subject, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	c := as("status", "status").exits(exitOK)
	if strings.Contains(c.stderr.String(), "ermission") {
		t.Errorf("a permission is missing: %s", &c.stderr)
	}
	says(t, "the table", &c.stdout, "pod-one", "audio              1 ", "intake             1 ",
		"not_found                     1 ")
	c = as("less", "status").exits(exitFault)
	says(t, "standard error", &c.stderr, "$JS.API.CONSUMER.CREATE.INTERACTIONS_OUTCOMES.", "docs/permissions.md")
	c = as("without-list", "status").exits(exitFault)
	says(t, "standard error", &c.stderr, "$JS.API.CONSUMER.LIST.INTERACTIONS_OUTCOMES", "docs/permissions.md")
	if strings.Contains(c.stderr.String()+c.stdout.String(), "s3cret") {
		t.Errorf("the password is shown: %s%s", &c.stderr, &c.stdout)
	}
}

func TestWatchRedrawsInPlace(t *testing.T) {
	t.Parallel()
	var shown, stderr output
	log := logrus.New()
	s := newStatusScreen(cli.Process{Stdout: &shown, Stderr: &stderr,
		Getenv: func(name string) string { return map[string]string{"NO_COLOR": "1"}[name] }}, log)
	for range 2 {
		if err := s.show(statusview.View{Overview: overview.Overview{Redelivery: consumer.Schedule}}); err != nil {
			t.Fatal(err)
		}
	}
	s.end()
	all := shown.String()
	first, second, ok := strings.Cut(all, "\x1b[J")
	if !ok || !strings.HasPrefix(first, terminal.HideCursor+"statusworker status") || !strings.HasPrefix(second,
		fmt.Sprintf("\x1b[%dA\r", strings.Count(first, "\n"))) || !strings.HasSuffix(second, terminal.ShowCursor) {
		t.Errorf("drawn:\n%q", all)
	}
	if terminal.Unpainted(all) != all {
		t.Errorf("colours despite NO_COLOR:\n%q", all)
	}
}
