package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/doctor"
)

const (
	small = 70 << 20 // bytes; room for reservations
	sized = "--declared-max-bytes=1000000 --polls-max-bytes=73400320 --workers-max-bytes=1000000 " +
		"--outcomes-max-bytes=1000000"
)

// account starts a server whose configuration has an account with limits. It returns the URL of a user of it.
func account(t *testing.T, limits string) (*server.Server, string) {
	t.Helper()
	folder := t.TempDir()
	config := fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts {
			LIMITED { %s, users: [{user: user, password: %s}] }
		}`, folder, limits, userPassword)
	file := filepath.Join(folder, "server.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := bareServer(t, *options)
	return s, strings.Replace(s.ClientURL(), "//", "//user:"+userPassword+"@", 1)
}

// limits returns the limits of an error.
func limits(err error) (names []provisioning.Limit) {
	var bad *provisioning.LimitsError
	if errors.As(err, &bad) {
		for _, e := range bad.Exceeded {
			names = append(names, e.Limit)
		}
	}
	return names
}

// Each limit of an account is found before anything is created, and what the message says makes the stage fit.
func TestProvisionInAccountsWithLimits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits, flags string
		exceeds       []provisioning.Limit
		fits          string // flags with which it fits; empty if none do
	}{
		"none":      {"max_streams: 4, max_consumers: 3, max_file: 1MB", "", nil, " "},
		"max bytes": {"max_bytes_required: true", "", []provisioning.Limit{provisioning.LimitMaxBytesRequired}, sized},
		"max bytes, with naks": {"max_bytes_required: true", "--redelivery=nak",
			[]provisioning.Limit{provisioning.LimitMaxBytesRequired},
			"--redelivery=nak --declared-max-bytes=1000000 --workers-max-bytes=1000000 --outcomes-max-bytes=1000000"},
		"unacknowledged": {"max_ack_pending: 100", "", []provisioning.Limit{provisioning.LimitMaxAckPending},
			"--max-ack-pending=100"},
		"size of a stream": {"disk_max_stream_bytes: 80000000", "--polls-max-bytes=80000001",
			[]provisioning.Limit{provisioning.LimitMaxStreamBytes}, "--polls-max-bytes=80000000"},
		"storage": {fmt.Sprintf("max_file: %d", small+3000000), sized + " --outcomes-max-bytes=1000001",
			[]provisioning.Limit{provisioning.LimitMaxStore}, sized},
		"no storage": {"max_file: 0", "", []provisioning.Limit{provisioning.LimitMaxStore}, ""},
		"streams": {"max_streams: 3", "", []provisioning.Limit{provisioning.LimitMaxStreams},
			"--redelivery=nak"},
		"consumers":      {"max_consumers: 2", "", []provisioning.Limit{provisioning.LimitMaxConsumers}, ""},
		"no limit known": {"max_consumers: 3", "", nil, " "},
		"all": {"max_streams: 3, max_consumers: 2, max_ack_pending: 4999, max_bytes_required: true, max_file: 0", "",
			[]provisioning.Limit{provisioning.LimitMaxStreams, provisioning.LimitMaxBytesRequired,
				provisioning.LimitMaxStore, provisioning.LimitMaxConsumers, provisioning.LimitMaxAckPending}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := account(t, "jetstream { "+test.limits+" }")
			provision := func(flags string) *call {
				return command(t, append([]string{"provision", "--nats-url", url}, strings.Fields(flags)...)...)
			}
			if len(test.exceeds) > 0 {
				for _, more := range []string{" --dry-run", "", " --update"} {
					c := provision(test.flags + more).exits(exitFault)
					if got := limits(c.err); !slices.Equal(got, test.exceeds) {
						t.Errorf("with%s: limits %v, want %v: %v", more, got, test.exceeds, c.err)
					}
					if n := strings.Count(c.stdout.String(), "limit "); n < len(test.exceeds) {
						t.Errorf("with%s: %d limits are shown, want %d: %s", more, n, len(test.exceeds), &c.stdout)
					}
				}
				if n := len(footprint(t, connectTo(t, url))); n != 0 {
					t.Errorf("%d streams and consumers were created", n)
				}
			}
			if test.fits == "" {
				return
			}
			provision(test.fits).exits(exitOK)
			says(t, "again", &provision("").exits(exitOK).stdout, "nothing to change")
			if f := finding(t, url, "account fit"); f.Result != doctor.Pass {
				t.Errorf("doctor: %+v", f)
			}
		})
	}
}

// finding runs doctor, and returns its finding of a check.
func finding(t *testing.T, url, check string) doctor.Finding {
	t.Helper()
	c := command(t, "doctor", "--nats-url", url, "--base-url", "http://127.0.0.1:1/v1", "-o", "json").exits(exitFault)
	var all []doctor.Finding
	if err := json.Unmarshal([]byte(c.stdout.String()), &all); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(f doctor.Finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("doctor has no check %q: %s", check, &c.stdout)
	}
	return all[i]
}

// An account with tiers has limits for some numbers of replicas only.
func TestProvisionInAccountsWithTiers(t *testing.T) {
	t.Parallel()
	unlimited := server.JetStreamAccountLimits{MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1,
		MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1}
	type tiers = map[string]server.JetStreamAccountLimits
	few := unlimited
	few.MaxStreams = 3
	for name, test := range map[string]struct {
		tiers   tiers
		exceeds []provisioning.Limit
	}{
		"R1":          {tiers{"R1": unlimited, "R3": few}, nil},
		"R1, limited": {tiers{"R1": few}, []provisioning.Limit{provisioning.LimitMaxStreams}},
		"R3 only":     {tiers{"R3": unlimited}, []provisioning.Limit{provisioning.LimitTier}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, url := account(t, "jetstream: disabled")
			a, err := s.LookupAccount("LIMITED")
			if err != nil {
				t.Fatal(err)
			}
			if err := a.EnableJetStream(test.tiers, nil); err != nil {
				t.Fatal(err)
			}
			want := exitOK
			if len(test.exceeds) > 0 {
				want = exitFault
			}
			c := command(t, "provision", "--nats-url", url).exits(want)
			if got := limits(c.err); !slices.Equal(got, test.exceeds) {
				t.Errorf("limits %v, want %v: %v", got, test.exceeds, c.err)
			}
		})
	}
}

// `provision --update` checks what it would change, and changes nothing if a limit does not allow it.
func TestProvisionUpdatesWithinLimits(t *testing.T) {
	t.Parallel()
	_, url := account(t, "jetstream { disk_max_stream_bytes: 2000000, max_file: 3000000, max_ack_pending: 6000 }")
	provision := func(flags ...string) *call {
		return command(t, append([]string{"provision", "--nats-url", url}, flags...)...)
	}
	provision("--declared-max-bytes", "1000000").exits(exitOK)
	before := footprint(t, connectTo(t, url))
	for flags, want := range map[string]provisioning.Limit{
		"--max-age=1d --outcomes-max-bytes=2000001":                 provisioning.LimitMaxStreamBytes,
		"--outcomes-max-bytes=2000000 --declared-max-bytes=1500000": provisioning.LimitMaxStore,
		"--max-age=1d --max-ack-pending=6001":                       provisioning.LimitMaxAckPending,
	} {
		c := provision(append(strings.Fields(flags), "--update")...).exits(exitFault)
		if got := limits(c.err); !slices.Contains(got, want) {
			t.Errorf("%s: limits %v, want %s: %v", flags, got, want, c.err)
		}
		if after := footprint(t, connectTo(t, url)); !maps.Equal(after, before) {
			t.Errorf("%s changed the streams", flags)
		}
		says(t, "afterwards", &provision("--dry-run").exits(exitOK).stdout, "nothing to change")
	}
	provision("--outcomes-max-bytes=2000000", "--max-ack-pending=1", "--update").exits(exitOK)
	says(t, "again", &provision().exits(exitOK).stdout, "nothing to change")
}

// Wherever provisioning stops, it says what it created and what not, and running it again completes it.
func TestProvisionStopsInTheMiddle(t *testing.T) {
	t.Parallel()
	s, js := broker(t)
	command(t, "provision", "--nats-url", s.URL()).exits(exitOK)
	all := footprint(t, js)
	if len(all) != 8 {
		t.Fatalf("%d streams and consumers, want 8", len(all))
	}
	creating := []string{
		"STREAM.CREATE." + ns.StreamDeclared(), "STREAM.CREATE." + ns.StreamPolls(),
		"STREAM.CREATE." + ns.StreamWorkers(), "STREAM.CREATE." + ns.StreamOutcomes(),
		"CONSUMER.CREATE." + ns.StreamDeclared() + ".>", "CONSUMER.CREATE." + ns.StreamPolls() + ".poll-audio.>",
		"CONSUMER.CREATE." + ns.StreamPolls() + ".poll-chat.>",
		"CONSUMER.CREATE." + ns.StreamPolls() + ".poll-transcript.>",
	}
	for made, request := range creating {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			a := server.NewAccount("STAGE")
			permissions := &server.Permissions{
				Publish:   &server.SubjectPermission{Deny: []string{jetstream.DefaultAPIPrefix + request}},
				Subscribe: &server.SubjectPermission{Allow: []string{">"}},
			}
			denied := &server.User{Username: "denied", Password: userPassword, Account: a, Permissions: permissions}
			free := &server.User{Username: "free", Password: userPassword, Account: a}
			srv := bareServer(t, server.Options{JetStream: true, StoreDir: t.TempDir(), Accounts: []*server.Account{a},
				Users: []*server.User{denied, free}})
			a, err := srv.LookupAccount("STAGE")
			if err != nil {
				t.Fatal(err)
			}
			if err := a.EnableJetStream(nil, nil); err != nil {
				t.Fatal(err)
			}
			as := func(user string, more ...string) *call {
				return command(t, append([]string{"provision", "--nats-url",
					strings.Replace(srv.ClientURL(), "//", "//"+user+":"+userPassword+"@", 1)}, more...)...)
			}
			c := as("denied").exits(exitFault)
			var partial *partialError
			if !errors.As(c.err, &partial) || partial.did != made || partial.want != len(creating) {
				t.Errorf("%v, want %d of %d created", c.err, made, len(creating))
			}
			printed := "\n" + c.stdout.String()
			created, left := strings.Count(printed, "\ncreated "), strings.Count(printed, "\nnot created ")
			if created != made || left != len(creating)-made {
				t.Errorf("%d created and %d not, want %d and the rest:\n%s", created, left, made, &c.stdout)
			}
			again := as("free").exits(exitOK)
			if n := strings.Count(again.stdout.String(), "created "); n != len(creating)-made {
				t.Errorf("the second run created %d, want %d:\n%s", n, len(creating)-made, &again.stdout)
			}
			says(t, "third run", &as("free", "--dry-run").exits(exitOK).stdout, "nothing to change")
		})
	}
}

// A limit that the account's information does not have is reported with what to do.
func TestProvisionBeyondTheServersLimits(t *testing.T) {
	t.Parallel()
	at := bare(t, server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 20,
		JetStreamMaxMemory: 1 << 20})
	c := command(t, "provision", "--nats-url", at, "--outcomes-max-bytes", "2000000").exits(exitFault)
	var api *jetstream.APIError
	var partial *partialError
	if !errors.As(c.err, &api) || api.ErrorCode != 10047 || !errors.As(c.err, &partial) || partial.did != 3 {
		t.Errorf("%v, want error 10047 after 3 streams", c.err)
	}
	says(t, "standard error", &c.stderr, "--outcomes-max-bytes", "max_file_store")
	command(t, "provision", "--nats-url", at, "--outcomes-max-bytes", "500000").exits(exitOK)
}

// Without the permission to read the limits, they are not checked.
func TestProvisionWithoutTheAccountsLimits(t *testing.T) {
	t.Parallel()
	at := users(t, func(all []*server.User) []*server.User {
		for i, u := range all {
			if u.Username == "provision" {
				all[i] = lacking(u, "provision", "$JS.API.INFO")
			}
		}
		return all
	})
	c := command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	says(t, "standard error", &c.stderr, "limits of the account were not checked", "$JS.API.INFO")
}

// The flags that redelivery nak has no use for, and sizes that are too small, are rejected.
func TestProvisionRejectsLimits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ flags, setting string }{
		{"--polls-max-bytes=1", "--polls-max-bytes ($STATUSWORKER_POLLS_MAX_BYTES)"},
		{"--workers-max-bytes=1", "--workers-max-bytes ($STATUSWORKER_WORKERS_MAX_BYTES)"},
		{"--max-ack-pending=0", "--max-ack-pending ($STATUSWORKER_MAX_ACK_PENDING)"},
		{"-o nack --redelivery=nak --max-ack-pending=9", "--max-ack-pending ($STATUSWORKER_MAX_ACK_PENDING)"},
		{"-o json --redelivery=nak --polls-max-bytes=9999999999", "--polls-max-bytes ($STATUSWORKER_POLLS_MAX_BYTES)"},
		{"-o json --update", "--output"},
		{"--output-dir=x", "--output-dir"},
	} {
		command(t, append([]string{"provision"}, strings.Fields(test.flags)...)...).rejects(test.setting)
	}
}

// A server announces the account's limit of a payload after it has accepted the connection.
func TestProvisionInAnAccountWithSmallPayloads(t *testing.T) {
	t.Parallel()
	_, url := account(t, "jetstream: enabled, limits { max_payload: 100000 }")
	c := command(t, "provision", "--nats-url", url).exits(exitFault)
	says(t, "standard error", &c.stderr, "100000", "max_payload")
	if n := len(footprint(t, connectTo(t, url))); n != 0 {
		t.Errorf("%d streams and consumers were created", n)
	}
	if f := finding(t, url, "max payload"); f.Result != doctor.Fail {
		t.Errorf("doctor: %+v", f)
	}
}

// What a limit does not allow is not restored by a server that restarts. doctor says so before.
func TestDoctorJudgesLimitsOfARunningStage(t *testing.T) {
	t.Parallel()
	s, url := account(t, "jetstream { max_streams: 9 }")
	command(t, "provision", "--nats-url", url).exits(exitOK)
	a, err := s.LookupAccount("LIMITED")
	if err != nil {
		t.Fatal(err)
	}
	lower := server.JetStreamAccountLimits{MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1,
		MaxAckPending: 10, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1, MaxBytesRequired: true}
	if err := a.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": lower}); err != nil {
		t.Fatal(err)
	}
	f := finding(t, url, "account fit")
	if f.Result != doctor.Fail || !strings.Contains(f.Found, "max_bytes_required") ||
		!strings.Contains(f.Found, "max_ack_pending") || f.Fix == "" {
		t.Errorf("doctor: %+v", f)
	}
	says(t, "provision", &command(t, "provision", "--nats-url", url).exits(exitOK).stdout, "nothing to change")
	fix := []string{"provision", "--nats-url", url, "--update", "--max-ack-pending=10"}
	command(t, append(fix, strings.Fields(sized)...)...).exits(exitOK)
	if f := finding(t, url, "account fit"); f.Result != doctor.Pass {
		t.Errorf("after the update, doctor: %+v", f)
	}
}
