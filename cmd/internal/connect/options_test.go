package connect

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/cli"
)

// URLs at which there can be no server are rejected, with an error that shows no password.
func TestServerURLs(t *testing.T) {
	t.Parallel()
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	for urls, good := range map[string]bool{
		"nats://host":                            true,
		"nats://host:4222":                       true,
		"nats://host:4222/":                      true,
		"NATS://host":                            true,
		"host":                                   true,
		"host:4222":                              true,
		"host.example.:4222":                     true,
		"my_host":                                true,
		"tls://10.0.0.1:4222":                    true,
		"nats://[::1]:4222":                      true,
		"[fe80::1%25eth0]:4222":                  true,
		"nats://user:s3cret@host:4222":           true,
		"s3cret@host":                            true,
		"nats://a:4222,nats://b:4222":            true,
		"nats://a:4222, b , tls://c":             true,
		"ws://host":                              true,
		"wss://host:443/path/of/a/proxy,wss://b": true,

		" ":                           false,
		",":                           false,
		"nats":                        true, // a possible name
		"nats:":                       false,
		"nats:/":                      false,
		"nats:/host":                  false,
		"nats:/host:4222":             false,
		"tls:/host":                   false,
		"ws:/host":                    false,
		"nats:host":                   false,
		"nats:host:4222":              false,
		"nats//host":                  false,
		"nats//host:4222":             false,
		"nats:///host":                false,
		"//host:4222":                 false,
		"://host":                     false,
		"nats://":                     false,
		"nats:///":                    false,
		"nats://:4222":                false,
		"nats://host:":                false,
		"nats://host:0":               false,
		"nats://host:65536":           false,
		"nats://host:-1":              false,
		"nats://host:port":            false,
		"nats://host/stream":          false,
		"host/stream":                 false,
		"nats://host?tls=true":        false,
		"nats://host?":                false,
		"ws://host#fragment":          false,
		"nats://user:s3cret@":         false,
		"nats://user:s3cret@:4222":    false,
		"nats://user:s3cret":          false,
		"user:s3cret@":                false,
		"s3cret@":                     false,
		"http://host:4222":            false,
		"nats://::1:4222":             false,
		"nats://10.0.0.300:4222":      false,
		"nats://*.example":            false,
		"nats://host-.example":        false,
		"nats://a:4222;nats://b:4222": false,
		"nats://a;b":                  false,
		"nats://a nats://b":           false,
		"nats://a,":                   false,
		"nats://a,,nats://b":          false,
		"nats://a,nats:/b":            false,
		"nats://a,ws://b":             false,
		"nats://nats://host":          false,
		"nats://user:s3cret@a,nats://user:s3cret": false,
	} {
		_, err := Flags{NATSURL: urls, InboxPrefix: "_INBOX"}.Options("test", quiet)
		var setting *cli.SettingError
		if good && err != nil || !good && (!errors.As(err, &setting) || setting.Flag != "nats-url") {
			t.Errorf("%q: error %v, want one: %t", urls, err, !good)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error shows the password: %v", urls, err)
		}
	}
}
