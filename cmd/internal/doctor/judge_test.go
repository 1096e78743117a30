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
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
	"statusworker/statusclient"
)

// judged fails the test where a finding has another result, no fix though it needs one, or not all the texts.
func judged(t *testing.T, name string, f Finding, want Result, texts ...string) {
	t.Helper()
	if f.Result != want {
		t.Errorf("%s: %+v, want %s", name, f, want)
	}
	if (f.Result == Warn || f.Result == Fail) != (f.Fix != "") && f.Result != Skip {
		t.Errorf("%s: %s with the fix %q", name, f.Result, f.Fix)
	}
	for _, text := range texts {
		if !strings.Contains(f.Found+"\n"+f.Fix, text) {
			t.Errorf("%s: no %q in %+v", name, text, f)
		}
	}
}

func TestJudgeTLS(t *testing.T) {
	for _, tt := range []struct {
		name, peer string
		state      *tls.ConnectionState
		want       Result
		says       string
	}{
		{"none, this machine", "127.0.0.1:4222", nil, Pass, "this machine"},
		{"none, this machine by name", "localhost:443", nil, Pass, "this machine"},
		{"none, this machine by IPv6", "[::1]:4222", nil, Pass, "this machine"},
		{"none, this machine without a port", "127.0.0.1", nil, Pass, "this machine"},
		{"none", "10.0.0.7:4222", nil, Warn, "read on the way"},
		{"none, by name", "nats.example", nil, Warn, "read on the way"},
		{"1.3", "10.0.0.7:4222", &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}, Pass, "TLS 1.3, TLS_AES_128_GCM_SHA256"},
		{"1.2", "10.0.0.7:4222", &tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, Pass, "TLS 1.2"},
		{"1.1", "127.0.0.1:4222", &tls.ConnectionState{Version: tls.VersionTLS11}, Fail, "TLS 1.1"},
	} {
		judged(t, tt.name, judgeTLS("tls", tt.peer, tt.state, "use it"), tt.want, tt.says)
	}
}

func TestJudgeCertificates(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	state := func(ends ...time.Duration) *tls.ConnectionState {
		s := &tls.ConnectionState{}
		for _, d := range ends {
			s.PeerCertificates = append(s.PeerCertificates, &x509.Certificate{NotAfter: now.Add(d), Subject: pkix.Name{CommonName: "leaf"}})
		}
		return s
	}
	const day = 24 * time.Hour
	judged(t, "no TLS", judgeCertificates("c", nil, now), Skip, "no TLS")
	judged(t, "a year", judgeCertificates("c", state(365*day), now), Pass, "365 days", "2027-03-01")
	judged(t, "three weeks", judgeCertificates("c", state(soon), now), Pass, "21 days")
	judged(t, "less", judgeCertificates("c", state(soon-time.Second), now), Warn, "in 20 days", "CN=leaf")
	judged(t, "an authority that ends sooner", judgeCertificates("c", state(365*day, 3*day), now), Warn, "in 3 days")
	judged(t, "over", judgeCertificates("c", state(-time.Second), now), Fail, "ended on 2026-03-01")
}

func TestJudgeVersion(t *testing.T) {
	for _, tt := range []struct {
		version     string
		mode        consumer.Mode
		provisioned bool
		want        Result
		says        string
	}{
		{"2.15.3", consumer.Schedule, true, Pass, "schedules"},
		{"2.15.2", consumer.Schedule, true, Warn, "do not change replicas"},
		{"2.15.0", consumer.Schedule, false, Warn, "2.15.3"},
		{"2.15.0", consumer.Nak, true, Warn, "2.15.3"},
		{"2.15.3", consumer.Nak, true, Warn, "change over"},
		{"2.16.0-RC.1", consumer.Schedule, true, Warn, "pre-release"},
		{"2.14.6", consumer.Schedule, true, Pass, "schedules"},
		{"2.14.5", consumer.Schedule, true, Warn, "2.14.6"},
		{"2.14.4", consumer.Schedule, false, Warn, "source"},
		{"2.14.4", consumer.Nak, true, Warn, "change over"},
		{"2.14.4-preview", consumer.Schedule, true, Fail, topology.MinServers},
		{"2.14.3", consumer.Schedule, true, Fail, topology.MinServers},
		{"2.14.2", consumer.Schedule, false, Fail, topology.MinServers}, // naks do not help
		{"2.14.2", consumer.Nak, true, Fail, topology.MinServers},
		{"2.12.12", consumer.Schedule, true, Pass, "schedules"},
		{"2.12.10", consumer.Schedule, true, Warn, "2.12.12"},
		{"2.12.9", consumer.Schedule, true, Fail, "upgrade"},
		{"2.12.9", consumer.Schedule, false, Warn, "--redelivery nak"},
		{"2.11.4", consumer.Nak, true, Warn, "delayed naks only"},
		{"", consumer.Schedule, true, Fail, "upgrade"},
		{"", consumer.Nak, true, Warn, "upgrade"},
		{"main", consumer.Schedule, false, Warn, "--redelivery nak"},
	} {
		judged(t, tt.version+" "+string(tt.mode), judgeVersion(tt.version, tt.mode, tt.provisioned), tt.want, tt.says, tt.version)
	}
}

func TestJudgeLimits(t *testing.T) {
	tier := func(used uint64, most int64) jetstream.Tier {
		return jetstream.Tier{Store: used, Limits: jetstream.AccountLimits{MaxStore: most, MaxMemory: -1}}
	}
	one := func(t jetstream.Tier) map[string]jetstream.Tier { return map[string]jetstream.Tier{"": t} }
	judged(t, "none", judgeLimits(one(tier(1e12, -1))), Pass, "none")
	judged(t, "half", judgeLimits(one(tier(500, 1000))), Pass, "50 %")
	judged(t, "nearly", judgeLimits(one(tier(800, 1000))), Warn, "storage 800 of 1000", "80 %")
	judged(t, "full", judgeLimits(one(tier(1000, 1000))), Fail, "100 %")
	judged(t, "one tier of two", judgeLimits(map[string]jetstream.Tier{"": {}, "R1": tier(1, 1000), "R3": tier(990, 1000)}), Fail, "storage (R3) 990 of 1000")
	judged(t, "the worst counts", judgeLimits(map[string]jetstream.Tier{"R1": tier(990, 1000), "R3": tier(900, 1000)}), Fail)
}

func TestJudgeStreamLimits(t *testing.T) {
	info := func(msgs uint64, most int64) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{Config: jetstream.StreamConfig{MaxMsgs: most, MaxBytes: -1}, State: jetstream.StreamState{Msgs: msgs}}
	}
	judged(t, "none", judgeStreamLimits(info(1e9, -1), nil, provisionCommand), Pass, "none")
	judged(t, "little", judgeStreamLimits(info(1, 500), nil, provisionCommand), Pass, "1 of 500")
	judged(t, "nearly", judgeStreamLimits(info(450, 500), nil, provisionCommand), Warn, "--declared-max-msgs")
	judged(t, "full", judgeStreamLimits(info(500, 500), nil, provisionCommand), Fail, "producers are refused")
	judged(t, "outcomes, little", judgeStreamLimits(info(1, 500), info(1, 500), provisionCommand), Pass, "outcomes 1 of 500")
	judged(t, "outcomes, full", judgeStreamLimits(info(1, 500), info(500, 500), provisionCommand), Warn, "outcomes 500 of 500", "--outcomes-max-bytes")
	judged(t, "nearly full, and outcomes full", judgeStreamLimits(info(450, 500), info(500, 500), provisionCommand), Warn, "producers are refused", "--outcomes-max-bytes", "450 of 500", "500 of 500")
	judged(t, "both full", judgeStreamLimits(info(500, 500), info(500, 500), provisionCommand), Fail, "producers are refused")
}

func TestJudgeReplicas(t *testing.T) {
	ok, lags, off := &jetstream.PeerInfo{Name: "n2", Current: true}, &jetstream.PeerInfo{Name: "n3", Lag: 7}, &jetstream.PeerInfo{Name: "n3", Offline: true}
	stream := func(replicas int, leader string, peers ...*jetstream.PeerInfo) []*jetstream.StreamInfo {
		return []*jetstream.StreamInfo{{
			Config: jetstream.StreamConfig{Name: "S", Replicas: replicas}, Cluster: &jetstream.ClusterInfo{Leader: leader, Replicas: peers},
		}}
	}
	for _, tt := range []struct {
		name      string
		streams   []*jetstream.StreamInfo
		clustered bool
		want      Result
		says      string
	}{
		{"alone", stream(1, "n1"), false, Warn, "alone"},
		{"three", stream(3, "n1", ok, ok), true, Pass, "3 or more"},
		{"one in a cluster", stream(1, "n1"), true, Warn, "--replicas 3"},
		{"one lags", stream(3, "n1", ok, lags), true, Warn, "n3 lags, by 7"},
		{"one offline", stream(3, "n1", ok, off), true, Warn, "n3 is offline"},
		{"two offline", stream(3, "n1", off, off), true, Fail, "no majority"},
		{"one of five offline and one behind", stream(5, "n1", ok, ok, off, lags), true, Warn, "n3 lags"},
		{"three of five", stream(5, "n1", ok, off, off, off), true, Fail, "no majority"},
		{"no leader", stream(3, "", ok, ok), true, Fail, "no leader"},
	} {
		judged(t, tt.name, judgeReplicas(tt.streams, tt.clustered, provisionCommand), tt.want, tt.says)
	}
}

const provisionCommand = "statusworker provision --redelivery nak"

func TestJudgeTopology(t *testing.T) {
	judge := func(err error) Finding { return judgeTopology(nil, err, consumer.Nak, nil, provisionCommand) }
	judged(t, "fits", judge(nil), Pass, "nak")
	judged(t, "paused", judgeTopology(nil, nil, consumer.Schedule, []string{"S c until then"}, provisionCommand), Warn, "paused: S c until then", "nats consumer resume")
	risk := topology.Difference{Object: "stream S", Field: "storage", Have: "Memory", Want: "File", Choice: true, Risk: true}
	judged(t, "a risk", judgeTopology([]topology.Difference{risk}, nil, consumer.Nak, nil, provisionCommand), Warn, risk.String(), "`"+provisionCommand+" --update`")
	judged(t, "nothing", judge(&provisioning.TopologyError{}), Fail, "no streams", "`statusworker provision`")
	judged(t, "missing", judge(&provisioning.TopologyError{Mode: consumer.Schedule, Differences: []topology.Difference{{Object: "stream S", Missing: true}}}), Fail, "stream S: is missing")
	judged(t, "differs", judge(&provisioning.TopologyError{Mode: consumer.Nak, Differences: []topology.Difference{{Object: "stream S", Field: "max age", Have: "1h", Want: "2h"}}}),
		Fail, "max age is 1h", "`statusworker provision --redelivery nak --update`")
	judged(t, "no answer", judge(errors.New("reading stream S: time is up")), Fail, "time is up")
}

func TestJudgeDeliveries(t *testing.T) {
	judged(t, "no foreign consumer", judgeForeign(nil), Pass)
	judged(t, "a foreign consumer", judgeForeign([]provisioning.Foreign{{Stream: "S", Consumers: 2}}), Fail, "stream S: 2 more consumers", "nats stream report")
	judged(t, "all is delivered", judgeUndelivered(nil, provisionCommand), Pass)
	judged(t, "passed over", judgeUndelivered([]provisioning.Undelivered{{Stream: "S", Consumer: "c", Sequence: 7}}, provisionCommand), Fail, "S/c", "sequence 7", "`"+provisionCommand+" --update`")
}

func TestJudgeClock(t *testing.T) {
	for offset, want := range map[time.Duration]Result{
		0: Pass, time.Second: Pass, 1010 * time.Millisecond: Pass, 1011 * time.Millisecond: Warn, -time.Second: Pass, -time.Minute: Warn, time.Hour: Warn,
	} {
		says := schema.Duration(offset.Abs())
		if offset == 0 {
			says = "agrees with this host's within 10ms"
		}
		judged(t, offset.String(), judgeClock(offset, 10*time.Millisecond), want, says)
	}
	judged(t, "ahead", judgeClock(time.Minute, 0), Warn, "ahead of")
	judged(t, "behind", judgeClock(-time.Minute, 0), Warn, "behind")
	judged(t, "a slow answer proves nothing", judgeClock(2*time.Second, 3*time.Second), Pass)
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		leaders map[string]clockOffset
		want    Result
		says    string
	}{
		"one server":                  {map[string]clockOffset{"a": {700 * ms, 0}}, Pass, "700ms ahead of"},
		"one, and far":                {map[string]clockOffset{"": {-3 * time.Second, 0}}, Warn, "3s behind"},
		"three in step":               {map[string]clockOffset{"a": {20 * ms, ms}, "b": {-10 * ms, ms}, "c": {0, ms}}, Pass, "those of 3 servers are within 30ms"},
		"two apart":                   {map[string]clockOffset{"a": {0, ms}, "b": {-600 * ms, ms}}, Warn, "within 600ms"},
		"two apart by as much as may": {map[string]clockOffset{"a": {0, 0}, "b": {500 * ms, 0}}, Pass, "within 500ms"},
		"slow answers":                {map[string]clockOffset{"a": {0, 300 * ms}, "b": {800 * ms, 20 * ms}}, Pass, "within 800ms"},
		"both far, in step":           {map[string]clockOffset{"a": {3 * time.Second, ms}, "b": {3*time.Second + 5*ms, ms}}, Warn, "ages and logs"},
	} {
		judged(t, name, judgeClocks(tt.leaders), tt.want, tt.says)
	}
}

func TestJudgeTiming(t *testing.T) {
	usual := consumer.Config{
		Intervals: consumer.Guidance, RequestTimeout: 10 * time.Second, Deadline: 24 * time.Hour, NotFoundGrace: 5 * time.Minute,
		ShutdownTimeout: 20 * time.Second, StretchLimit: 10 * time.Minute,
	}
	million := held{known: true, count: 1e6}
	for _, tt := range []struct {
		name   string
		change func(*consumer.Config)
		held   held
		want   map[string]Result
		says   string
	}{
		{"usual", func(*consumer.Config) {}, held{}, nil, ""},
		{"audio too often", func(c *consumer.Config) { c.Intervals.Audio = time.Second }, held{}, map[string]Result{checkIntervals: Warn}, "--audio-interval to 30s"},
		{"longer than the guidance", func(c *consumer.Config) { c.Intervals.Audio = time.Hour }, held{}, nil, ""},
		{"over before the first poll", func(c *consumer.Config) { c.Deadline, c.NotFoundGrace = 40*time.Second, 30*time.Second }, held{}, map[string]Result{checkDeadline: Warn}, "more than 40s"},
		{"just after the first poll", func(c *consumer.Config) { c.Deadline, c.NotFoundGrace = 41*time.Second, 30*time.Second }, held{}, nil, ""},
		{"a grace as long as the deadline", func(c *consumer.Config) { c.NotFoundGrace = 24 * time.Hour }, held{}, map[string]Result{checkGrace: Warn}, "deadline_exceeded"},
		{"a short shutdown", func(c *consumer.Config) { c.ShutdownTimeout = 9 * time.Second }, held{}, map[string]Result{checkShutdown: Warn}, "cut off"},
		{"stretch", func(c *consumer.Config) { c.Stretch = 0.1 }, held{}, nil, ""},
		{"stretch beyond the deadline", func(c *consumer.Config) { c.Stretch, c.StretchLimit = 0.1, 24*time.Hour }, held{}, map[string]Result{checkStretch: Warn}, "less than the deadline"},
		{"stretch that does nothing", func(c *consumer.Config) { c.Stretch, c.StretchLimit = 0.1, 30*time.Second }, held{}, map[string]Result{checkStretch: Warn}, "does nothing"},
		{"a budget that is enough", func(c *consumer.Config) { c.MaxPollsPerSecond = 33400 }, million, nil, ""},
		{"a budget that is not", func(c *consumer.Config) { c.MaxPollsPerSecond = 33300 }, million, map[string]Result{checkRateLimit: Warn}, "33333 polls/s"},
		{"a budget that is enough with stretch", func(c *consumer.Config) { c.MaxPollsPerSecond, c.Stretch = 1700, 0.1 }, million, nil, ""},
		{"a budget for what nobody knows", func(c *consumer.Config) { c.MaxPollsPerSecond = 1 }, held{}, map[string]Result{checkRateLimit: Skip}, "not known"},
	} {
		cfg := usual
		tt.change(&cfg)
		for _, f := range judgeTiming(cfg, tt.held) {
			want := tt.want[f.Check]
			if want == "" {
				judged(t, tt.name, f, Pass)
			} else {
				judged(t, tt.name, f, want, tt.says)
			}
		}
	}
}

func TestFailedStatusesAreShown(t *testing.T) {
	judged(t, "none", showFailedStatuses(consumer.Config{}), Pass, "none")
	judged(t, "two", showFailedStatuses(consumer.Config{FailedStatuses: []schema.Status{"transcriptionFailed", "gone"}}), Pass, `"transcriptionFailed", "gone"`)
}

func TestJudgeAnswer(t *testing.T) {
	fault := func(code int, f schema.Fault, json bool) statusclient.Examination {
		return statusclient.Examination{Base: "https://vendor.example/v1", StatusCode: code, JSON: json, Err: &schema.PollError{Fault: f, StatusCode: code, Detail: "what it said"}}
	}
	noSuch := func(e statusclient.Examination) statusclient.Examination {
		e.NoSuch = true
		return e
	}
	for _, tt := range []struct {
		name          string
		answer        statusclient.Examination
		vendor, token Result
	}{
		{"404", fault(404, schema.FaultNotFound, true), Pass, Pass},
		{"404 as for no address", noSuch(fault(404, schema.FaultNotFound, true)), Fail, Skip},
		{"404 that is no JSON", fault(404, schema.FaultNotAStatus, false), Fail, Skip},
		{"402", fault(402, schema.FaultUnavailable, true), Fail, Skip},
		{"407", fault(407, schema.FaultUnavailable, false), Fail, Skip},
		{"401", fault(401, schema.FaultUnauthorized, true), Pass, Fail},
		{"403", fault(403, schema.FaultUnauthorized, false), Pass, Fail},
		{"429", fault(429, schema.FaultThrottled, true), Warn, Skip},
		{"503", fault(503, schema.FaultUnavailable, true), Warn, Skip},
		{"408", fault(408, schema.FaultUnavailable, true), Fail, Skip},
		{"302", fault(302, schema.FaultUnavailable, true), Fail, Skip},
		{"400", fault(400, schema.FaultRejected, true), Fail, Skip},
		{"400 as for no address", noSuch(fault(400, schema.FaultRejected, true)), Fail, Skip},
		{"garbage", fault(200, schema.FaultNotAStatus, true), Fail, Skip},
		{"nothing", fault(0, schema.FaultUnavailable, false), Fail, Skip},
		{"a status", statusclient.Examination{StatusCode: 200, JSON: true}, Warn, Skip},
	} {
		vendor, token := judgeAnswer(tt.answer)
		judged(t, tt.name+", vendor", vendor, tt.vendor)
		judged(t, tt.name+", token", token, tt.token)
		if tt.answer.Err != nil && !tt.answer.NoSuch && (vendor.Result == Fail || token.Result == Fail) {
			judged(t, tt.name, Finding{Result: Fail, Fix: "-", Found: vendor.Found + token.Found}, Fail, "what it said")
		}
	}
}

// Each fault of a certificate gives a finding of its own, with what to do about it.
func TestJudgeRefusedCertificate(t *testing.T) {
	leaf := &x509.Certificate{
		DNSNames: []string{"vendor.example"}, Issuer: pkix.Name{CommonName: "private"},
		NotBefore: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC),
	}
	seen := map[string]bool{}
	for _, tt := range []struct {
		fault statusclient.CertificateFault
		proxy bool
		says  []string
	}{
		{statusclient.CertificateOfUnknownAuthority, false, []string{"unknown authority", "CN=private", "--vendor-ca ($ELEVATEAI_CA_FILE)"}},
		{statusclient.CertificateOfAnotherHost, false, []string{"host name", "--base-url ($ELEVATEAI_BASE_URL)"}},
		{statusclient.CertificateExpired, false, []string{"expired", "2026-04-01", "vendor.example", "clock"}},
		{statusclient.CertificateNotYetValid, false, []string{"not yet valid", "2026-03-01", "clock"}},
		{statusclient.CertificateRefused, false, []string{"refused", "what x509 said"}},
		{statusclient.CertificateOfAnotherHost, true, []string{"proxy's", "$HTTPS_PROXY"}},
	} {
		refused := &statusclient.CertificateError{Fault: tt.fault, Proxy: tt.proxy, Certificate: leaf, Err: errors.New("what x509 said")}
		found := judgeVendor(statusclient.Examination{
			Base: "https://vendor.example/v1", Err: &schema.PollError{Fault: schema.FaultUnavailable, Detail: refused.Error(), Err: refused},
		}, leaf.NotBefore)
		judged(t, string(tt.fault), found[0], Fail, append(tt.says, "certificate")...)
		for _, f := range found[1:] {
			judged(t, string(tt.fault), f, Skip)
		}
		if text := found[0].Found + found[0].Fix; seen[text] {
			t.Errorf("%s has the same text as another: %s", tt.fault, text)
		} else {
			seen[text] = true
		}
	}
	refused := &statusclient.CertificateError{Fault: statusclient.CertificateOfUnknownAuthority, Err: errors.New("x509")}
	judged(t, "without a certificate", judgeVendor(statusclient.Examination{Err: &schema.PollError{Err: refused}}, leaf.NotBefore)[0], Fail, "unknown authority")
}

func TestSick(t *testing.T) {
	found := []Finding{pass("clock", "fine"), bad(Fail, "vendor", "do this", "away")}
	if !AnyFailed(found) || AnyFailed(found[:1]) {
		t.Error("who is sick is told wrongly")
	}
}
