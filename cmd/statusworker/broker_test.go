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

// worker prepares a `run` with a vendor that is unreachable.
func worker(t *testing.T, natsURL string, more ...string) *call {
	t.Helper()
	c := command(t, append([]string{"run", "--nats-url", natsURL, "--base-url", "http://127.0.0.1:1/v1"}, more...)...)
	c.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
	return c
}

func TestWorkerWaitsForABroker(t *testing.T) {
	t.Parallel()
	c := worker(t, nobody(t)).start()
	c.logs(`"waiting for NATS"`)
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0", code)
	}
	if lines := c.stderr.lines(); len(lines) != 1 {
		t.Errorf("%d lines while it waited, want 1:\n%s", len(lines), &c.stderr)
	}
}

func TestWorkerStartsWithTheBroker(t *testing.T) {
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
	c.logs("waiting for NATS")
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
	c.logs(`"connected to NATS"`)
	c.logs(`"working"`)
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
				t.Errorf("error %v, want an authorization error", c.err)
			}
			named, ok := map[string][]string{
				"wrong password":   {"--nats-user ($NATS_USER)", "--nats-password ($NATS_PASSWORD)"},
				"wrong token":      {"--nats-user ($NATS_USER)"},
				"token in the URL": {"--nats-url ($NATS_URL)"}, "in the URL": {"--nats-url ($NATS_URL)"},
			}[name]
			if !ok { // no credentials
				named = []string{"--nats-creds ($NATS_CREDS)", "--nats-user ($NATS_USER)", "--nats-jwt ($NATS_JWT)"}
			}
			says(t, "standard error", &c.stderr, append(named, "127.0.0.1")...)
			if lines := c.stderr.lines(); len(lines) != 1 {
				t.Errorf("%d lines on standard error, want 1:\n%s", len(lines), &c.stderr)
			}
			if strings.Contains(c.stderr.String(), "s3cret") {
				t.Errorf("a secret on standard error: %s", &c.stderr)
			}
		})
	}
}

// Credentials that are rejected temporarily, as during a rotation, do not end the worker.
func TestTemporaryRejectionOfCredentials(t *testing.T) {
	t.Parallel()
	options := server.Options{Username: "worker", Password: "right", JetStream: true, StoreDir: t.TempDir()}
	s := bareServer(t, options)
	user := []string{"--nats-user", "worker", "--nats-password", "right"}
	command(t, append([]string{"provision", "--nats-url", s.ClientURL()}, user...)...).exits(exitOK)
	c := worker(t, s.ClientURL(), user...).start()
	c.logs(`"working"`)
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
		c.stderr.until(c.ctx, t, wait, func(all string) bool { return strings.Count(all, wait) == 1+i/2 })
	}
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d, want 0:\n%s", code, &c.stderr)
	}
	says(t, "standard error", &c.stderr, "authorization violation", "--nats-user ($NATS_USER)")
	if n := strings.Count(c.stderr.String(), "NATS rejected a request"); n != 0 {
		t.Errorf("%d more lines about it:\n%s", n, &c.stderr)
	}
}

// A server that rejects the client's certificate is reported, on the first connection and on a reconnect.
func TestRejectedClientCertificate(t *testing.T) {
	t.Parallel()
	own, ca := certificateFor(t, time.Hour)
	client, clientCA := certificateFor(t, time.Hour)
	other, _ := certificateFor(t, time.Hour)
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		0o600); err != nil {
		t.Fatal(err)
	}
	trusting := func(c tls.Certificate, version uint16) server.Options {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		trusted := x509.NewCertPool()
		trusted.AddCert(leaf)
		return server.Options{JetStream: true, StoreDir: t.TempDir(), TLS: true, TLSVerify: true, TLSTimeout: 5,
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert,
				ClientCAs: trusted, MinVersion: tls.VersionTLS12, MaxVersion: version}}
	}
	// The server's alert arrives during the handshake of TLS 1.2, and after that of TLS 1.3.
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			options := trusting(client, version)
			s := bareServer(t, options)
			flags := []string{"--nats-ca", ca, "--nats-cert", clientCA, "--nats-key", keyFile}
			command(t, append([]string{"provision", "--nats-url", s.ClientURL()}, flags...)...).exits(exitOK)
			c := worker(t, s.ClientURL(), flags...).start()
			c.logs(`"working"`)
			port := s.Addr().(*net.TCPAddr).Port
			s.Shutdown()
			s.WaitForShutdown()
			o := trusting(other, version)
			o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", port, true, true
			second, err := server.NewServer(&o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(second.Shutdown)
			second.Start()
			c.logs("NATS rejected the credentials on reconnect")
			says(t, "standard error", &c.stderr, "certificate", "--nats-cert ($NATS_CERT)")
			c.stop()
			if code := c.end(); code != exitOK {
				t.Errorf("exit code %d, want 0:\n%s", code, &c.stderr)
			}
			first := map[string][]string{"another": flags, "none": {"--nats-ca", ca}}
			if version == tls.VersionTLS12 {
				delete(first, "none") // the alert then does not mention a certificate
			}
			for name, flags := range first {
				at := worker(t, second.ClientURL(), flags...).exits(exitFault)
				says(t, "standard error with "+name, &at.stderr, "certificate", "--nats-cert ($NATS_CERT)")
			}
		})
	}
}

// A missing permission is reported at once, and not as a wait for JetStream.
func TestMissingPermissionEndsAtOnce(t *testing.T) {
	t.Parallel()
	at := users(t, func(all []*server.User) []*server.User {
		for _, u := range all {
			if u.Username == "declare" {
				u.Permissions.Publish.Allow = []string{"interactions.declared.*.*"}
			}
		}
		return all
	})
	c := command(t, append([]string{"declare", "--nats-url", at, "--type", "audio", someID},
		as("declare")...)...).exits(exitFault)
	says(t, "standard error", &c.stderr, "$JS.API.STREAM.INFO."+ns.StreamDeclared(), "docs/permissions.md")
	if strings.Contains(c.stderr.String(), "waiting for JetStream") {
		t.Errorf("the command waited:\n%s", &c.stderr)
	}
}

// A stream with overlapping subjects is reported, also if the user may not look up which stream it is.
func TestOverlappingStream(t *testing.T) {
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
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ANOTHER",
		Subjects: []string{ns.SubjectsDeclared()}}); err != nil {
		t.Fatal(err)
	}
	c := command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitFault)
	last := c.stderr.lines()[len(c.stderr.lines())-1]
	for _, want := range []string{"10065", ns.StreamDeclared(), ns.SubjectsDeclared()} {
		if !strings.Contains(last, want) {
			t.Errorf("%q is missing in the error: %s", want, last)
		}
	}
	says(t, "with the permission", &command(t, "provision", "--nats-url", at, "--nats-user", "any", "--nats-password",
		userPassword).exits(exitFault).stderr, "10065", "ANOTHER")
}

// A missing permission to publish is found when the broker denies the first publish, which gets no answer.
func TestDeclareWithoutPermission(t *testing.T) {
	t.Parallel()
	at := users(t, func(all []*server.User) []*server.User {
		for _, u := range all {
			if u.Username == "declare" {
				u.Permissions.Publish.Allow = []string{"$JS.API.STREAM.INFO." + ns.StreamDeclared(),
					"interactions.declared.chat.*"}
			}
		}
		return all
	})
	command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	c := command(t,
		append([]string{"declare", "--nats-url", at, "--type", "audio", someID, "193ec854-94d0-4452-a1cf-0ba0e2666288"},
			as("declare")...)...).exits(exitFault)
	says(t, "standard error", &c.stderr, ns.DeclaredSubject(schema.Audio, someID), "docs/permissions.md")
	says(t, "standard output", &c.stdout, "declared 0", "not stored 2")
	if strings.Contains(c.stderr.String(), "accepts no") {
		t.Errorf("the command waited for the broker:\n%s", &c.stderr)
	}

	// Messages that the broker has accepted before are counted as declared.
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
	stream, err := js.Stream(t.Context(), ns.StreamDeclared())
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n < declared || n != uint64(stored) {
		t.Errorf("%d counted as declared, %d stored, want the same, and at least %d", stored, n, declared)
	}
}

// A worker that may not pull from one of its lanes reports on /readyz that it is not ready.
func TestWorkerWithoutPermission(t *testing.T) {
	t.Parallel()
	missing := "$JS.API.CONSUMER.MSG.NEXT." + ns.StreamPolls() + "." + ns.PollConsumer(schema.Chat)
	at := users(t, func(all []*server.User) []*server.User {
		for _, u := range all {
			if u.Username == "worker" {
				return append(all, lacking(u, "limited", missing))
			}
		}
		return all
	})
	command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	c := worker(t, at, as("limited")...).start()
	c.logs(`"working"`)
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
		if resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "ermissions Violation") &&
			strings.Contains(string(body), missing) {
			break
		}
		select {
		case <-c.ctx.Done():
			t.Fatalf("/readyz answers %d %s", resp.StatusCode, body)
		case <-time.After(50 * time.Millisecond):
		}
	}
	c.stop()
	c.end()
	says(t, "standard error", &c.stderr, "NATS rejected a request", "stopping")
}

// Interactive commands stop waiting for a broker after a timeout.
func TestInteractiveCommandsTimeOut(t *testing.T) {
	t.Parallel()
	at := nobody(t)
	for _, args := range []string{"status", "dlq ls", "dlq show @1", "dlq purge --all --yes",
		"dlq replay --all --yes"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			c := command(t, append(strings.Split(args, " "), "--nats-url", at, "--timeout",
				"300ms")...).exits(exitFault)
			says(t, "standard error", &c.stderr, "within 300ms (--timeout)", "waiting for NATS at "+at)
		})
	}
}

// If outcomes were deleted before the deadline, they could be published again.
func TestOutcomesExpireBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	at, _ := provisioned(t, "--max-age", "2d")
	bad := worker(t, at, "--deadline", "48h").rejects("--deadline ($STATUSWORKER_DEADLINE)")
	if bad.Value != "48h" || !strings.Contains(bad.Allowed, "`statusworker provision --max-age") {
		t.Errorf("%v, want the value and the fix", bad)
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
	for _, c := range []*call{worker(t, at), command(t, "provision", "--nats-url", at),
		command(t, "declare", "--nats-url", at)} {
		c.start()
		c.logs("waiting for JetStream")
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

func TestServerWithASmallMaxPayload(t *testing.T) {
	t.Parallel()
	at := bare(t, server.Options{MaxPayload: 100 << 10})
	says(t, "standard error", &worker(t, at).exits(exitFault).stderr, "102400", "max_payload", "262144")
}

func TestNoStreams(t *testing.T) {
	t.Parallel()
	s, _ := broker(t)
	c := worker(t, s.URL()).exits(exitFault)
	if bad := (*provisioning.TopologyError)(nil); !errors.As(c.err, &bad) {
		t.Errorf("error %v, want a TopologyError", c.err)
	}
	says(t, "standard error", &c.stderr, "`statusworker provision`")
	if lines := c.stderr.lines(); len(lines) != 1 {
		t.Errorf("%d lines on standard error, want 1:\n%s", len(lines), &c.stderr)
	}
	says(t, "standard error", &command(t, "declare", "--nats-url", s.URL()).exits(exitFault).stderr,
		ns.StreamDeclared(), "`statusworker provision`")
}

func TestNoOutcomesStream(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	if err := js.DeleteStream(t.Context(), ns.StreamOutcomes()); err != nil {
		t.Fatal(err)
	}
	c := worker(t, at).exits(exitFault)
	bad := (*provisioning.TopologyError)(nil)
	if !errors.As(c.err, &bad) || len(bad.Differences) == 0 || !bad.Differences[0].Missing {
		t.Errorf("error %v, want a missing stream", c.err)
	}
	says(t, "standard error", &c.stderr, ns.StreamOutcomes(), "`statusworker provision")
}

func TestRunsOnWhatProvisionMakes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		at, _ := provisioned(t, "--redelivery", mode, "--max-age", "48h", "--declared-max-msgs", "1000",
			"--outcomes-max-bytes", "1000000")
		c := worker(t, at).start()
		c.logs(`"working"`)
		says(t, "standard error", &c.stderr, `"redelivery":"`+mode+`"`)
		c.stop()
		if code := c.end(); code != exitOK {
			t.Errorf("exit code %d after a stop, want 0:\n%s", code, &c.stderr)
		}
	}
}

func TestRejectsConsumersThatPollTooOften(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, mode, stream string
		change             func(*jetstream.ConsumerConfig)
		want               []string
	}{
		{"back-off", "nak", ns.StreamDeclared(),
			func(c *jetstream.ConsumerConfig) { c.BackOff = append(c.BackOff, 1e9) }, []string{"back-off is [1s]",
				"should be none", "--redelivery nak"}},
		{"back-off", "schedule", ns.StreamPolls(),
			func(c *jetstream.ConsumerConfig) { c.BackOff = append(c.BackOff, 1e9) }, []string{"back-off is [1s]",
				"should be none", "`statusworker provision --update`"}},
		{"short ack wait", "nak", ns.StreamDeclared(), func(c *jetstream.ConsumerConfig) { c.AckWait = 20e9 },
			[]string{"ack wait is 20s", "should be 45s"}},
		{"short ack wait", "schedule", ns.StreamPolls(), func(c *jetstream.ConsumerConfig) { c.AckWait = 1e9 },
			[]string{"ack wait is 1s", "should be 10s"}},
		{"max deliver", "schedule", ns.StreamPolls(), func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 },
			[]string{"max deliver is 5", "should be"}},
	} {
		t.Run(test.name+" "+test.mode, func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t, "--redelivery", test.mode)
			name := ns.PollConsumer(schema.Audio)
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
			says(t, "standard error", &c.stderr, append(test.want, "consumer "+test.stream+"/"+name,
				"`statusworker provision")...)

			shown := command(t, "provision", "--nats-url", at, "--redelivery", test.mode, "--dry-run").exits(exitFault)
			says(t, "standard output", &shown.stdout, test.want[0])
			command(t, "provision", "--nats-url", at, "--redelivery", test.mode, "--update").exits(exitOK)
			again := worker(t, at).start()
			again.logs(`"working"`)
			again.stop()
			again.end()
		})
	}
}
