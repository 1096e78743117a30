package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/doctor"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// vendor starts a simulated vendor.
func vendor(t *testing.T, cfg simulator.Config) *simulator.Simulator {
	t.Helper()
	v, err := simulator.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// examined runs `doctor`, and returns its findings by check. It requires that a report as text has the same findings.
func examined(t *testing.T, wantCode int, natsURL, vendorURL string, more ...string) map[string]doctor.Finding {
	t.Helper()
	flags := []string{"doctor", "-o", "json", "--nats-url", natsURL, "--base-url", vendorURL}
	c := command(t, append(flags, more...)...)
	c.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
	list := findings(t, c.exits(wantCode))
	if c.stderr.String() != "" {
		t.Errorf("unexpected standard error:\n%s", &c.stderr)
	}
	found := map[string]doctor.Finding{}
	for _, f := range list {
		if _, twice := found[f.Check]; twice {
			t.Errorf("%s was checked twice", f.Check)
		}
		if (f.Result == doctor.Warn || f.Result == doctor.Fail) == (f.Fix == "") && f.Result != doctor.Skip {
			t.Errorf("%s is %s, and its fix is %q", f.Check, f.Result, f.Fix)
		}
		found[f.Check] = f
	}
	if !slices.IsSortedFunc(list, func(a, b doctor.Finding) int { return cmp.Compare(severity(b), severity(a)) }) {
		t.Errorf("problems are not first: %+v", list)
	}
	var text bytes.Buffer
	if err := showFindings(&text, list, 0, true); err != nil {
		t.Fatal(err)
	}
	shown := unwrapped(text.String())
	count := map[doctor.Result]int{}
	for _, f := range list {
		count[f.Result]++
		want := []string{f.Check}
		if f.Result == doctor.Warn || f.Result == doctor.Fail {
			want = []string{string(f.Result) + " " + f.Check + " ", unwrapped(f.Found), "fix: " + unwrapped(f.Fix)}
		}
		for _, w := range want {
			if !strings.Contains(shown, w) {
				t.Errorf("no %q in:\n%s", w, &text)
			}
		}
	}
	if want := fmt.Sprintf("%d checks: passed %d, warnings %d, failed %d, skipped %d: ", len(list), count[doctor.Pass],
		count[doctor.Warn], count[doctor.Fail], count[doctor.Skip]); !strings.Contains(shown, want) {
		t.Errorf("no %q in:\n%s", want, &text)
	}
	return found
}

// severity is 1 for a warning, 2 for a failure, and 0 for others.
func severity(f doctor.Finding) int {
	return map[doctor.Result]int{doctor.Warn: 1, doctor.Fail: 2}[f.Result]
}

// With --quiet, only warnings and failures are printed, and nothing if there are none. The exit code stays.
func TestDoctorQuiet(t *testing.T) {
	t.Parallel()
	v := vendor(t, simulator.Config{})
	at, _ := provisioned(t) // a single server, so the check `replicas` warns
	for name, test := range map[string]struct {
		args   []string
		code   int
		checks []string
	}{
		"warnings":         {[]string{"--nats-url", at}, exitOK, []string{"replicas"}},
		"without a server": {[]string{"--nats-url", "nats://127.0.0.1:1"}, exitFault, []string{"connection"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(args ...string) *call {
				c := command(t, slices.Concat([]string{"doctor", "--base-url", v.URL()}, test.args, args)...)
				c.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
				return c.exits(test.code)
			}
			list := findings(t, run("--quiet", "-o", "json"))
			var checks []string
			for _, f := range list {
				checks = append(checks, f.Check)
			}
			if !slices.Equal(checks, test.checks) {
				t.Errorf("checks %q, want %q", checks, test.checks)
			}
			var text bytes.Buffer
			if err := showFindings(&text, list, 0, false); err != nil {
				t.Fatal(err)
			}
			if c := run("-q"); c.stdout.String() != text.String() || len(list) == 0 {
				t.Errorf("printed\n%s\nwant\n%s", &c.stdout, &text)
			}
		})
	}
	var text bytes.Buffer
	passed := doctor.OnlyProblems([]doctor.Finding{{Result: doctor.Pass}, {Result: doctor.Skip}})
	if err := showFindings(&text, passed, 0, false); err != nil || text.Len() > 0 {
		t.Errorf("%q (%v), want nothing", &text, err)
	}
}

// unwrapped returns a text on one line, with single spaces.
func unwrapped(s string) string {
	return strings.Join(strings.Fields(schema.Printable(s)), " ")
}

// Text from outside cannot break the layout of the report, which fits the terminal.
func TestDoctorReport(t *testing.T) {
	t.Parallel()
	found := []doctor.Finding{
		{Check: "clock", Result: doctor.Pass, Found: strings.Repeat("fine ", 40)},
		{Check: "tls", Result: doctor.Skip, Found: "not checked: there is no connection"},
		{Check: "topology", Result: doctor.Skip, Found: "not checked: there is no connection"},
		{Check: "vendor", Result: doctor.Fail, Fix: "do\nthis " + strings.Repeat("and that ", 20),
			Found: "said \x1b[31m\r\nPASS  token <&>\u2028"},
	}
	var out bytes.Buffer
	if err := showFindings(&out, found, 60, true); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{
		"PASS  clock     fine fine", "SKIP  2 checks  not checked: there is no connection: tls,",
		"                topology", "FAIL  vendor    said \uFFFD[31m PASS token <&>",
		"                fix: do this and that",
	} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is %q, want %q", i+1, lines[i], want)
		}
	}
	for _, line := range lines[:len(lines)-2] {
		if n := len([]rune(line)); n > 60 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	last, counts := lines[len(lines)-2], "4 checks: passed 1, warnings 0, failed 1, skipped 2: "
	if !strings.HasPrefix(last, counts) || !strings.Contains(last, "cannot work") {
		t.Errorf("it ends with %q", last)
	}
}

// only requires the results of checks. All others must pass, except for the replicas of a single server.
func only(t *testing.T, found map[string]doctor.Finding, want map[string]doctor.Result) {
	t.Helper()
	have := map[string]doctor.Result{}
	for name, f := range found {
		single := name == "replicas" && f.Result == doctor.Warn
		if f.Result != doctor.Pass && !single {
			have[name] = f.Result
		}
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("not passed: %v, want %v:", have, want)
		for _, f := range found {
			if f.Result != want[f.Check] && f.Result != doctor.Pass {
				t.Logf("%+v", f)
			}
		}
	}
}

// finds requires texts in a finding or its fix.
func finds(t *testing.T, f doctor.Finding, texts ...string) {
	t.Helper()
	if len(texts) == 0 {
		t.Errorf("%s: no texts given", f.Check)
	}
	for _, text := range texts {
		if !strings.Contains(f.Found+"\n"+f.Fix, text) {
			t.Errorf("%s %s has no %q: %q, %q", f.Result, f.Check, text, f.Found, f.Fix)
		}
	}
}

func TestDoctorFindsNothingWrong(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			at, _ := provisioned(t, "--redelivery", mode)
			v := vendor(t, simulator.Config{})
			found := examined(t, exitOK, at, v.URL())
			want := map[string]doctor.Result{"certificate": doctor.Skip, "vendor certificate": doctor.Skip}
			if mode == "nak" {
				want["server version"] = doctor.Warn
				finds(t, found["server version"], "naks")
			}
			only(t, found, want)
			finds(t, found["topology"], mode)
			if n := v.Counts().Polls; n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// Each fault fails its check, and no other.
func TestDoctorFindsFaults(t *testing.T) {
	t.Parallel()
	all := map[string]doctor.Result{}
	for _, check := range []string{
		"tls", "certificate", "max payload", "server version", "permission inbox", "permission stream info",
		"permission consumer info", "permission hold",
		"permission processed", "permission failed", "permission announce", "permission pull", "permission read back",
		"permission ack", "permission list", "jetstream",
		"account limits", "topology", "account fit", "foreign consumers", "undelivered messages", "replicas",
		"stream limits", "outcomes age", "clock", "overdue reservations",
	} {
		all[check] = doctor.Skip
	}
	withJetStream := server.Options{JetStream: true}
	tests := []struct {
		name  string
		setUp func(t *testing.T) (natsURL, vendorURL string, flags []string)
		want  map[string]doctor.Result
		says  map[string][]string
	}{
		{"no broker", func(t *testing.T) (string, string, []string) {
			return nobody(t), vendor(t, simulator.Config{}).URL(), nil
		}, with(all, "connection", doctor.Fail), map[string][]string{"connection": {"127.0.0.1", "--nats-url"}}},
		{"wrong password", func(t *testing.T) (string, string, []string) {
			return bare(t, server.Options{Username: "worker", Password: "right"}), vendor(t,
				simulator.Config{}).URL(), []string{"--nats-user", "worker", "--nats-password", "wrong-s3cret"}
		}, with(all, "connection", doctor.Fail), map[string][]string{"connection": {"Authorization",
			"--nats-password"}}},
		{"no JetStream", func(t *testing.T) (string, string, []string) {
			return bare(t, server.Options{}), vendor(t, simulator.Config{}).URL(), nil
		}, with(without(all, "tls", "max payload", "server version",
			"permission inbox"), "jetstream", doctor.Fail), map[string][]string{"jetstream": {"off", "-js"}}},
		{"an account without JetStream", func(t *testing.T) (string, string, []string) {
			o := withJetStream
			poor := server.NewAccount("POOR")
			o.StoreDir, o.Accounts, o.Users = t.TempDir(), []*server.Account{poor}, []*server.User{{Username: "worker",
				Password: "right", Account: poor}}
			return bare(t, o), vendor(t, simulator.Config{}).URL(), []string{"--nats-user", "worker", "--nats-password",
				"right"}
		}, with(without(all, "tls", "max payload", "server version",
			"permission inbox"), "jetstream", doctor.Fail), map[string][]string{"jetstream": {"off", "account"}}},
		{"no streams", func(t *testing.T) (string, string, []string) {
			s, _ := broker(t)
			return s.URL(), vendor(t, simulator.Config{}).URL(), nil
		}, map[string]doctor.Result{"certificate": doctor.Skip, "topology": doctor.Fail, "replicas": doctor.Skip,
			"stream limits": doctor.Skip, "outcomes age": doctor.Skip, "clock": doctor.Skip,
			"overdue reservations": doctor.Skip},
			map[string][]string{"topology": {"`statusworker provision`", "no streams"}}},
		{"a consumer that polls too often", func(t *testing.T) (string, string, []string) {
			at, js := provisioned(t)
			name := ns.PollConsumer(schema.Audio)
			c, err := js.Consumer(t.Context(), ns.StreamPolls(), name)
			if err != nil {
				t.Fatal(err)
			}
			changed := c.CachedInfo().Config
			changed.MaxDeliver = 5
			if _, err := js.UpdateConsumer(t.Context(), ns.StreamPolls(), changed); err != nil {
				t.Fatal(err)
			}
			return at, vendor(t, simulator.Config{}).URL(), nil
		}, map[string]doctor.Result{"topology": doctor.Fail}, map[string][]string{"topology": {"max deliver is 5",
			"--update"}}},
		{"a paused consumer", func(t *testing.T) (string, string, []string) {
			at, js := provisioned(t)
			if _, err := js.PauseConsumer(t.Context(), ns.StreamPolls(), ns.PollConsumer(schema.Chat),
				time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			return at, vendor(t, simulator.Config{}).URL(), nil
		}, map[string]doctor.Result{"topology": doctor.Warn}, map[string][]string{"topology": {"poll-chat",
			advice.NATS(ns) + "consumer resume"}}},
		{"streams that source others", func(t *testing.T) (string, string, []string) {
			at, js := provisioned(t)
			for _, name := range []string{ns.StreamDeclared(), ns.StreamPolls()} {
				if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "COPY_" + name,
					Sources: []*jetstream.StreamSource{{Name: name}}}); err != nil {
					t.Fatal(err)
				}
				awaitConsumers(t, js, name)
			}
			return at, vendor(t, simulator.Config{}).URL(), nil
		}, map[string]doctor.Result{"foreign consumers": doctor.Fail},
			map[string][]string{"foreign consumers": {ns.StreamDeclared(), ns.StreamPolls()}}},
		{"skipped messages", func(t *testing.T) (string, string, []string) {
			at, js := provisioned(t)
			skip(t, js)
			return at, vendor(t, simulator.Config{}).URL(), nil
		}, map[string]doctor.Result{"undelivered messages": doctor.Fail},
			map[string][]string{"undelivered messages": {ns.StreamDeclared() + "/intake",
				ns.StreamPolls() + "/poll-chat", "`statusworker provision --update`"}}},
		{"a consumer in memory", func(t *testing.T) (string, string, []string) {
			at, js := provisioned(t)
			c, err := js.Consumer(t.Context(), ns.StreamDeclared(), ns.ConsumerIntake())
			if err != nil {
				t.Fatal(err)
			}
			if err := js.DeleteConsumer(t.Context(), ns.StreamDeclared(), ns.ConsumerIntake()); err != nil {
				t.Fatal(err)
			}
			other := c.CachedInfo().Config
			other.MemoryStorage, other.MaxWaiting = true, 2
			if _, err := js.CreateConsumer(t.Context(), ns.StreamDeclared(), other); err != nil {
				t.Fatal(err)
			}
			return at, vendor(t, simulator.Config{}).URL(), nil
		}, map[string]doctor.Result{"topology": doctor.Warn}, map[string][]string{"topology": {"memory storage is true",
			"max waiting is 2", "--update"}}},
		{"a stream with message TTLs", func(t *testing.T) (string, string, []string) {
			at, js := provisioned(t)
			declared, err := js.Stream(t.Context(), ns.StreamDeclared())
			if err != nil {
				t.Fatal(err)
			}
			changed := declared.CachedInfo().Config
			changed.AllowMsgTTL, changed.AllowRollup, changed.Duplicates = true, true, 2*time.Minute
			if _, err := js.UpdateStream(t.Context(), changed); err != nil {
				t.Fatal(err)
			}
			return at, vendor(t, simulator.Config{}).URL(), nil
		}, map[string]doctor.Result{"topology": doctor.Fail}, map[string][]string{"topology": {"message TTLs",
			"roll-ups", "duplicate window is 2m"}}},
		{"no outcomes stream", func(t *testing.T) (string, string, []string) {
			at, js := provisioned(t)
			if err := js.DeleteStream(t.Context(), ns.StreamOutcomes()); err != nil {
				t.Fatal(err)
			}
			return at, vendor(t, simulator.Config{}).URL(), nil
		}, map[string]doctor.Result{"topology": doctor.Fail, "outcomes age": doctor.Skip},
			map[string][]string{"topology": {ns.StreamOutcomes(), "missing"}}},
		{"a small max payload", func(t *testing.T) (string, string, []string) {
			o := withJetStream
			o.MaxPayload, o.StoreDir = 100<<10, t.TempDir()
			at := bare(t, o)
			command(t, "provision", "--nats-url", at).exits(exitFault) // rejects it too
			return at, vendor(t, simulator.Config{}).URL(), nil
		}, map[string]doctor.Result{"max payload": doctor.Fail, "topology": doctor.Fail, "replicas": doctor.Skip,
			"stream limits": doctor.Skip, "outcomes age": doctor.Skip, "clock": doctor.Skip,
			"overdue reservations": doctor.Skip},
			map[string][]string{"max payload": {"102400", "262144"}}},
		{"wrong token", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			return at, vendor(t, simulator.Config{Token: "another"}).URL(), nil
		}, map[string]doctor.Result{"vendor token": doctor.Fail}, map[string][]string{"vendor token": {"401",
			"--api-token"}}},
		{"an unavailable vendor", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			v := vendor(t, simulator.Config{})
			v.SetFaults(simulator.Refusal(503))
			return at, v.URL(), nil
		}, map[string]doctor.Result{"vendor": doctor.Warn, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"503"}}},
		{"a vendor that throttles", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			v := vendor(t, simulator.Config{})
			v.SetFaults(simulator.Throttle(7 * time.Second))
			return at, v.URL(), nil
		}, map[string]doctor.Result{"vendor": doctor.Warn, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"429", `Retry-After "7"`}}},
		{"a vendor that does not answer", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			v := vendor(t, simulator.Config{})
			v.SetFaults(simulator.Fault{Kind: simulator.Hangs})
			return at, v.URL(), []string{"--request-timeout", "100ms"}
		}, map[string]doctor.Result{"vendor": doctor.Fail, "vendor tls": doctor.Skip, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"within 100ms", "--base-url"}}},
		{"no vendor", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			return at, strings.Replace(nobody(t), "nats:", "http:", 1) + "/v1", nil
		}, map[string]doctor.Result{"vendor": doctor.Fail, "vendor tls": doctor.Skip, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"refused"}}},
		{"a vendor that redirects", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			v := vendor(t, simulator.Config{})
			v.SetFaults(simulator.Fault{Kind: simulator.Redirected, Location: "https://elsewhere.example/"})
			return at, v.URL(), nil
		}, map[string]doctor.Result{"vendor": doctor.Fail, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"elsewhere.example", "--base-url"}}},
		{"garbage", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			v := vendor(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Never() }})
			v.SetFaults(simulator.Fault{Kind: simulator.NotJSON})
			return at, v.URL(), nil
		}, map[string]doctor.Result{"vendor": doctor.Fail, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"JSON"}}},
		{"a vendor that knows every identifier", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			return at, vendor(t,
				simulator.Config{Default: func(string) simulator.Script { return simulator.Never() }}).URL(), nil
		}, map[string]doctor.Result{"vendor": doctor.Warn, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"--base-url"}}},
		{"a web site", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			site := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(site.Close)
			return at, site.URL, nil
		}, map[string]doctor.Result{"vendor": doctor.Fail, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"404", "JSON"}}},
		{"a base URL without its path", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			return at, strings.TrimSuffix(vendor(t, simulator.Config{}).URL(), "/v1"), nil
		}, map[string]doctor.Result{"vendor": doctor.Fail, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"404", "/v1", "--base-url"}}},
		{"a base URL with another path", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			return at, vendor(t, simulator.Config{}).URL() + "/v1", nil
		}, map[string]doctor.Result{"vendor": doctor.Fail, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"404", "/v1", "--base-url"}}},
		{"a self-signed certificate", func(t *testing.T) (string, string, []string) {
			at, _ := provisioned(t)
			return at, vendor(t, simulator.Config{TLS: true}).URL(), nil
		}, map[string]doctor.Result{"vendor": doctor.Fail, "vendor tls": doctor.Skip, "vendor token": doctor.Skip},
			map[string][]string{"vendor": {"certificate"}}},
		{"unsuitable times", func(t *testing.T) (string, string, []string) {
			at, js := provisioned(t)
			for range 3 {
				declare(t, js)
			}
			return at, vendor(t, simulator.Config{}).URL(), []string{"--deadline", "40s", "--chat-interval", "1s",
				"--shutdown-timeout", "1s", "--stretch", "0.1"}
		}, map[string]doctor.Result{"intervals": doctor.Warn, "deadline": doctor.Warn, "not-found grace": doctor.Warn,
			"shutdown timeout": doctor.Warn, "stretch": doctor.Warn},
			map[string][]string{"intervals": {"chat 1s", "--chat-interval"}, "deadline": {"40s", "--deadline"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			natsURL, vendorURL, flags := test.setUp(t)
			code := exitOK
			for _, r := range test.want {
				if r == doctor.Fail {
					code = exitFault
				}
			}
			want := with(test.want, "certificate", doctor.Skip)
			if want["vendor certificate"] == "" {
				want["vendor certificate"] = doctor.Skip
			}
			found := examined(t, code, natsURL, vendorURL, flags...)
			only(t, found, want)
			for check, texts := range test.says {
				finds(t, found[check], texts...)
			}
			if strings.Contains(fmt.Sprint(found), "s3cret") {
				t.Errorf("a secret shows: %v", found)
			}
		})
	}
}

func with(m map[string]doctor.Result, check string, r doctor.Result) map[string]doctor.Result {
	n := map[string]doctor.Result{check: r}
	for k, v := range m {
		if k != check {
			n[k] = v
		}
	}
	return n
}

func without(m map[string]doctor.Result, checks ...string) map[string]doctor.Result {
	n := with(m, "", "")
	delete(n, "")
	for _, c := range checks {
		delete(n, c)
	}
	return n
}

// declare publishes a declared message, and returns its identifier.
func declare(t *testing.T, js jetstream.JetStream) string {
	t.Helper()
	identifier := uuid.NewString()
	if _, err := js.Publish(t.Context(), ns.DeclaredSubject(schema.Audio, identifier),
		fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":"audio"}`, identifier)); err != nil {
		t.Fatal(err)
	}
	return identifier
}

func TestDoctorWithAnOldServer(t *testing.T) {
	t.Parallel()
	found := examined(t, exitFault, oldServer(t, "2.11.4"), vendor(t, simulator.Config{}).URL())
	finds(t, found["server version"], "2.11.4", "2.12.10", "--redelivery nak")
	if found["jetstream"].Result != doctor.Pass || found["topology"].Result != doctor.Fail {
		t.Errorf("JetStream is %+v, the topology %+v", found["jetstream"], found["topology"])
	}
}

func TestDoctorWithoutAToken(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	at, _ := provisioned(t)
	v := vendor(t, simulator.Config{})
	for name, test := range map[string]struct {
		flags []string
		want  []string
	}{
		"not set": {nil, []string{"$ELEVATEAI_API_TOKEN_FILE", "--api-token-file"}},
		"no file": {[]string{"--api-token-file", missing}, []string{"--api-token-file ($ELEVATEAI_API_TOKEN_FILE)",
			missing}},
	} {
		c := command(t, append([]string{"doctor", "--nats-url", at, "--base-url", v.URL()},
			test.flags...)...).exits(exitFault)
		shown := unwrapped(c.stdout.String())
		if n := strings.Count(shown, "FAIL "); n != 1 {
			t.Errorf("%s: %d checks have failed, want one:\n%s", name, n, &c.stdout)
		}
		for _, text := range append(test.want, "FAIL vendor token") {
			if !strings.Contains(shown, text) {
				t.Errorf("%s: no %q in:\n%s", name, text, &c.stdout)
			}
		}
	}
	if n := v.Counts().Polls; n != 0 {
		t.Errorf("%d requests without a token", n)
	}
}

// users starts a server with the shipped users, as edited.
func users(t *testing.T, edit func([]*server.User) []*server.User) string {
	t.Helper()
	return usersOf(t, readDoc(t, "../../deploy/nats/statusworker.conf"), edit)
}

// usersOf starts a server with the users of a configuration, as edited.
func usersOf(t *testing.T, configuration string, edit func([]*server.User) []*server.User) string {
	t.Helper()
	var passwords strings.Builder
	for _, variable := range regexp.MustCompile(`\$(\w+_PASSWORD)`).FindAllStringSubmatch(configuration, -1) {
		fmt.Fprintf(&passwords, "%s: %s\n", variable[1], userPassword)
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(passwords.String()+configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options.JetStream, options.StoreDir = true, t.TempDir()
	options.Users = edit(options.Users)
	return bare(t, *options)
}

const userPassword = "of-a-user"

// as returns the flags of a user.
func as(user string) []string {
	return []string{"--nats-user", user, "--nats-password", userPassword, "--nats-inbox-prefix", "_INBOX_" + user}
}

// lacking returns the user of workers without one of its permissions.
func lacking(worker *server.User, name, subject string) *server.User {
	u := *worker
	u.Username = name
	u.Permissions = &server.Permissions{
		Publish:   &server.SubjectPermission{},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_" + name + ".>"}},
	}
	for _, s := range worker.Permissions.Publish.Allow {
		if s != subject {
			u.Permissions.Publish.Allow = append(u.Permissions.Publish.Allow, s)
		}
	}
	return &u
}

// The doctor finds each missing permission of the shipped user of workers.
func TestDoctorFindsEachMissingPermission(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			var permissions []string
			at := users(t, func(all []*server.User) []*server.User {
				for _, u := range all {
					if u.Username != "worker" {
						continue
					}
					permissions = u.Permissions.Publish.Allow
					for i, subject := range permissions {
						all = append(all, lacking(u, fmt.Sprint("lacking-", i), subject))
					}
					deaf := lacking(u, "deaf", "")
					deaf.Permissions.Subscribe.Allow = []string{"_INBOX_another.>"}
					return append(all, deaf)
				}
				t.Fatal("no user worker")
				return nil
			})
			command(t, append([]string{"provision", "--nats-url", at, "--redelivery", mode},
				as("provision")...)...).exits(exitOK)
			v := vendor(t, simulator.Config{})

			// A worker may not read the account's limits. With delayed naks, a newer server is recommended.
			usual := map[string]doctor.Result{"certificate": doctor.Skip, "vendor certificate": doctor.Skip,
				"account limits": doctor.Skip, "account fit": doctor.Skip}
			if mode == "nak" {
				usual["server version"] = doctor.Warn
			}
			only(t, examined(t, exitOK, at, v.URL(), as("worker")...), usual)

			found := examined(t, exitFault, at, v.URL(), as("deaf")...)
			if found["permission inbox"].Result != doctor.Fail {
				t.Errorf("without an inbox: %+v", found["permission inbox"])
			}
			finds(t, found["permission inbox"], "_INBOX_deaf.>", "--nats-inbox-prefix")

			needed := 0
			for i, subject := range permissions {
				forNaks := strings.Contains(subject, "DECLARED.poll-") && !strings.Contains(subject, "CONSUMER.INFO") ||
					strings.HasSuffix(subject, "MSG.GET."+ns.StreamDeclared())
				forReservations := strings.HasPrefix(subject, "interactions.hold") || strings.Contains(subject,
					"POLLS") && !strings.Contains(subject, "STREAM.INFO") || strings.Contains(subject, "intake") &&
					!strings.Contains(subject, "CONSUMER.INFO")
				if mode == "schedule" && forNaks || mode == "nak" && forReservations {
					only(t, examined(t, exitOK, at, v.URL(), as(fmt.Sprint("lacking-", i))...), usual)
					continue
				}
				needed++
				code, result := exitFault, doctor.Fail
				if strings.Contains(subject, "CONSUMER.LIST") { // a worker works without it
					code, result = exitOK, doctor.Warn
				}
				failed := 0
				for _, f := range examined(t, code, at, v.URL(), as(fmt.Sprint("lacking-", i))...) {
					if f.Result != result || usual[f.Check] == result || f.Check == "replicas" {
						continue
					}
					failed++
					if !strings.HasPrefix(f.Check, "permission ") || !strings.Contains(f.Fix, subject) {
						t.Errorf("without %s: %+v", subject, f)
					}
				}
				if failed != 1 {
					t.Errorf("without %s: %d checks failed, want 1", subject, failed)
				}
			}
			t.Logf("%d of %d permissions are needed", needed, len(permissions))
		})
	}
}

// The doctor changes no stream, takes no message, and does not affect deliveries.
func TestDoctorChangesNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t, "--redelivery", mode)
			v := vendor(t, simulator.Config{})
			declare(t, js)
			declare(t, js)
			stream, name := ns.StreamDeclared(), ns.ConsumerIntake()
			if mode == "nak" {
				name = ns.PollConsumer(schema.Audio)
			}
			c, err := js.Consumer(t.Context(), stream, name)
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.Next() // one is in flight, one waits
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t.Context(), t, func() bool { // the count follows the delivery
				info, err := c.Info(t.Context())
				return err == nil && info.NumPending == 1
			})
			before := footprint(t, js)
			examined(t, exitOK, at, v.URL())
			after := footprint(t, js)
			for object, was := range before {
				if after[object] != was {
					t.Errorf("%s was\n%s, is\n%s", object, was, after[object])
				}
			}
			if len(before) != len(after) {
				t.Errorf("%d streams and consumers, want %d", len(after), len(before))
			}
			if err := out.DoubleAck(t.Context()); err != nil {
				t.Errorf("acknowledging the delivery: %v", err)
			}
		})
	}
}

// footprint returns the state of all streams and consumers.
func footprint(t *testing.T, js jetstream.JetStream) map[string]string {
	t.Helper()
	all := map[string]string{}
	streams := js.ListStreams(t.Context())
	for s := range streams.Info() {
		s.State.Consumers = 0
		all[s.Config.Name] = fmt.Sprintf("%+v", s.State)
		stream, err := js.Stream(t.Context(), s.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		consumers := stream.ListConsumers(t.Context())
		for c := range consumers.Info() {
			state := fmt.Sprintf("delivered %d %d, acked %d %d, %d out, %d again, %d waiting", c.Delivered.Consumer,
				c.Delivered.Stream, c.AckFloor.Consumer, c.AckFloor.Stream, c.NumAckPending, c.NumRedelivered,
				c.NumPending)
			for _, at := range []*time.Time{c.Delivered.Last, c.AckFloor.Last} {
				if at != nil {
					state += ", " + at.String()
				}
			}
			all[s.Config.Name+"/"+c.Name] = state
		}
		if err := consumers.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// The doctor shows the TLS version, and warns of a certificate that expires in a week.
func TestDoctorWithTLS(t *testing.T) {
	t.Parallel()
	certificate, ca := certificateFor(t, 7*24*time.Hour)
	at := bare(t, server.Options{JetStream: true, StoreDir: t.TempDir(), TLS: true,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}})
	command(t, "provision", "--nats-url", at, "--nats-ca", ca).exits(exitOK)
	v := vendor(t, simulator.Config{})
	found := examined(t, exitOK, at, v.URL(), "--nats-ca", ca)
	only(t, found, map[string]doctor.Result{"certificate": doctor.Warn, "vendor certificate": doctor.Skip})
	finds(t, found["tls"], "TLS 1.3")
	finds(t, found["certificate"], "in 6 days", "renew")

	found = examined(t, exitFault, at, v.URL())
	finds(t, found["connection"], "certificate", "--nats-ca ($NATS_CA)")
}

// certificateFor returns a self-signed certificate for 127.0.0.1, and its file.
func certificateFor(t *testing.T, valid time.Duration) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nats"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0,
			1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// awaitConsumers waits until a stream has more consumers than provision creates.
func awaitConsumers(t *testing.T, js jetstream.JetStream, stream string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	own := map[string]int{ns.StreamDeclared(): 1, ns.StreamPolls(): len(schema.Types())}[stream]
	for {
		s, err := js.Stream(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		if s.CachedInfo().State.Consumers > own {
			return
		}
	}
}

// skip stores a declared message and a due message, and makes their consumers skip them.
func skip(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	declare(t, js)
	due := "5c1f9a52-0c7b-4ad7-9f5c-64fe1a1b7c11"
	if _, err := js.Publish(t.Context(), ns.PollSubject(schema.Chat, due),
		fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":"chat"}`, due)); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{ns.StreamDeclared() + "." + ns.ConsumerIntake(),
		ns.StreamPolls() + "." + ns.PollConsumer(schema.Chat)} {
		settle(t, js, at)
	}
}

// settle makes a consumer treat all stored messages as acknowledged.
func settle(t *testing.T, js jetstream.JetStream, at string) {
	t.Helper()
	m, err := js.Conn().RequestWithContext(t.Context(), jetstream.DefaultAPIPrefix+"CONSUMER.RESET."+at,
		[]byte(`{"seq":1000}`))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil || answer.Error != nil {
		t.Fatalf("%s was not reset: %s, %v", at, m.Data, err)
	}
}
