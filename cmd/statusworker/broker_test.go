package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// worker prepares a `run` against a broker and a vendor that is not there.
func worker(t *testing.T, natsURL string, more ...string) *call {
	t.Helper()
	c := command(t, append([]string{"run", "--nats-url", natsURL, "--base-url", "http://127.0.0.1:1/v1"}, more...)...)
	c.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
	return c
}

func TestWaitsForABrokerThatIsNotThere(t *testing.T) {
	t.Parallel()
	c := worker(t, nobody(t)).start()
	c.stderr.wait(t, c.ctx, "waiting for NATS at nats://127.0.0.1:")
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0", code)
	}
	if lines := c.stderr.lines(); len(lines) != 1 {
		t.Errorf("%d lines while it waited, want 1:\n%s", len(lines), &c.stderr)
	}
}

func TestGoesOnWhenTheBrokerComes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	first, err := embedded.Start(folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	address := first.URL()
	command(t, "provision", "--nats-url", address).exits(exitOK)
	first.Stop()

	c := worker(t, address).start()
	c.stderr.wait(t, c.ctx, "waiting for NATS")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	second, err := embedded.Start(folder, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	c.stderr.wait(t, c.ctx, ": done")
	c.stderr.wait(t, c.ctx, "working")
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0:\n%s", code, &c.stderr)
	}
	says(t, "standard error", &c.stderr, "stopped")
}

func TestWrongCredentialsEndAtOnce(t *testing.T) {
	t.Parallel()
	at := bare(t, server.Options{Username: "worker", Password: "right"})
	for name, c := range map[string]*call{
		"none":             worker(t, at),
		"wrong password":   worker(t, at, "--nats-user", "worker"),
		"wrong token":      worker(t, at, "--nats-user", "wrong-s3cret"),
		"token in the URL": worker(t, strings.Replace(at, "nats://", "nats://wrong-s3cret@", 1)),
		"in the URL":       worker(t, strings.Replace(at, "nats://", "nats://worker:wrong-s3cret@", 1)),
		"provision":        command(t, "provision", "--nats-url", at),
		"declare":          command(t, "declare", "--nats-url", at),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "wrong password" {
				c.env["NATS_PASSWORD"] = "wrong-s3cret"
			}
			c.exits(exitFault)
			if !errors.Is(c.err, nats.ErrAuthorization) {
				t.Errorf("error %v, want that NATS rejects the credentials", c.err)
			}
			says(t, "standard error", &c.stderr, "127.0.0.1", "--nats-creds ($NATS_CREDS)", "--nats-user ($NATS_USER)", "$NATS_PASSWORD")
			if lines := c.stderr.lines(); len(lines) != 1 {
				t.Errorf("%d lines on standard error, want 1:\n%s", len(lines), &c.stderr)
			}
			if strings.Contains(c.stderr.String(), "s3cret") {
				t.Errorf("a secret on standard error: %s", &c.stderr)
			}
		})
	}
}

// Credentials that are refused for a moment, as while they are rotated, do not end the connection for good.
func TestLetInAgainAfterARefusal(t *testing.T) {
	t.Parallel()
	options := server.Options{Username: "worker", Password: "right", JetStream: true, StoreDir: t.TempDir()}
	s := bareServer(t, options)
	user := []string{"--nats-user", "worker", "--nats-password", "right"}
	command(t, append([]string{"provision", "--nats-url", s.ClientURL()}, user...)...).exits(exitOK)
	c := worker(t, s.ClientURL(), user...).start()
	c.stderr.wait(t, c.ctx, `"working"`)
	for i, password := range []string{"changed", "right", "changed", "right"} {
		o := options
		o.Host, o.Port, o.NoSigs, o.NoLog, o.Password = "127.0.0.1", s.Addr().(*net.TCPAddr).Port, true, true, password
		if err := s.ReloadOptions(&o); err != nil {
			t.Fatal(err)
		}
		wait := "reconnected to NATS"
		if password == "changed" {
			wait = "NATS rejected the credentials on reconnect"
		}
		c.stderr.until(t, c.ctx, wait, func(all string) bool { return strings.Count(all, wait) == 1+i/2 })
	}
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d, want 0:\n%s", code, &c.stderr)
	}
	says(t, "standard error", &c.stderr, "authorization violation", "--nats-creds ($NATS_CREDS)")
	if n := strings.Count(c.stderr.String(), "NATS refused a request"); n != 0 {
		t.Errorf("%d lines more about it:\n%s", n, &c.stderr)
	}
}

// A server that does not take the client's certificate is named as such, at the first connection and at any other.
func TestClientCertificateRefused(t *testing.T) {
	t.Parallel()
	own, ca := certificateFor(t, time.Hour)
	client, clientCA := certificateFor(t, time.Hour)
	other, _ := certificateFor(t, time.Hour)
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		t.Fatal(err)
	}
	taking := func(c tls.Certificate, version uint16) server.Options {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		taken := x509.NewCertPool()
		taken.AddCert(leaf)
		return server.Options{JetStream: true, StoreDir: t.TempDir(), TLS: true, TLSVerify: true, TLSTimeout: 5,
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: taken, MinVersion: tls.VersionTLS12, MaxVersion: version}}
	}
	// The alert of a server comes in the handshake with the older version, and after it with the newer.
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			options := taking(client, version)
			s := bareServer(t, options)
			flags := []string{"--nats-ca", ca, "--nats-cert", clientCA, "--nats-key", keyFile}
			command(t, append([]string{"provision", "--nats-url", s.ClientURL()}, flags...)...).exits(exitOK)
			c := worker(t, s.ClientURL(), flags...).start()
			c.stderr.wait(t, c.ctx, `"working"`)
			port := s.Addr().(*net.TCPAddr).Port
			s.Shutdown()
			s.WaitForShutdown()
			o := taking(other, version)
			o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", port, true, true
			second, err := server.NewServer(&o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(second.Shutdown)
			second.Start()
			c.stderr.wait(t, c.ctx, "NATS rejected the credentials on reconnect")
			says(t, "standard error", &c.stderr, "certificate", "--nats-cert ($NATS_CERT)")
			c.stop()
			if code := c.end(); code != exitOK {
				t.Errorf("exit code %d, want 0:\n%s", code, &c.stderr)
			}
			first := map[string][]string{"another": flags, "none": {"--nats-ca", ca}}
			if version == tls.VersionTLS12 {
				delete(first, "none") // the alert then says nothing of a certificate
			}
			for name, flags := range first {
				at := worker(t, second.ClientURL(), flags...).exits(exitFault)
				says(t, "standard error with "+name, &at.stderr, "certificate", "--nats-cert ($NATS_CERT)")
			}
		})
	}
}

// A right that the user lacks is told at once, and not as a wait for JetStream.
func TestLackingRightEndsAtOnce(t *testing.T) {
	t.Parallel()
	at := users(t, func(all []*server.User) []*server.User {
		for _, u := range all {
			if u.Username == "declare" {
				u.Permissions.Publish.Allow = []string{"interactions.declared.*.*"}
			}
		}
		return all
	})
	c := command(t, append([]string{"declare", "--nats-url", at, "--type", "audio", someID}, as("declare")...)...).exits(exitFault)
	says(t, "standard error", &c.stderr, "$JS.API.STREAM.INFO."+schema.StreamDeclared, "docs/permissions.md")
	if strings.Contains(c.stderr.String(), "waiting for JetStream") {
		t.Errorf("it waited:\n%s", &c.stderr)
	}
}

// A stream that has the subjects of another is told as such, though the user may not ask which one it is.
func TestOverlapKeepsItsCause(t *testing.T) {
	t.Parallel()
	at := users(t, func(all []*server.User) []*server.User {
		return append(all, &server.User{Username: "any", Password: userPassword, Account: all[0].Account})
	})
	nc, err := nats.Connect(at, nats.UserInfo("any", userPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ANOTHER", Subjects: []string{schema.SubjectsDeclared}}); err != nil {
		t.Fatal(err)
	}
	c := command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitFault)
	last := c.stderr.lines()[len(c.stderr.lines())-1]
	for _, want := range []string{"10065", schema.StreamDeclared, schema.SubjectsDeclared} {
		if !strings.Contains(last, want) {
			t.Errorf("the error has no %s: %s", want, last)
		}
	}
	says(t, "with the right", &command(t, "provision", "--nats-url", at, "--nats-user", "any", "--nats-password", userPassword).exits(exitFault).stderr, "10065", "ANOTHER")
}

// A right to publish declared messages is missed when the broker refuses the first of them: nothing answers the
// publish.
func TestDeclareWithoutTheRight(t *testing.T) {
	t.Parallel()
	at := users(t, func(all []*server.User) []*server.User {
		for _, u := range all {
			if u.Username == "declare" {
				u.Permissions.Publish.Allow = []string{"$JS.API.STREAM.INFO." + schema.StreamDeclared, "interactions.declared.chat.*"}
			}
		}
		return all
	})
	command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	c := command(t, append([]string{"declare", "--nats-url", at, "--type", "audio", someID, "193ec854-94d0-4452-a1cf-0ba0e2666288"}, as("declare")...)...).exits(exitFault)
	says(t, "standard error", &c.stderr, schema.DeclaredSubject(schema.Audio, someID), "docs/permissions.md")
	says(t, "standard output", &c.stdout, "declared 0", "failed 2")
	if strings.Contains(c.stderr.String(), "accepts nothing") {
		t.Errorf("it waited for a broker that is well:\n%s", &c.stderr)
	}

	// What the broker has taken in before is told as declared.
	var lines strings.Builder
	const declared = 300
	for i := range 2 * declared {
		kind := schema.Chat
		if i == declared {
			kind = schema.Audio
		}
		fmt.Fprintf(&lines, "{\"interactionIdentifier\":%q,\"type\":%q}\n", uuid.NewString(), kind)
	}
	c = command(t, append([]string{"declare", "--nats-url", at}, as("declare")...)...)
	c.stdin = strings.NewReader(lines.String())
	c.exits(exitFault)
	stored := 0
	for _, l := range c.stdout.lines() {
		if _, err := fmt.Sscanf(l, "declared %d,", &stored); err != nil {
			t.Errorf("standard output: %q (%v)", l, err)
		}
	}
	nc, err := nats.Connect(at, nats.UserInfo("provision", userPassword), nats.CustomInboxPrefix("_INBOX_provision"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), schema.StreamDeclared)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n < declared || n != uint64(stored) {
		t.Errorf("%d were told as declared, and %d are stored, want the same, and %d at least", stored, n, declared)
	}
}

// A worker that may not pull from one of its lanes is not ready, and says so.
func TestWorkerWithoutARight(t *testing.T) {
	t.Parallel()
	missing := "$JS.API.CONSUMER.MSG.NEXT." + schema.StreamPolls + "." + schema.PollConsumer(schema.Chat)
	at := users(t, func(all []*server.User) []*server.User {
		for _, u := range all {
			if u.Username == "worker" {
				return append(all, lacking(u, "lame", missing))
			}
		}
		return all
	})
	command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	c := worker(t, at, as("lame")...).start()
	c.stderr.wait(t, c.ctx, `"working"`)
	var line struct{ Admin string }
	for _, l := range c.stderr.lines() {
		if strings.Contains(l, `"working"`) {
			if err := json.Unmarshal([]byte(l), &line); err != nil {
				t.Fatal(err)
			}
		}
	}
	for {
		resp, err := http.Get("http://" + line.Admin + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "ermissions Violation") && strings.Contains(string(body), missing) {
			break
		}
		select {
		case <-c.ctx.Done():
			t.Fatalf("/readyz says %d %s", resp.StatusCode, body)
		case <-time.After(50 * time.Millisecond):
		}
	}
	c.stop()
	c.end()
	says(t, "standard error", &c.stderr, "NATS refused a request", "stopping")
}

// Whoever looks stands before the terminal: the wait for a broker that is away has an end.
func TestLookingEndsWithoutABroker(t *testing.T) {
	t.Parallel()
	at := nobody(t)
	for _, args := range []string{"status", "dlq ls", "dlq show @1", "dlq purge --all --yes", "dlq replay --all --yes"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			c := command(t, append(strings.Split(args, " "), "--nats-url", at, "--timeout", "300ms")...).exits(exitFault)
			says(t, "standard error", &c.stderr, "within 300ms (--timeout)", "waiting for NATS at "+at)
		})
	}
}

// Outcomes that are gone before the deadline could be published again.
func TestOutcomesThatAreKeptForTooShort(t *testing.T) {
	t.Parallel()
	at, _ := provisioned(t, "--max-age", "2d")
	bad := worker(t, at, "--deadline", "48h").refuses("--deadline ($STATUSWORKER_DEADLINE)")
	if bad.Value != "48h" || !strings.Contains(bad.Allowed, "`statusworker provision --max-age") {
		t.Errorf("%v, want what can be done", bad)
	}
}

func TestRightCredentials(t *testing.T) {
	t.Parallel()
	at := bare(t, server.Options{Username: "worker", Password: "right", JetStream: true, StoreDir: t.TempDir()})
	c := command(t, "provision", "--nats-url", at, "--nats-user", "worker")
	c.env["NATS_PASSWORD"] = "right"
	c.exits(exitOK)
}

func TestServerWithoutJetStream(t *testing.T) {
	t.Parallel()
	at := bare(t, server.Options{})
	for _, c := range []*call{worker(t, at), command(t, "provision", "--nats-url", at), command(t, "declare", "--nats-url", at)} {
		c.start()
		c.stderr.wait(t, c.ctx, "waiting for JetStream")
		says(t, "standard error", &c.stderr, "-js")
		c.stop()
		want := exitFault // nothing was provisioned, or declared
		if c.args[0] == "run" {
			want = exitOK
		}
		if code := c.end(); code != want {
			t.Errorf("%v: exit code %d after a stop, want %d:\n%s", c.args, code, want, &c.stderr)
		}
	}
}

func TestServerThatTakesSmallMessagesOnly(t *testing.T) {
	t.Parallel()
	at := bare(t, server.Options{MaxPayload: 100 << 10})
	says(t, "standard error", &worker(t, at).exits(exitFault).stderr, "102400", "max_payload", "262144")
}

func TestNoStreams(t *testing.T) {
	t.Parallel()
	s, _ := broker(t)
	c := worker(t, s.URL()).exits(exitFault)
	if bad := (*provisioning.TopologyError)(nil); !errors.As(c.err, &bad) {
		t.Errorf("error %v, want one about the streams", c.err)
	}
	says(t, "standard error", &c.stderr, "`statusworker provision`")
	if lines := c.stderr.lines(); len(lines) != 1 {
		t.Errorf("%d lines on standard error, want 1:\n%s", len(lines), &c.stderr)
	}
	says(t, "standard error", &command(t, "declare", "--nats-url", s.URL()).exits(exitFault).stderr, schema.StreamDeclared, "`statusworker provision`")
}

func TestNoOutcomesStream(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	if err := js.DeleteStream(t.Context(), schema.StreamOutcomes); err != nil {
		t.Fatal(err)
	}
	c := worker(t, at).exits(exitFault)
	bad := (*provisioning.TopologyError)(nil)
	if !errors.As(c.err, &bad) || len(bad.Differences) == 0 || !bad.Differences[0].Missing {
		t.Errorf("error %v, want that the stream of outcomes is missing", c.err)
	}
	says(t, "standard error", &c.stderr, schema.StreamOutcomes, "`statusworker provision")
}

func TestRunsOnWhatProvisionMakes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		at, _ := provisioned(t, "--redelivery", mode, "--max-age", "48h", "--declared-max-msgs", "1000", "--outcomes-max-bytes", "1000000")
		c := worker(t, at).start()
		c.stderr.wait(t, c.ctx, `"working"`)
		says(t, "standard error", &c.stderr, `"redelivery":"`+mode+`"`)
		c.stop()
		if code := c.end(); code != exitOK {
			t.Errorf("exit code %d after a stop, want 0:\n%s", code, &c.stderr)
		}
	}
}

func TestRefusesConsumersThatPollTooOften(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, mode, stream string
		change             func(*jetstream.ConsumerConfig)
		want               []string
	}{
		{"back-off", "nak", schema.StreamDeclared, func(c *jetstream.ConsumerConfig) { c.BackOff = append(c.BackOff, 1e9) }, []string{"back-off is [1s]", "should be none", "--redelivery nak"}},
		{"back-off", "schedule", schema.StreamPolls, func(c *jetstream.ConsumerConfig) { c.BackOff = append(c.BackOff, 1e9) }, []string{"back-off is [1s]", "should be none", "`statusworker provision --update`"}},
		{"short ack wait", "nak", schema.StreamDeclared, func(c *jetstream.ConsumerConfig) { c.AckWait = 20e9 }, []string{"ack wait is 20s", "should be 45s"}},
		{"short ack wait", "schedule", schema.StreamPolls, func(c *jetstream.ConsumerConfig) { c.AckWait = 1e9 }, []string{"ack wait is 1s", "should be 10s"}},
		{"max deliver", "schedule", schema.StreamPolls, func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 }, []string{"max deliver is 5", "should be"}},
	} {
		t.Run(test.name+" "+test.mode, func(t *testing.T) {
			at, js := provisioned(t, "--redelivery", test.mode)
			name := schema.PollConsumer(schema.Audio)
			have, err := js.Consumer(t.Context(), test.stream, name)
			if err != nil {
				t.Fatal(err)
			}
			changed := have.CachedInfo().Config
			test.change(&changed)
			if _, err := js.UpdateConsumer(t.Context(), test.stream, changed); err != nil {
				t.Fatal(err)
			}
			c := worker(t, at).exits(exitFault)
			says(t, "standard error", &c.stderr, append(test.want, "consumer "+test.stream+"/"+name, "`statusworker provision")...)

			shown := command(t, "provision", "--nats-url", at, "--redelivery", test.mode, "--dry-run").exits(exitFault)
			says(t, "standard output", &shown.stdout, test.want[0])
			command(t, "provision", "--nats-url", at, "--redelivery", test.mode, "--update").exits(exitOK)
			again := worker(t, at).start()
			again.stderr.wait(t, again.ctx, `"working"`)
			again.stop()
			again.end()
		})
	}
}
