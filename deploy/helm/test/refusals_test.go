package test

import (
	"strings"
	"testing"
)

// Invalid values are refused with a message that names the field.
func TestRefusals(t *testing.T) {
	none := map[string]any{}
	for _, c := range []struct {
		name string
		from string
		set  map[string]any
		want string // in the message
	}{
		{"no values", "", none, "/nats/url"},
		{"no image", "minimal", map[string]any{"image.repository": ""}, "/image/repository"},
		{"an image with its tag", "minimal", map[string]any{"image.repository": "registry.example:5000/statusworker:v1"}, "/image/repository"},
		{"no values, no image", "", none, "/image/repository"},
		{"no token secret", "", map[string]any{"nats.url": "nats://nats:4222"}, "/vendor/token/existingSecret"},
		{"an unknown value", "minimal", map[string]any{"concurency": 7}, "concurency"},
		{"an unknown nested value", "minimal", map[string]any{"work.concurency": 7}, "concurency"},
		{"redelivery", "minimal", map[string]any{"redelivery": "naks"}, "/redelivery"},
		{"a duration without a unit", "minimal", map[string]any{"timing.audioInterval": "30"}, "/timing/audioInterval"},
		{"a duration that is a number", "minimal", map[string]any{"work.deadline": 24}, "/work/deadline"},
		{"a shutdown timeout of 0", "minimal", map[string]any{"work.shutdownTimeout": "0s"}, "/work/shutdownTimeout"},
		{"too few slots", "minimal", map[string]any{"work.concurrency": 3}, "/work/concurrency"},
		{"a stretch beyond 1", "minimal", map[string]any{"work.stretch": 1.5}, "/work/stretch"},
		{"a rate limit below 0", "minimal", map[string]any{"work.maxPollsPerSecond": -1}, "/work/maxPollsPerSecond"},
		{"a namespace in upper case", "minimal", map[string]any{"nats.namespace": "EU"}, "/nats/namespace"},
		{"a namespace that NATS reserves", "minimal", map[string]any{"nats.namespace": "kv_eu"}, "/nats/namespace"},
		{"a password in the URL", "minimal", map[string]any{"nats.url": "nats://user:password@nats:4222"}, "/nats/url"},
		{"a domain and a prefix", "leaf", map[string]any{"nats.jetstream.apiPrefix": "x.API"}, "nats.jetstream.domain is hub and nats.jetstream.apiPrefix is x.API"},
		{"a domain with a dot", "minimal", map[string]any{"nats.jetstream.domain": "a.b"}, "/nats/jetstream/domain"},
		{"a prefix with a wildcard", "minimal", map[string]any{"nats.jetstream.apiPrefix": "a.>"}, "/nats/jetstream/apiPrefix"},
		{"a password of the proxy", "minimal", map[string]any{"nats.socksProxy.url": "socks5://me:password@proxy:1080"}, "/nats/socksProxy/url"},
		{"two proxies", "leaf", map[string]any{"nats.socksProxy.url": "socks5://proxy:1080"}, "nats.socksProxy.existingSecret is nats-proxy"},
		{"a proxy without its port", "leaf", map[string]any{"networkPolicy.natsPort": nil}, "networkPolicy.natsPort is null"},
		{"TLS first with WebSockets", "leaf", map[string]any{"nats.url": "wss://nats"}, "nats.tls.first is true and nats.url is wss://nats"},
		{"a JWT without its secret", "minimal", map[string]any{"nats.auth.method": "jwt"}, "/nats/auth/existingSecret"},
		{"a method without its secret", "minimal", map[string]any{"nats.auth.method": "creds"}, "/nats/auth/existingSecret"},
		{"a method of provision without its secret", "minimal", map[string]any{"provision.nats.auth.method": "nkey"}, "/provision/nats/auth/existingSecret"},
		{"a client certificate without its secret", "minimal", map[string]any{"nats.tls.clientCertificate": true}, "/nats/tls/existingSecret"},
		{"plain http to the vendor", "minimal", map[string]any{"vendor.baseUrl": "http://elevateai.example/v1"}, "/vendor/baseUrl"},
		{"a vendor without a host", "minimal", map[string]any{"vendor.baseUrl": "https:///v1"}, "/vendor/baseUrl"},
		{"a path that the client refuses", "minimal", map[string]any{"vendor.baseUrl": "https://elevateai.example/v1/%2e"}, "/vendor/baseUrl"},
		{"a short stretch limit", "minimal", map[string]any{"work.stretchLimit": "500ms"}, "work.stretchLimit is 500ms: must be at least 1s"},
		{"a short audio interval", "minimal", map[string]any{"timing.audioInterval": "29.9s"}, "timing.audioInterval is 29.9s: must be at least 30s"},
		{"a short chat interval", "minimal", map[string]any{"timing.chatInterval": "1s"}, "timing.chatInterval is 1s: must be at least 5s"},
		{"a short transcript interval", "minimal", map[string]any{"timing.transcriptInterval": "1s", "vendor.baseUrl": "https://127.0.0.1.example"}, "timing.transcriptInterval is 1s"},
		{"a deadline at the first poll", "minimal", map[string]any{"work.deadline": "30s"}, "work.deadline is 30s: must be more than timing.audioInterval"},
		{"a scrape longer than its interval", "minimal", map[string]any{"serviceMonitor.interval": "5s"}, "serviceMonitor.scrapeTimeout is 10s: must be at most serviceMonitor.interval, which is 5s"},
		{"a small size of the polls", "minimal", map[string]any{"provision.pollsMaxBytes": 67108863}, "provision.pollsMaxBytes is 67108863: must be 0"},
		{"a small size of the bucket", "minimal", map[string]any{"provision.workersMaxBytes": 65535}, "provision.workersMaxBytes is 65535: must be 0"},
		{"a size of the polls with naks", "minimal", map[string]any{"redelivery": "nak", "provision.pollsMaxBytes": 67108864}, "provision.maxAckPending must be null"},
		{"unacknowledged polls with naks", "minimal", map[string]any{"redelivery": "nak", "provision.maxAckPending": 9}, "provision.maxAckPending must be null"},
		{"a short age", "minimal", map[string]any{"provision.maxAge": "5m"}, "provision.maxAge is 5m: must be at least 1h"},
		{"an age within the deadline", "minimal", map[string]any{"provision.maxAge": "24h"}, "work.deadline is 24h: must be less than provision.maxAge, which is 24h"},
		{"a deadline beyond the age", "minimal", map[string]any{"work.deadline": "336h"}, "work.deadline is 336h: must be less than provision.maxAge, which is 336h"},
		{"a request of more than a minute", "minimal", map[string]any{"timing.requestTimeout": "60.5s"}, "timing.requestTimeout is 60.5s: must be at most 1m"},
		{"an invalid port", "minimal", map[string]any{"nats.url": "nats://a:4222,nats://b:65536"}, "nats.url has the port 65536: must be 1 to 65535"},
		{"port 0", "minimal", map[string]any{"nats.url": "nats://[::1]:0"}, "nats.url has the port 0"},
		{"a path after a server", "minimal", map[string]any{"nats.url": "nats://a/b"}, "/nats/url"},
		{"a server without a scheme", "minimal", map[string]any{"nats.url": "nats:/a"}, "/nats/url"},
		{"WebSockets and others", "minimal", map[string]any{"nats.url": "nats://a,wss://b"}, "/nats/url"},
		{"a deadline within the pauses", "minimal", map[string]any{"provision.activeDeadlineSeconds": 210}, "provision.activeDeadlineSeconds, which is 210, must be more than 210,"},
		{"a deadline within many pauses", "minimal", map[string]any{"provision.backoffLimit": 8, "provision.timeout": "10s", "provision.activeDeadlineSeconds": 1440}, "provision.activeDeadlineSeconds, which is 1440, must be more than 1440,"},
		{"a name with a blank", "minimal", map[string]any{"fullnameOverride": "Foo Bar"}, "/fullnameOverride"},
		{"a name with an underscore", "minimal", map[string]any{"nameOverride": "foo_bar"}, "/nameOverride"},
		{"a variable that is a number", "minimal", map[string]any{"extraEnv": []any{map[string]any{"name": "A", "value": 8080}}}, "/extraEnv/0/value"},
		{"a selector with its braces", "naks", map[string]any{"autoscaling.prometheus.selector": `{job="x"}`}, "/autoscaling/prometheus/selector"},
		{"a selector with a metric", "naks", map[string]any{"autoscaling.prometheus.selector": `up{job="x"} `}, "/autoscaling/prometheus/selector"},
		{"an authentication mode without a reference", "naks", map[string]any{"autoscaling.prometheus.authenticationRef": ""}, "autoscaling.prometheus.authModes is bearer and autoscaling.prometheus.authenticationRef is empty"},
		{"runbooks at a path", "minimal", map[string]any{"prometheusRule.runbookBase": "docs/alerts.md"}, "/prometheusRule/runbookBase"},
		{"root", "minimal", map[string]any{"podSecurityContext.runAsUser": 0}, "/podSecurityContext/runAsUser"},
		{"possibly root", "minimal", map[string]any{"podSecurityContext.runAsNonRoot": false}, "/podSecurityContext/runAsNonRoot"},
		{"the latest image", "minimal", map[string]any{"image.tag": "latest"}, "/image/tag"},
		{"two replicas of a stream", "minimal", map[string]any{"provision.replicas": 2}, "/provision/replicas"},
		{"a deadline within the attempts", "minimal", map[string]any{"provision.timeout": "2m"}, "provision.activeDeadlineSeconds, which is 300, must be more than"},
		{"no workers", "naks", map[string]any{"autoscaling.minReplicas": 0}, "/autoscaling/minReplicas"},
		{"fewer than the minimum", "naks", map[string]any{"autoscaling.minReplicas": 11}, "maxReplicas is 10"},
		{"no Prometheus address", "naks", map[string]any{"autoscaling.prometheus.serverAddress": ""}, "/autoscaling/prometheus/serverAddress"},
		{"no selector", "naks", map[string]any{"serviceMonitor.enabled": false}, "autoscaling.prometheus.selector is empty"},
		{"no NATS monitoring endpoint", "everything", map[string]any{"autoscaling.natsJetstream.monitoringEndpoint": ""}, "/autoscaling/natsJetstream/monitoringEndpoint"},
		{"no account", "everything", map[string]any{"autoscaling.natsJetstream.account": ""}, "/autoscaling/natsJetstream/account"},
		{"KEDA's scaler with naks", "everything", map[string]any{"redelivery": "nak"}, "autoscaling.source is nats-jetstream and redelivery is nak"},
		{"a variable that the chart sets", "minimal", map[string]any{"extraEnv": []any{map[string]any{"name": "NATS_URL", "value": "nats://other:4222"}}}, "extraEnv names NATS_URL"},
		{"authorities in two places", "minimal", map[string]any{"vendor.ca.existingSecret": "a", "vendor.ca.existingConfigMap": "b"}, "vendor.ca.existingSecret is a and vendor.ca.existingConfigMap is b"},
		{"authorities with an invalid name", "minimal", map[string]any{"vendor.ca.existingConfigMap": "A B"}, "/vendor/ca/existingConfigMap"},
		{"the authorities as a variable", "minimal", map[string]any{"extraEnv": []any{map[string]any{"name": "ELEVATEAI_CA_FILE", "value": "/x"}}}, "extraEnv names ELEVATEAI_CA_FILE"},
		{"the token as a variable", "minimal", map[string]any{"extraEnv": []any{map[string]any{"name": "ELEVATEAI_API_TOKEN", "value": "canary"}}}, "extraEnv names ELEVATEAI_API_TOKEN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			values := map[string]any{}
			if c.from != "" {
				values = readValues(t, c.from)
			}
			_, err := render(t, with(values, c.set))
			if err == nil {
				t.Fatal("the values were accepted")
			}
			if message := strings.ReplaceAll(err.Error(), "'", ""); !strings.Contains(message, c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
}

// Values that Helm adds to those of a dependency are accepted: a parent's condition, and globals.
func TestAsADependency(t *testing.T) {
	if _, err := render(t, with(readValues(t, "minimal"), map[string]any{"enabled": true, "global": map[string]any{"anything": 1}})); err != nil {
		t.Error(err)
	}
}

// Values at the limits are accepted.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		from string
		set  map[string]any
	}{
		{"minimal", map[string]any{"timing.requestTimeout": "1m"}},
		{"minimal", map[string]any{"timing.audioInterval": "30.1s", "work.deadline": "30.9s"}},
		{"minimal", map[string]any{"nats.url": "nats://a:65535,tls://b:1"}},
		{"minimal", map[string]any{"provision.activeDeadlineSeconds": 211}},
		{"minimal", map[string]any{"provision.backoffLimit": 8, "provision.timeout": "10s", "provision.activeDeadlineSeconds": 1441}},
		{"minimal", map[string]any{"provision.backoffLimit": 0, "provision.activeDeadlineSeconds": 61}},
		{"minimal", map[string]any{"fullnameOverride": "", "nameOverride": "a-1"}},
		{"minimal", map[string]any{"extraEnv": []any{map[string]any{"name": "A", "value": ""}, map[string]any{"name": "B"}}}},
		{"naks", map[string]any{"autoscaling.prometheus.selector": `job=~"x{1,2}",team="y"`}},
		{"naks", map[string]any{"autoscaling.prometheus.authModes": "", "autoscaling.prometheus.authenticationRef": ""}},
	} {
		if _, err := render(t, with(readValues(t, c.from), c.set)); err != nil {
			t.Errorf("%s with %v: %v", c.from, c.set, err)
		}
	}
}

// The deadline may be almost as long as outcomes are kept, or longer if the chart does not provision.
func TestLongDeadline(t *testing.T) {
	for _, set := range []map[string]any{
		{"work.deadline": "335h"},
		{"work.deadline": "400h", "provision.maxAge": "401h"},
		{"work.deadline": "400h", "provision.enabled": false},
	} {
		if _, err := render(t, with(readValues(t, "minimal"), set)); err != nil {
			t.Errorf("%v: %v", set, err)
		}
	}
}

// A vendor on the same machine may be polled with short intervals.
func TestLoopbackVendor(t *testing.T) {
	for _, vendor := range []string{"http://127.0.0.1:8443/v1", "https://localhost/v1", "http://[::1]:8443"} {
		set := map[string]any{"vendor.baseUrl": vendor, "timing.audioInterval": "1s", "timing.chatInterval": "200ms", "timing.transcriptInterval": "200ms"}
		if _, err := render(t, with(readValues(t, "minimal"), set)); err != nil {
			t.Errorf("%s: %v", vendor, err)
		}
	}
}
