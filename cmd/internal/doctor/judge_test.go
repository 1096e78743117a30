package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/advice"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// judged fails the test if a finding has another result, lacks a fix that it needs, or lacks one of the values.
func judged(t *testing.T, name string, f Finding, want Result, values ...string) {
	t.Helper()
	if f.Result != want {
		t.Errorf("%s: %+v, want %s", name, f, want)
	}
	if (f.Result == Warn || f.Result == Fail) != (f.Fix != "") && f.Result != Skip {
		t.Errorf("%s: %s with the fix %q", name, f.Result, f.Fix)
	}
	for _, value := range values {
		if !strings.Contains(f.Found+"\n"+f.Fix, value) {
			t.Errorf("%s: no %q in %+v", name, value, f)
		}
	}
}

func TestJudgeTLS(t *testing.T) {
	with := func(version, suite uint16) *tls.ConnectionState {
		return &tls.ConnectionState{Version: version, CipherSuite: suite}
	}
	for _, tt := range []struct {
		name, peer string
		state      *tls.ConnectionState
		want       Result
		value      string
	}{
		{"none, loopback", "127.0.0.1:4222", nil, Pass, "127.0.0.1"},
		{"none, localhost", "localhost:443", nil, Pass, "localhost"},
		{"none, IPv6 loopback", "[::1]:4222", nil, Pass, "[::1]"},
		{"none, loopback without a port", "127.0.0.1", nil, Pass, "127.0.0.1"},
		{"none", "10.0.0.7:4222", nil, Warn, "10.0.0.7"},
		{"none, host name", "nats.example", nil, Warn, "nats.example"},
		{"1.3", "10.0.0.7:4222", with(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256), Pass,
			"TLS 1.3, TLS_AES_128_GCM_SHA256"},
		{"1.2", "10.0.0.7:4222", with(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), Pass, "TLS 1.2"},
		{"1.1", "127.0.0.1:4222", with(tls.VersionTLS11, 0), Fail, "TLS 1.1"},
	} {
		judged(t, tt.name, judgeTLS("tls", tt.peer, tt.state, "use it"), tt.want, tt.value)
	}
}

func TestJudgeCertificates(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	state := func(ends ...time.Duration) *tls.ConnectionState {
		s := &tls.ConnectionState{}
		for _, d := range ends {
			c := &x509.Certificate{NotAfter: now.Add(d), Subject: pkix.Name{CommonName: "leaf"}}
			s.PeerCertificates = append(s.PeerCertificates, c)
		}
		return s
	}
	const day = 24 * time.Hour
	judged(t, "no TLS", judgeCertificates("c", nil, now), Skip)
	judged(t, "a year", judgeCertificates("c", state(365*day), now), Pass, "365 days", "2027-03-01")
	judged(t, "three weeks", judgeCertificates("c", state(expiresSoon), now), Pass, "21 days")
	judged(t, "less", judgeCertificates("c", state(expiresSoon-time.Second), now), Warn, "20 days", "CN=leaf")
	judged(t, "an authority that expires sooner", judgeCertificates("c", state(365*day, 3*day), now), Warn, "3 days")
	judged(t, "expired", judgeCertificates("c", state(-time.Second), now), Fail, "2026-03-01")
}

func TestJudgeVersion(t *testing.T) {
	for _, tt := range []struct {
		version     string
		mode        consumer.Mode
		provisioned bool
		want        Result
		value       string
	}{
		{"2.15.3", consumer.Schedule, true, Pass, ""},
		{"2.15.2", consumer.Schedule, true, Warn, "do not change replicas"},
		{"2.15.0", consumer.Schedule, false, Warn, "2.15.3"},
		{"2.15.0", consumer.Nak, true, Warn, "2.15.3"},
		{"2.15.3", consumer.Nak, true, Warn, "change over"},
		{"2.16.0-RC.1", consumer.Schedule, true, Warn, "pre-release"},
		{"2.14.6", consumer.Schedule, true, Pass, ""},
		{"2.14.5", consumer.Schedule, true, Warn, "2.14.6"},
		{"2.14.4", consumer.Schedule, false, Warn, "source"},
		{"2.14.4", consumer.Nak, true, Warn, "change over"},
		{"2.14.4-preview", consumer.Schedule, true, Fail, topology.MinServers},
		{"2.14.3", consumer.Schedule, true, Fail, topology.MinServers},
		{"2.14.2", consumer.Schedule, false, Fail, topology.MinServers}, // naks do not help
		{"2.14.2", consumer.Nak, true, Fail, topology.MinServers},
		{"2.12.12", consumer.Schedule, true, Pass, ""},
		{"2.12.10", consumer.Schedule, true, Warn, "2.12.12"},
		{"2.12.9", consumer.Schedule, true, Fail, "upgrade"},
		{"2.12.9", consumer.Schedule, false, Warn, "--redelivery nak"},
		{"2.11.4", consumer.Nak, true, Warn, "delayed naks only"},
		{"", consumer.Schedule, true, Fail, "upgrade"},
		{"", consumer.Nak, true, Warn, "upgrade"},
		{"main", consumer.Schedule, false, Warn, "--redelivery nak"},
	} {
		f := judgeVersion(schema.DefaultNamespace, tt.version, tt.mode, tt.provisioned)
		judged(t, tt.version+" "+string(tt.mode), f, tt.want, tt.value, tt.version)
	}
}

func TestJudgeLimits(t *testing.T) {
	tier := func(used uint64, most int64) jetstream.Tier {
		return jetstream.Tier{Store: used, Limits: jetstream.AccountLimits{MaxStore: most, MaxMemory: -1}}
	}
	type tiers = map[string]jetstream.Tier
	for _, tt := range []struct {
		name   string
		tiers  tiers
		want   Result
		values []string
	}{
		{"none", tiers{"": tier(1e12, -1)}, Pass, []string{none}},
		{"half", tiers{"": tier(500, 1000)}, Pass, []string{"50 %"}},
		{"nearly full", tiers{"": tier(800, 1000)}, Warn, []string{"storage 800 of 1000", "80 %"}},
		{"full", tiers{"": tier(1000, 1000)}, Fail, []string{"100 %"}},
		{"one tier of two", tiers{"": {}, "R1": tier(1, 1000), "R3": tier(990, 1000)}, Fail,
			[]string{"storage (R3) 990 of 1000"}},
		{"two tiers", tiers{"R1": tier(990, 1000), "R3": tier(900, 1000)}, Fail, nil},
	} {
		judged(t, tt.name, judgeLimits(tt.tiers), tt.want, tt.values...)
	}
}

func TestJudgeStreamLimits(t *testing.T) {
	info := func(msgs uint64, limit int64) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{
			Config: jetstream.StreamConfig{MaxMsgs: limit, MaxBytes: -1}, State: jetstream.StreamState{Msgs: msgs},
		}
	}
	sized := func(bytes uint64) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{
			Config: jetstream.StreamConfig{MaxMsgs: -1, MaxBytes: 64 << 20}, State: jetstream.StreamState{Bytes: bytes},
		}
	}
	const declaredFix, outcomesFix = "--declared-max-msgs", "--outcomes-max-bytes"
	for _, tt := range []struct {
		name                      string
		declared, polls, outcomes *jetstream.StreamInfo
		want                      Result
		values                    []string
	}{
		{"no limits", info(1e9, -1), nil, nil, Pass, []string{none}},
		{"little", info(1, 500), nil, nil, Pass, []string{"1 of 500"}},
		{"nearly full", info(450, 500), nil, nil, Warn, []string{declaredFix}},
		{"full", info(500, 500), nil, nil, Fail, []string{declaredFix}},
		{"few outcomes", info(1, 500), nil, info(1, 500), Pass, []string{"outcomes 1 of 500"}},
		{"full of outcomes", info(1, 500), nil, info(500, 500), Warn, []string{"outcomes 500 of 500", outcomesFix}},
		{"nearly full, and full of outcomes", info(450, 500), nil, info(500, 500), Warn,
			[]string{declaredFix, outcomesFix, "450 of 500", "500 of 500"}},
		{"room for reservations", info(1, 500), info(300, 500), nil, Pass, []string{"reservations 300 of 500"}},
		{"little room for reservations", info(1, 500), info(400, 500), nil, Fail, []string{"--polls-max-bytes"}},
		{"room for more interactions", info(1, 500), sized(20 << 20), nil, Pass, nil},
		{"reserved for growth", info(1, 500), sized(31 << 20), nil, Warn, []string{"(48 %)", "--polls-max-bytes"}},
		{"little of it left", info(1, 500), sized(60 << 20), nil, Fail, []string{"--polls-max-bytes"}},
		{"both full", info(500, 500), nil, info(500, 500), Fail, []string{declaredFix, outcomesFix}},
	} {
		f := judgeStreamLimits(tt.declared, tt.polls, tt.outcomes, provisionCommand)
		judged(t, tt.name, f, tt.want, tt.values...)
	}
}

func TestJudgeReplicas(t *testing.T) {
	ok := &jetstream.PeerInfo{Name: "n2", Current: true}
	lags, off := &jetstream.PeerInfo{Name: "n3", Lag: 7}, &jetstream.PeerInfo{Name: "n3", Offline: true}
	stream := func(replicas int, leader string, peers ...*jetstream.PeerInfo) []*jetstream.StreamInfo {
		return []*jetstream.StreamInfo{{
			Config:  jetstream.StreamConfig{Name: "S", Replicas: replicas},
			Cluster: &jetstream.ClusterInfo{Leader: leader, Replicas: peers},
		}}
	}
	for _, tt := range []struct {
		name      string
		streams   []*jetstream.StreamInfo
		clustered bool
		want      Result
		value     string
	}{
		{"single server", stream(1, "n1"), false, Warn, "--replicas 3"},
		{"three", stream(3, "n1", ok, ok), true, Pass, "3"},
		{"one in a cluster", stream(1, "n1"), true, Warn, "--replicas 3"},
		{"one lags", stream(3, "n1", ok, lags), true, Warn, "n3 lags by 7"},
		{"one offline", stream(3, "n1", ok, off), true, Warn, "n3 is offline"},
		{"two offline", stream(3, "n1", off, off), true, Fail, "no majority"},
		{"one of five offline and one behind", stream(5, "n1", ok, ok, off, lags), true, Warn, "n3 lags"},
		{"three of five", stream(5, "n1", ok, off, off, off), true, Fail, "no majority"},
		{"no leader", stream(3, "", ok, ok), true, Fail, "no leader"},
	} {
		judged(t, tt.name, judgeReplicas(tt.streams, tt.clustered, provisionCommand), tt.want, tt.value)
	}
}

const provisionCommand = "statusworker provision --redelivery nak"

func TestJudgeTopology(t *testing.T) {
	risk := topology.Difference{Object: "stream S", Field: "storage", Have: "Memory", Want: "File", Risk: true}
	missing := topology.Difference{Object: "stream S", Missing: true}
	differs := topology.Difference{Object: "stream S", Field: "max age", Have: "1h", Want: "2h"}
	unfit := func(mode consumer.Mode, d ...topology.Difference) error {
		return &provisioning.TopologyError{Mode: mode, Differences: d}
	}
	for _, tt := range []struct {
		name   string
		risks  []topology.Difference
		err    error
		paused []string
		want   Result
		values []string
	}{
		{name: "correct", want: Pass, values: []string{"nak"}},
		{name: "paused", paused: []string{"S c until then"}, want: Warn,
			values: []string{"S c until then", advice.NATS(schema.DefaultNamespace) + "consumer resume"}},
		{name: "a risk", risks: []topology.Difference{risk}, want: Warn,
			values: []string{risk.String(), "`" + provisionCommand + " --update`"}},
		{name: "not provisioned", err: unfit(""), want: Fail, values: []string{"`statusworker provision`"}},
		{name: "missing", err: unfit(consumer.Schedule, missing), want: Fail, values: []string{missing.String()}},
		{name: "differs", err: unfit(consumer.Nak, differs), want: Fail,
			values: []string{differs.String(), "`statusworker provision --redelivery nak --update`"}},
		{name: "no answer", err: errors.New("reading stream S: time is up"), want: Fail, values: []string{"is up"}},
	} {
		f := judgeTopology(schema.DefaultNamespace, tt.risks, tt.err, consumer.Nak, tt.paused, provisionCommand)
		judged(t, tt.name, f, tt.want, tt.values...)
	}
}

func TestJudgeDeliveries(t *testing.T) {
	judged(t, "no foreign consumer", judgeForeign(schema.DefaultNamespace, nil), Pass)
	foreign := provisioning.Foreign{Stream: "S", Consumers: 2}
	judged(t, "a foreign consumer", judgeForeign(schema.DefaultNamespace, []provisioning.Foreign{foreign}), Fail,
		foreign.String(), advice.NATS(schema.DefaultNamespace)+"stream report")
	remedy := advice.Undelivered(consumer.Nak, provisionCommand+" --update")
	judged(t, "all is delivered", judgeUndelivered(nil, remedy), Pass)
	undelivered := provisioning.Undelivered{Stream: "S", Consumer: "c", Sequence: 7}
	judged(t, "not delivered", judgeUndelivered([]provisioning.Undelivered{undelivered}, remedy), Fail,
		undelivered.String(), "`"+provisionCommand+" --update`")
}

func TestJudgeClock(t *testing.T) {
	for offset, want := range map[time.Duration]Result{
		0: Pass, time.Second: Pass, 1010 * time.Millisecond: Pass, 1011 * time.Millisecond: Warn,
		-time.Second: Pass, -time.Minute: Warn, time.Hour: Warn,
	} {
		value := schema.Duration(offset.Abs())
		if offset == 0 {
			value = "10ms"
		}
		judged(t, offset.String(), judgeClock(offset, 10*time.Millisecond), want, value)
	}
	judged(t, "ahead", judgeClock(time.Minute, 0), Warn, "ahead")
	judged(t, "behind", judgeClock(-time.Minute, 0), Warn, "behind")
	judged(t, "a slow answer proves nothing", judgeClock(2*time.Second, 3*time.Second), Pass)
	const ms = time.Millisecond
	type clocks = map[string]clockOffset
	for name, tt := range map[string]struct {
		leaders clocks
		want    Result
		value   string
	}{
		"one server":                      {clocks{"a": {700 * ms, 0}}, Pass, "700ms ahead of"},
		"one, and far off":                {clocks{"": {-3 * time.Second, 0}}, Warn, "3s behind"},
		"three that agree":                {clocks{"a": {20 * ms, 0}, "b": {-10 * ms, 0}, "c": {}}, Pass, "30ms"},
		"two that differ":                 {clocks{"a": {0, ms}, "b": {-600 * ms, ms}}, Warn, "600ms (±2ms)"},
		"the largest accepted difference": {clocks{"a": {0, 0}, "b": {500 * ms, 0}}, Pass, "500ms (±0s)"},
		"slow answers":                    {clocks{"a": {0, 300 * ms}, "b": {800 * ms, 20 * ms}}, Pass, "(±320ms)"},
		"both far off, and in agreement":  {clocks{"a": {3000 * ms, ms}, "b": {3005 * ms, ms}}, Warn, "5ms"},
	} {
		judged(t, name, judgeClocks(tt.leaders), tt.want, tt.value)
	}
}
