package main

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/api"
	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/producer"
	"statusworker/cmd/overview"
	"statusworker/statusclient/simulator"
)

// hubAndLeaf starts a hub with the JetStream domain hub, and a leaf node of it, as edited.
func hubAndLeaf(t *testing.T, edit func(hub, leaf *server.Options)) (hub, leaf *server.Server) {
	t.Helper()
	port := freePort(t)
	remote := &url.URL{Scheme: "nats-leaf", Host: "127.0.0.1:" + strconv.Itoa(port)}
	h := server.Options{
		ServerName: "hub-1", JetStream: true, JetStreamDomain: "hub", StoreDir: t.TempDir(),
		LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: port},
	}
	l := server.Options{ServerName: "leaf-1", LeafNode: server.LeafNodeOpts{
		ReconnectInterval: 100 * time.Millisecond, Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{remote}}},
	}}
	edit(&h, &l)
	hub, leaf = bareServer(t, h), bareServer(t, l)
	for deadline := time.Now().Add(20 * time.Second); leaf.NumLeafNodes() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the leaf node has no connection to its hub")
		}
	}
	return hub, leaf
}

// ownJetStream gives the leaf node a JetStream of its own, in the domain leaf.
func ownJetStream(t *testing.T) func(hub, leaf *server.Options) {
	return func(_, leaf *server.Options) {
		leaf.JetStream, leaf.JetStreamDomain, leaf.StoreDir = true, "leaf", t.TempDir()
	}
}

func noJetStream(_, _ *server.Options) {}

// of returns the JetStream with a prefix on a server.
func of(t *testing.T, url string, prefix api.Prefix) jetstream.JetStream {
	t.Helper()
	js, err := prefix.JetStream(connectTo(t, url).Conn())
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// by returns a function that prepares a command whose variables connect it to NATS.
func by(t *testing.T, env map[string]string) func(args ...string) *call {
	return func(args ...string) *call {
		c := command(t, args...)
		maps.Copy(c.env, env)
		c.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
		return c
	}
}

// works runs every command with the variables that connect it to NATS, and requires that an interaction is processed.
// It returns what `provision` has printed.
func works(t *testing.T, env map[string]string) string {
	t.Helper()
	with := by(t, env)
	provision := with("provision").exits(exitOK)
	v := vendor(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Processed(1) }})
	timing := []string{"--base-url", v.URL(), "--chat-interval", "200ms"}
	id, invalid := uuid.NewString(), "not an identifier"
	worker := with(append([]string{"run"}, timing...)...).start()
	worker.logs("working")
	with("declare", "--type", "chat", id).exits(exitOK).counts(producer.Counts{Declared: 1})
	with("show", "--watch", id).exits(exitOK)
	with("show", "-o", "ndjson", id).exits(exitOK).prints(`"processed"`)
	with("declare", "--type", "chat", id).exits(exitOK).counts(producer.Counts{Processed: 1})
	with("declare", "--type", "chat", invalid).exits(exitFault)
	with("dlq", "ls").exits(exitOK)
	status := with("status", "-o", "json").exits(exitOK)
	var o overview.Overview
	if err := json.Unmarshal([]byte(status.stdout.String()), &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Workers) != 1 {
		t.Errorf("status shows %d workers, want the one that runs: its announcement was not stored", len(o.Workers))
	}
	for _, f := range findings(t, with(append([]string{"doctor", "-o", "json"}, timing...)...).exits(exitOK)) {
		if f.Result == doctor.Fail {
			t.Errorf("doctor: %+v", f)
		}
	}
	c := with("console", "--addr", "127.0.0.1:0", "--allow-writes")
	address := serving(t, c)
	if text := page(t, c, address+"/interactions/"+id); !strings.Contains(text, "processed") {
		t.Errorf("the console shows the interaction as:\n%s", text)
	}
	if text := page(t, c, address+"/doctor"); strings.Contains(text, "FAIL") {
		t.Errorf("the console's doctor finds a failure:\n%s", text)
	}
	again, err := http.Post(address+"/declare?type=chat&ids="+uuid.NewString(),
		"application/x-www-form-urlencoded", nil)
	if err != nil || again.StatusCode != http.StatusOK {
		t.Errorf("declaring in the console: %v, %v", again, err)
	}
	again.Body.Close()
	c.logs(`"msg":"task ended"`)
	says(t, "the log of the console", &c.stderr, `"declared":1`)
	worker.stop()
	if code := worker.end(); code != exitOK {
		t.Errorf("the worker exits with %d:\n%s", code, &worker.stderr)
	}
	for line := range strings.Lines(worker.stderr.String()) {
		// A busy machine may be too slow for a poll, which is then skipped.
		if strings.Contains(line, `"error"`) && !strings.Contains(line, `"operation":"polling"`) {
			t.Errorf("the worker logs an error: %s", line)
		}
	}
	return provision.stdout.String()
}

// A worker on a leaf node works on the streams of the hub, whether or not the leaf node has a JetStream of its own.
func TestLeafNode(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit func(hub, leaf *server.Options)
		env  map[string]string
	}{
		"with its own JetStream": {ownJetStream(t), map[string]string{"NATS_JS_DOMAIN": "hub"}},
		"without JetStream":      {noJetStream, map[string]string{"NATS_JS_DOMAIN": "hub"}},
		"by the API's prefix":    {ownJetStream(t), map[string]string{"NATS_JS_API_PREFIX": "$JS.hub.API"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, leaf := hubAndLeaf(t, tt.edit)
			tt.env["NATS_URL"] = leaf.ClientURL()
			printed := works(t, tt.env)
			if line, _, _ := strings.Cut(printed, "\n"); line !=
				"creating in: JetStream domain hub, account $G, through server leaf-1" {
				t.Errorf("provision prints %q before it creates", line)
			}
			if have := streams(t, of(t, hub.ClientURL(), api.Default)); !slices.Contains(have, ns.StreamDeclared()) {
				t.Errorf("the hub has the streams %v", have)
			}
			if leaf.JetStreamEnabled() {
				if have := streams(t, of(t, leaf.ClientURL(), api.Domain("leaf"))); len(have) != 0 {
					t.Errorf("the leaf node has the streams %v", have)
				}
			}
		})
	}
}

// Where the connected server and its hub each have a JetStream, provisioning requires a choice. It does not create the
// streams in both: each message would be stored twice.
func TestProvisionOnALeafNode(t *testing.T) {
	t.Parallel()
	hub, leaf := hubAndLeaf(t, ownJetStream(t))
	at := "--nats-url=" + leaf.ClientURL()
	for _, flags := range [][]string{{}, {"--dry-run"}} {
		c := command(t, append([]string{"provision", at}, flags...)...).exits(exitFault)
		var unset *domainError
		if !errors.As(c.err, &unset) || unset.Domain != "leaf" || unset.Server != "leaf-1" {
			t.Errorf("%v: %v", flags, c.err)
		}
	}
	c := command(t, "provision", at, "--js-domain", "leaf").exits(exitOK)
	c.prints("creating in: JetStream domain leaf, account $G, through server leaf-1")
	command(t, "provision", at).exits(exitOK).prints("nothing to change")
	refused := func(flags ...string) {
		t.Helper()
		c := command(t, append([]string{"provision", at}, flags...)...).exits(exitFault)
		var other *otherJetStreamError
		if !errors.As(c.err, &other) || other.Server != "leaf-1" || !strings.Contains(other.Setting, flags[0]) {
			t.Errorf("%v: %v", flags, c.err)
		}
	}
	refused("--js-domain", "hub")
	refused("--js-domain", "hub", "--dry-run")
	refused("--js-api-prefix", "$JS.hub.API.")
	if have := streams(t, of(t, hub.ClientURL(), api.Default)); len(have) != 0 {
		t.Errorf("the hub has the streams %v", have)
	}
	v := vendor(t, simulator.Config{})
	if f := examined(t, exitOK, leaf.ClientURL(), v.URL())["permission processed"]; f.Result != doctor.Pass {
		t.Errorf("doctor: %+v", f)
	}

	// Another way to get the streams twice, which provisioning cannot see.
	command(t, "provision", "--nats-url", hub.ClientURL(), "--js-domain", "hub").exits(exitOK)
	refused("--js-domain", "hub")
	for _, check := range []string{"permission processed", "permission failed", "permission hold"} {
		f := examined(t, exitFault, leaf.ClientURL(), v.URL())[check]
		if f.Result != doctor.Fail || !strings.Contains(f.Found, "two streams") {
			t.Errorf("doctor: %+v, want that two streams store the messages", f)
		}
	}
}

// A missing permission is named by the subject to allow: on a leaf node that of the domain, on the hub the default one,
// to which the hub maps the domain's subject before it checks permissions.
func TestMissingPermissionInADomain(t *testing.T) {
	t.Parallel()
	denied := "CONSUMER.LIST." + ns.StreamOutcomes()
	both := []*server.User{{Username: "admin", Password: userPassword}, {
		Username: "denied", Password: userPassword, Permissions: &server.Permissions{Publish: &server.SubjectPermission{
			Deny: []string{"$JS.API." + denied, "$JS.hub.API." + denied},
		}},
	}}
	hub, leaf := hubAndLeaf(t, func(hub, leaf *server.Options) {
		hub.Users, leaf.Users = both, both
		hub.LeafNode.Users = []*server.User{{Username: "leaf", Password: userPassword}}
		leaf.LeafNode.Remotes[0].URLs[0].User = url.UserPassword("leaf", userPassword)
	})
	with := func(t *testing.T, s *server.Server, user string, args ...string) *call {
		return command(t, append(args, "--nats-url", s.ClientURL(), "--nats-user", user,
			"--nats-password", userPassword, "--js-domain", "hub")...)
	}
	with(t, hub, "admin", "provision").exits(exitOK)
	for name, tt := range map[string]struct {
		s       *server.Server
		subject string
	}{"hub": {hub, "$JS.API." + denied}, "leaf": {leaf, "$JS.hub.API." + denied}} {
		t.Run(name, func(t *testing.T) {
			c := with(t, tt.s, "denied", "status").exits(exitFault)
			var v *permission.Violation
			if !errors.As(c.err, &v) || v.Subject != tt.subject {
				t.Errorf("%v, want a violation of %s", c.err, tt.subject)
			}
			d := with(t, tt.s, "denied", "doctor", "-o", "json", "--base-url", vendor(t, simulator.Config{}).URL())
			d.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
			found := map[string]doctor.Finding{}
			for _, f := range findings(t, d.exits(exitOK)) {
				found[f.Check] = f
			}
			if f := found["permission list"]; f.Result != doctor.Warn || !strings.Contains(f.Fix, tt.subject+";") {
				t.Errorf("doctor: %+v, want the subject %s", f, tt.subject)
			}
		})
	}
}
