package main

import (
	"strings"
	"testing"
)

// More than one kind of credentials is rejected: the client would silently use one.
func TestOnlyOneKindOfCredentials(t *testing.T) {
	t.Parallel()
	const inURL, nkey, creds = "nats://me:s3cret@127.0.0.1:1", "/none/nkey", "/none/creds"
	for name, tt := range map[string]struct {
		args []string
		env  map[string]string
		want []string
	}{
		"URL and user": {[]string{"--nats-url", inURL, "--nats-user", "me", "--nats-password", "s3cret"}, nil,
			[]string{"--nats-url ($NATS_URL)", "--nats-user ($NATS_USER)"}},
		"URL and variables": {[]string{"--nats-url", inURL}, map[string]string{"NATS_USER": "me",
			"NATS_PASSWORD": "s3cret"}, []string{"--nats-url ($NATS_URL)", "--nats-user ($NATS_USER)"}},
		"token in one of two": {[]string{"--nats-url", "127.0.0.1:1,s3cret@127.0.0.1:2", "--nats-user", "s3cret"},
			nil, []string{"--nats-url ($NATS_URL)", "--nats-user ($NATS_USER)"}},
		"URL and credentials": {[]string{"--nats-url", inURL, "--nats-creds", creds}, nil,
			[]string{"--nats-url ($NATS_URL)", "--nats-creds ($NATS_CREDS)"}},
		"credentials and NKey": {[]string{"--nats-creds", creds, "--nats-nkey", nkey}, nil,
			[]string{"--nats-creds ($NATS_CREDS)", "--nats-nkey ($NATS_NKEY)"}},
		"user and NKey variable": {[]string{"--nats-user", "s3cret"}, map[string]string{"NATS_NKEY": nkey},
			[]string{"--nats-user ($NATS_USER)", "--nats-nkey ($NATS_NKEY)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := command(t, append([]string{"status"}, tt.args...)...)
			for variable, value := range tt.env {
				c.env[variable] = value
			}
			c.exits(exitUsage)
			says(t, "standard error", &c.stderr, tt.want...)
			if strings.Contains(c.stderr.String(), "s3cret") {
				t.Errorf("a secret on standard error: %s", &c.stderr)
			}
		})
	}
}
