package main

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"statusworker/cmd/internal/cli"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// model returns the command line as kong parses it.
func model(t *testing.T) *kong.Application {
	t.Helper()
	k, err := program().Parser(cli.Process{Getenv: func(string) string { return "" }, Stdout: os.Stdout,
		Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	return k.Model
}

// flagsOf returns the flags of a command, without --help.
func flagsOf(t *testing.T, name string) []*kong.Flag {
	t.Helper()
	for _, node := range model(t).Children {
		if node.Name == name {
			return node.Flags
		}
	}
	t.Fatalf("there is no command %s", name)
	return nil
}

func TestBadConfigurationIsOneLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing, pipe, leads := filepath.Join(dir, "missing"), filepath.Join(dir, "pipe"), filepath.Join(dir, "leads")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink("pipe", leads)); err != nil {
		t.Fatal(err)
	}
	_, file := certificateFor(t, time.Hour)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut, odd := filepath.Join(dir, "cut"), filepath.Join(dir, "odd")
	if err := errors.Join(os.WriteFile(cut, slices.Concat(whole, whole[:len(whole)/2]), 0o600),
		os.WriteFile(odd, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), 0o600)); err != nil {
		t.Fatal(err)
	}
	const token = "ELEVATEAI_API_TOKEN"
	tests := map[string]struct {
		args []string
		env  map[string]string
		want []string
	}{
		"typo in a flag": {args: []string{"run", "--base-ulr", "x"},
			want: []string{"--base-ulr", "--help"}},
		"typo in a command":     {args: []string{"runn"}, want: []string{"runn", "--help"}},
		"one argument too many": {args: []string{"run", "now"}, want: []string{"now", "--help"}},
		"flag without a value": {args: []string{"run", "--concurrency"},
			want: []string{"--concurrency", "has no value"}},
		"http to another host": {args: []string{"run", "--base-url", "http://vendor.example/v1"},
			want: []string{"--base-url ($ELEVATEAI_BASE_URL)", "http://vendor.example/v1", "https"}},
		"http by the variable": {args: []string{"run"},
			env:  map[string]string{"ELEVATEAI_BASE_URL": "http://vendor.example/v1"},
			want: []string{"--base-url ($ELEVATEAI_BASE_URL)", "https"}},
		"no URL": {args: []string{"run", "--base-url", "vendor"},
			want: []string{"--base-url ($ELEVATEAI_BASE_URL)", `"vendor"`, "https"}},
		"port too large": {args: []string{"run", "--base-url", "https://vendor.example:99999/v1"},
			want: []string{"--base-url ($ELEVATEAI_BASE_URL)", "https://vendor.example:99999/v1", "1 to 65535"}},
		"port 0, doctor": {args: []string{"doctor", "--base-url", "https://vendor.example:0/v1"},
			want: []string{"--base-url ($ELEVATEAI_BASE_URL)", "https://vendor.example:0/v1", "1 to 65535"}},
		"audio too often": {args: []string{"run", "--audio-interval", "29s"},
			want: []string{"--audio-interval ($STATUSWORKER_AUDIO_INTERVAL)", "29s", "30s"}},
		"chat too often": {args: []string{"run"},
			env:  map[string]string{"STATUSWORKER_CHAT_INTERVAL": "4999ms"},
			want: []string{"--chat-interval ($STATUSWORKER_CHAT_INTERVAL)", "4.999s", "5s"}},
		"transcripts too often": {args: []string{"provision", "--transcript-interval", "1s"},
			want: []string{"--transcript-interval ($STATUSWORKER_TRANSCRIPT_INTERVAL)", "1s", "5s"}},
		"interval of 0 on loopback": {args: []string{"run", "--base-url", "http://127.0.0.1:1/v1", "--chat-interval",
			"0s"}, want: []string{"--chat-interval ($STATUSWORKER_CHAT_INTERVAL)", "0s", "more than 0"}},
		"no token": {args: []string{"run"}, env: map[string]string{token: ""},
			want: []string{"$ELEVATEAI_API_TOKEN_FILE", "$ELEVATEAI_API_TOKEN,", "--api-token-file"}},
		"token and its file": {args: []string{"run", "--api-token-file", missing},
			want: []string{"--api-token ($ELEVATEAI_API_TOKEN)", "--api-token-file ($ELEVATEAI_API_TOKEN_FILE)",
				"one of them"}},
		"no token file": {args: []string{"run", "--api-token-file", missing},
			env: map[string]string{token: ""}, want: []string{"--api-token-file ($ELEVATEAI_API_TOKEN_FILE)", missing,
				"no such file"}},
		"token with a space": {args: []string{"run"}, env: map[string]string{token: "s3cret word"},
			want: []string{"--api-token ($ELEVATEAI_API_TOKEN)", "withheld",
				"--api-token-file ($ELEVATEAI_API_TOKEN_FILE)"}},
		"no duration": {args: []string{"run", "--deadline", "tomorrow"},
			want: []string{"--deadline ($STATUSWORKER_DEADLINE)", "tomorrow", "24h"}},
		"no duration in the variable": {args: []string{"run"},
			env:  map[string]string{"STATUSWORKER_NOT_FOUND_GRACE": "5"},
			want: []string{"--not-found-grace ($STATUSWORKER_NOT_FOUND_GRACE)", "5", "5m"}},
		"no admin address": {args: []string{"run", "--admin-addr", ""},
			want: []string{"--admin-addr ($STATUSWORKER_ADMIN_ADDR)", ":8080"}},
		"public profiles": {args: []string{"run", "--pprof-addr", "0.0.0.0:6060"},
			want: []string{"--pprof-addr ($STATUSWORKER_PPROF_ADDR)", "loopback"}},
		"admin port without host": {args: []string{"run", "--admin-addr", "8080"},
			want: []string{"--admin-addr ($STATUSWORKER_ADMIN_ADDR)", `"8080"`, ":8080"}},
		"no admin address, doctor": {args: []string{"doctor", "--admin-addr", ""},
			want: []string{"--admin-addr ($STATUSWORKER_ADMIN_ADDR)", ":8080"}},
		"admin port, doctor": {args: []string{"doctor", "--admin-addr", "8080"},
			want: []string{"--admin-addr ($STATUSWORKER_ADMIN_ADDR)", `"8080"`, ":8080"}},
		"admin port too large, doctor": {args: []string{"doctor"},
			env:  map[string]string{"STATUSWORKER_ADMIN_ADDR": ":65536"},
			want: []string{"--admin-addr ($STATUSWORKER_ADMIN_ADDR)", `":65536"`}},
		"profiles, doctor": {args: []string{"doctor", "--pprof-addr", ":6060"},
			want: []string{"--pprof-addr ($STATUSWORKER_PPROF_ADDR)", "loopback"}},
		"profiles port, doctor": {args: []string{"doctor", "--pprof-addr", "127.0.0.1:x"},
			want: []string{"--pprof-addr ($STATUSWORKER_PPROF_ADDR)", `"127.0.0.1:x"`}},
		"one port for two servers": {args: []string{"run", "--pprof-addr", "127.0.0.1:8080", "--admin-addr", ":8080"},
			want: []string{"--pprof-addr ($STATUSWORKER_PPROF_ADDR)", `"127.0.0.1:8080"`, "--admin-addr"}},
		"one address for two servers, doctor": {
			args: []string{"doctor", "--pprof-addr", "localhost:6060", "--admin-addr", "127.0.0.1:6060"},
			want: []string{"--pprof-addr ($STATUSWORKER_PPROF_ADDR)", `"localhost:6060"`, "--admin-addr"}},
		"exporter of traces": {args: []string{"run"}, env: map[string]string{"OTEL_TRACES_EXPORTER": "foo"},
			want: []string{"$OTEL_TRACES_EXPORTER", `"foo"`, "otlp or none"}},
		"exporter, doctor": {args: []string{"doctor"},
			env: map[string]string{"OTEL_TRACES_EXPORTER": "foo"}, want: []string{"$OTEL_TRACES_EXPORTER", `"foo"`,
				"otlp or none"}},
		"headers, doctor": {args: []string{"doctor"},
			env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp",
				"OTEL_EXPORTER_OTLP_HEADERS": "Authorization: s3cret"},
			want: []string{"$OTEL_EXPORTER_OTLP_HEADERS", "withheld", "key=value"}},
		"stretch beyond the age": {args: []string{"run", "--stretch", "1.5"},
			want: []string{"--stretch ($STATUSWORKER_STRETCH)", "1.5", "0 to 1"}},
		"a tiny rate limit": {args: []string{"run", "--max-polls-per-second", "0.001"},
			want: []string{"--max-polls-per-second ($STATUSWORKER_MAX_POLLS_PER_SECOND)", "0.001", "0.01"}},
		"grace of 0": {args: []string{"run", "--not-found-grace", "0s"},
			want: []string{"--not-found-grace ($STATUSWORKER_NOT_FOUND_GRACE)", "0s", "more than 0"}},
		"timeout of 0": {args: []string{"provision", "--request-timeout", "0s"},
			want: []string{"--request-timeout ($STATUSWORKER_REQUEST_TIMEOUT)", "0s", "more than 0"}},
		"negative deadline": {args: []string{"run", "--deadline=-1h"},
			want: []string{"--deadline ($STATUSWORKER_DEADLINE)", "-1h", "more than 0"}},
		"concurrency 0": {args: []string{"run", "--concurrency", "0"},
			want: []string{"--concurrency ($STATUSWORKER_CONCURRENCY)", "0", "4 to 4096"}},
		"concurrency 1": {args: []string{"run", "--concurrency", "1"},
			want: []string{"--concurrency ($STATUSWORKER_CONCURRENCY)", "1", "4 to 4096"}},
		"concurrency of words": {args: []string{"run"},
			env:  map[string]string{"STATUSWORKER_CONCURRENCY": "many"},
			want: []string{"--concurrency ($STATUSWORKER_CONCURRENCY)", "many", "whole number"}},
		"no NATS URL": {args: []string{"run", "--nats-url", "nats:///localhost"},
			want: []string{"--nats-url ($NATS_URL)", "nats:///localhost", "nats://host:4222"}},
		"NATS URL without host": {args: []string{"run"},
			env: map[string]string{"NATS_URL": "nats://u:s3cret@:4222"}, want: []string{"--nats-url ($NATS_URL)",
				"nats://host:4222"}},
		"NATS URL of a scheme alone": {args: []string{"run", "--nats-url", "nats://"},
			want: []string{"--nats-url ($NATS_URL)", `"nats://"`, "no host"}},
		"NATS user without host": {args: []string{"run", "--nats-url", "nats://u:s3cret@"},
			want: []string{"--nats-url ($NATS_URL)", `"nats://"`, "no host"}},
		"NATS user without scheme": {args: []string{"run", "--nats-url", "u:s3cret@host:0"},
			want: []string{"--nats-url ($NATS_URL)", `"host:0"`, "1 to 65535"}},
		"NATS password with a slash": {args: []string{"run", "--nats-url", "nats://u:s3/cret@host"},
			want: []string{"--nats-url ($NATS_URL)", `"(not a URL)"`}},
		"second NATS URL bad": {args: []string{"declare", "--nats-url", "nats://127.0.0.1:1,nats://:42"},
			want: []string{"--nats-url ($NATS_URL)", "nats://:42", "nats://host:4222"}},
		"NATS port too large": {args: []string{"status", "--nats-url", "127.0.0.1:99999"},
			want: []string{"--nats-url ($NATS_URL)", "99999", "1 to 65535"}},
		"NATS by http": {args: []string{"doctor", "--nats-url", "http://u:s3cret@host:4222"},
			want: []string{"--nats-url ($NATS_URL)", `"http"`, "nats, tls, ws or wss"}},
		"one slash in a NATS URL": {args: []string{"run", "--nats-url", "nats:/host"},
			want: []string{"--nats-url ($NATS_URL)", `"nats:/host"`, "nats://"}},
		"no NATS URL at all": {args: []string{"dlq", "ls", "--nats-url", ""},
			want: []string{"--nats-url ($NATS_URL)", "no host"}},
		"NATS with a password alone": {args: []string{"status", "--nats-password", "s3cret"},
			want: []string{"--nats-password ($NATS_PASSWORD)", "--nats-user ($NATS_USER)"}},
		"deadline of an interval": {args: []string{"run", "--deadline", "30s"},
			want: []string{"--deadline ($STATUSWORKER_DEADLINE)", "30s", "first poll"}},
		"deadline, doctor": {args: []string{"doctor", "--deadline", "30s"},
			want: []string{"--deadline ($STATUSWORKER_DEADLINE)", "30s", "first poll"}},
		"negative share": {args: []string{"run", "--stretch", "-1"},
			want: []string{"--stretch ($STATUSWORKER_STRETCH)", `"-1"`, "0 to 1"}},
		"a flag for a value": {args: []string{"run", "--deadline", "--stretch"},
			want: []string{"--deadline ($STATUSWORKER_DEADLINE)", "has no value"}},
		"no value": {args: []string{"declare", "--type"}, want: []string{"--type", "has no value"}},
		"days and more": {args: []string{"dlq", "ls", "--older-than", "1.5d"},
			want: []string{"--older-than", `"1.5d"`, "14d"}},
		"wrong flag": {args: []string{"dlq", "ls", "--nope"},
			want: []string{"--nope", "`statusworker dlq ls --help`"}},
		"wrong argument": {args: []string{"status", "now"},
			want: []string{"now", "`statusworker status --help`"}},
		"wrong command": {args: []string{"statsu"}, want: []string{"statsu", "`statusworker --help`"}},
		"no time for dead letters": {args: []string{"dlq", "purge", "--all", "--yes", "--timeout", "0s"},
			want: []string{"--timeout", "0s", "more than 0"}},
		"no credentials file": {args: []string{"run", "--nats-creds", missing},
			want: []string{"--nats-creds ($NATS_CREDS)", missing, "no such file"}},
		"inbox with a wildcard": {args: []string{"run", "--nats-inbox-prefix", "_INBOX_worker.>"},
			want: []string{"--nats-inbox-prefix ($NATS_INBOX_PREFIX)", "_INBOX_worker.>", "_INBOX_worker"}},
		"inbox with a dot": {args: []string{"status"},
			env:  map[string]string{"NATS_INBOX_PREFIX": "_INBOX."},
			want: []string{"--nats-inbox-prefix ($NATS_INBOX_PREFIX)", "dot"}},
		"no NKey file": {args: []string{"run"}, env: map[string]string{"NATS_NKEY": missing},
			want: []string{"--nats-nkey ($NATS_NKEY)", missing, "no such file"}},
		"no CA file": {args: []string{"run"}, env: map[string]string{"NATS_CA": missing},
			want: []string{"--nats-ca ($NATS_CA)", missing, "no such file"}},
		"CA file of something else": {args: []string{"status", "--nats-ca", "command_test.go"},
			want: []string{"--nats-ca ($NATS_CA)", "command_test.go", "PEM"}},
		"no vendor CA file": {args: []string{"run", "--vendor-ca", missing},
			want: []string{"--vendor-ca ($ELEVATEAI_CA_FILE)", missing, "no such file"}},
		"vendor CA of something else": {args: []string{"doctor"},
			env:  map[string]string{"ELEVATEAI_CA_FILE": "command_test.go"},
			want: []string{"--vendor-ca ($ELEVATEAI_CA_FILE)", "command_test.go", "PEM"}},
		"vendor CA is a pipe": {args: []string{"run", "--vendor-ca", pipe},
			want: []string{"--vendor-ca ($ELEVATEAI_CA_FILE)", pipe, "it is a pipe"}},
		"vendor CA is a directory": {args: []string{"run", "--vendor-ca", dir},
			want: []string{"--vendor-ca ($ELEVATEAI_CA_FILE)", dir, "it is a directory"}},
		"truncated vendor CA": {args: []string{"run", "--vendor-ca", cut},
			want: []string{"--vendor-ca ($ELEVATEAI_CA_FILE)", cut, "certificate 2"}},
		"truncated NATS CA": {args: []string{"run", "--nats-ca", cut}, want: []string{"--nats-ca ($NATS_CA)",
			cut, "certificate 2"}},
		"invalid vendor CA": {args: []string{"doctor", "--vendor-ca", odd},
			want: []string{"--vendor-ca ($ELEVATEAI_CA_FILE)", odd, "certificate 1"}},
		"certificate without key": {args: []string{"run", "--nats-cert", missing},
			want: []string{"--nats-cert ($NATS_CERT)", "--nats-key ($NATS_KEY)"}},
		"no certificate file": {args: []string{"run", "--nats-cert", missing, "--nats-key", missing},
			want: []string{"--nats-cert ($NATS_CERT)", missing, "no such file"}},
		"log level": {args: []string{"run", "--log-level", "loud"},
			want: []string{"--log-level ($STATUSWORKER_LOG_LEVEL)", "loud", "debug"}},
		"log format": {args: []string{"run"},
			env:  map[string]string{"STATUSWORKER_LOG_FORMAT": "xml"},
			want: []string{"--log-format ($STATUSWORKER_LOG_FORMAT)", "xml", "json"}},
		"redelivery": {args: []string{"provision", "--redelivery", "sleep"},
			want: []string{"--redelivery ($STATUSWORKER_REDELIVERY)", "sleep", "auto, schedule, nak"}},
		"limit below one message": {args: []string{"provision", "--declared-max-bytes", "10"},
			want: []string{"--declared-max-bytes ($STATUSWORKER_DECLARED_MAX_BYTES)", "10", "at least 262144"}},
		"two replicas": {args: []string{"provision", "--replicas", "2"},
			want: []string{"--replicas ($STATUSWORKER_REPLICAS)", "2", "1, 3 or 5"}},
		"short age": {args: []string{"provision", "--max-age", "5m"},
			want: []string{"--max-age ($STATUSWORKER_MAX_AGE)", "5m", "1h"}},
		"negative limit": {args: []string{"provision", "--declared-max-msgs=-1"},
			want: []string{"--declared-max-msgs ($STATUSWORKER_DECLARED_MAX_MSGS)", "-1", "0 or more"}},
		"identifiers without type": {args: []string{"declare", "bd5c92f3-c228-44a6-91bf-b52672569878"},
			want: []string{"--type", "audio, chat or transcript"}},
		"identifiers of no type": {args: []string{"declare", "--type", "fax",
			"bd5c92f3-c228-44a6-91bf-b52672569878"}, want: []string{"--type", "fax", "audio, chat or transcript"}},
		"type without identifiers": {args: []string{"declare", "--type", "audio"},
			want: []string{"--type", "identifiers"}},
		"data without identifiers": {args: []string{"declare", "--data", missing},
			want: []string{"--data", "identifiers"}},
		"token file is a pipe": {args: []string{"run", "--api-token-file", pipe},
			env: map[string]string{token: ""}, want: []string{"--api-token-file ($ELEVATEAI_API_TOKEN_FILE)", pipe,
				"it is a pipe", "file"}},
		"credentials are a pipe": {args: []string{"run", "--nats-creds", pipe},
			want: []string{"--nats-creds ($NATS_CREDS)", pipe, "it is a pipe", "credentials file"}},
		"NKey is a link to a pipe": {args: []string{"run", "--nats-nkey", leads},
			want: []string{"--nats-nkey ($NATS_NKEY)", leads, "it is a pipe", "NKey seed"}},
		"authorities are a pipe": {args: []string{"doctor", "--nats-ca", pipe},
			want: []string{"--nats-ca ($NATS_CA)", pipe, "it is a pipe", "PEM"}},
		"certificate is a directory": {args: []string{"status", "--nats-cert", dir, "--nats-key", missing},
			want: []string{"--nats-cert ($NATS_CERT)", dir, "it is a directory", "certificate"}},
		"key is a pipe": {args: []string{"dlq", "ls", "--nats-cert", "command_test.go", "--nats-key",
			pipe}, want: []string{"--nats-key ($NATS_KEY)", pipe, "it is a pipe", "--nats-cert"}},
		"data is a pipe": {args: []string{"declare", "--type", "audio", "--data", pipe, "x"},
			want: []string{"--data", pipe, "it is a pipe", "- for standard input"}},
		"data is a device": {args: []string{"declare", "--type", "audio", "--data", "/dev/zero", "x"},
			want: []string{"--data", "/dev/zero", "it is a device"}},
		"no data file": {args: []string{"declare", "--type", "audio", "--data", missing, "x"},
			want: []string{"--data", missing, "no such file"}},
		"dash for an identifier": {args: []string{"declare", "--type", "audio", "-"},
			want: []string{"- ", "standard input"}},
		"a document without a name": {args: []string{"schema", ""}, want: []string{`""`, "asyncapi.json"}},
		"no document":               {args: []string{"schema", "nope"}, want: []string{"nope", "asyncapi.json"}},
		"no speed": {args: []string{"dev", "--speed", "0"},
			want: []string{"--speed", "0", "1 to 50"}},
		"speed that is not a number": {args: []string{"dev", "--speed", "NaN"},
			want: []string{"--speed", "NaN", "1 to 50"}},
		"status as XML": {args: []string{"status", "-o", "xml"},
			want: []string{"--output", "xml", "table, json"}},
		"no time for status": {args: []string{"status", "--timeout", "0s"},
			want: []string{"--timeout", "0s", "more than 0"}},
		"too many for dev": {args: []string{"dev", "--count", "5001"},
			want: []string{"--count", "5001", "0 to 5000"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := command(t, test.args...)
			c.env[token] = "s3cret"
			for k, v := range test.env {
				c.env[k] = v
			}
			c.exits(exitUsage)
			if lines := c.stderr.lines(); len(lines) != 1 || !strings.HasPrefix(c.stderr.readable(), "statusworker: ") {
				t.Errorf("want one line on standard error:\n%s", &c.stderr)
			}
			if c.stdout.String() != "" {
				t.Errorf("unexpected standard output: %s", &c.stdout)
			}
			facts, said := test.want, c.stderr.readable()
			if bad := (*cli.SettingError)(nil); errors.As(c.err, &bad) {
				if bad.Name() != facts[0] {
					t.Errorf("an error about %s, want one about %s", bad.Name(), facts[0])
				}
				facts, said = facts[1:], bad.Value+": must be "+bad.Allowed
			}
			for _, fact := range facts {
				if !strings.Contains(said, fact) {
					t.Errorf("no %q in %q", fact, said)
				}
			}
			if strings.Contains(c.stderr.String(), "s3cret") {
				t.Errorf("a secret on standard error: %s", &c.stderr)
			}
		})
	}
}

// The error of a command is in JSON if its log is, so that a program can parse every line of standard error.
func TestErrorsAreInTheFormatOfTheLog(t *testing.T) {
	t.Parallel()
	const variable = "STATUSWORKER_LOG_FORMAT"
	at := nobody(t)
	for args, tt := range map[string]struct {
		value string // of the variable
		code  int
		json  bool
	}{
		"run --concurrency 1":                           {"", exitUsage, true}, // standard error is no terminal
		"run --concurrency 1 --log-format json":         {"", exitUsage, true},
		"run --log-format=json --concurrency 1":         {"text", exitUsage, true},
		"run --log-format text --concurrency 1":         {"json", exitUsage, false},
		"run --concurrency x --log-format text":         {"json", exitUsage, false},
		"run --concurrency x":                           {"text", exitUsage, false},
		"run --concurrency y":                           {" json\n", exitUsage, true},
		"run --nope --log-format text":                  {"", exitUsage, false},
		"run --nope":                                    {"json", exitUsage, true},
		"run --log-format xml":                          {"text", exitUsage, false}, // a wrong value counts as unset
		"run --log-level=loud":                          {"json", exitUsage, true},
		"status --timeout 1ms --nats-url " + at:         {"", exitFault, true},
		"dlq ls --log-format text --timeout 1ms":        {"", exitFault, false},
		"dlq show --nope":                               {"", exitUsage, true},
		"provision --log-format json --timeout=1ms":     {"", exitFault, true},
		"declare --type fax " + someID:                  {"", exitUsage, true},
		"doctor --log-format text --deadline 1s":        {"", exitUsage, false},
		"schema nope":                                   {"json", exitUsage, false}, // it has no log
		"dev --speed 0":                                 {"json", exitUsage, false},
		"simulator --after 0s":                          {"json", exitUsage, false},
		"dlq":                                           {"json", exitUsage, false},
		"runn":                                          {"json", exitUsage, false},
		"status --log-format json --timeout 1ms " + "x": {"", exitUsage, true},
	} {
		c := command(t, strings.Fields(args)...)
		c.env[variable], c.env["NATS_URL"], c.env["ELEVATEAI_API_TOKEN"] = tt.value, at, simulator.DefaultToken
		c.exits(tt.code)
		lines := c.stderr.lines()
		var record struct {
			Level, Msg, Error string
			ExitCode          int `json:"exit_code"`
		}
		last := lines[len(lines)-1]
		err := json.Unmarshal([]byte(last), &record)
		if inJSON := err == nil; inJSON != tt.json {
			t.Errorf("%s with %q: in JSON: %t, want %t: %s", args, tt.value, inJSON, tt.json, last)
			continue
		}
		if tt.json && (record.Level != "error" || record.Error != c.err.Error() || record.ExitCode != tt.code) {
			t.Errorf("%s: %+v, want the error %v and the exit code %d", args, record, c.err, tt.code)
		}
		if !tt.json && last != "statusworker: "+cli.OneLine(c.err) {
			t.Errorf("%s: %q, want the error %v", args, last, c.err)
		}
	}
}

func TestVariablesCountAndFlagsWin(t *testing.T) {
	t.Parallel()
	// Both are invalid, so that the error shows which of them was read.
	c := command(t, "run")
	c.env["STATUSWORKER_CONCURRENCY"] = "2"
	if bad := c.rejects("--concurrency ($STATUSWORKER_CONCURRENCY)"); bad.Value != `"2"` {
		t.Errorf("value %s, want that of the variable", bad.Value)
	}

	c = command(t, "run", "--concurrency", "3")
	c.env["STATUSWORKER_CONCURRENCY"] = "2"
	if bad := c.rejects("--concurrency ($STATUSWORKER_CONCURRENCY)"); bad.Value != `"3"` {
		t.Errorf("value %s, want that of the flag", bad.Value)
	}
}

func TestEmptyVariableCountsAsUnset(t *testing.T) {
	t.Parallel()
	c := command(t, "run")
	c.env["STATUSWORKER_CONCURRENCY"] = ""
	says(t, "standard error", &c.exits(exitUsage).stderr, "--api-token") // the first missing setting
}

func TestEveryFlagHasAVariable(t *testing.T) {
	t.Parallel()
	of := map[string]string{}
	for _, name := range []string{"run", "provision"} {
		for _, f := range flagsOf(t, name) {
			v := f.Tag.Get("var")
			switch {
			case slices.Contains([]string{"dry-run", "update", "timeout", "output", "output-dir"}, f.Name):
				// of one call, not of a deployment
			case v == "":
				t.Errorf("%s --%s has no variable", name, f.Name)
			case of[v] != "" && of[v] != f.Name:
				t.Errorf("$%s is the variable of --%s and of --%s", v, of[v], f.Name)
			}
			of[v] = f.Name
		}
	}
}

func TestHelpShowsVariables(t *testing.T) {
	t.Parallel()
	c := command(t, "run", "--help").exits(exitOK)
	says(t, "help", &c.stdout, "--base-url", "$ELEVATEAI_BASE_URL", "$NATS_URL", "$STATUSWORKER_CONCURRENCY")
	says(t, "help", &command(t, "--help").exits(exitOK).stdout, "provision", "declare", "dev")
}

// Without a command, the program writes its help to standard error, and exits with 2.
func TestNoCommand(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"":    {"run", "declare", "provision", "simulator"},
		"dlq": {"dlq ls", "dlq show", "dlq replay", "dlq purge"},
	} {
		c := command(t, strings.Fields(args)...).exits(exitUsage)
		says(t, "standard error", &c.stderr, append(want, "--help")...)
		if c.stdout.String() != "" {
			t.Errorf("%q: standard output has %q", args, &c.stdout)
		}
		if !errors.As(c.err, new(*cli.UsageError)) {
			t.Errorf("%q: error %v, want a usage error", args, c.err)
		}
	}
}

func TestVersionAndSchema(t *testing.T) {
	t.Parallel()
	says(t, "version", &command(t, "version").exits(exitOK).stdout, "statusworker ")
	says(t, "version", &command(t, "--version").exits(exitOK).stdout, "statusworker "+versionString())
	says(t, "a schema by its stem", &command(t, "schema", "declared").exits(exitOK).stdout, "interactionIdentifier")
	says(t, "the AsyncAPI document by its stem", &command(t, "schema", "AsyncAPI").exits(exitOK).stdout, `"asyncapi"`)
	c := command(t, "schema").exits(exitOK)
	for _, name := range c.stdout.lines() {
		says(t, name, &command(t, "schema", name).exits(exitOK).stdout, "{")
	}
	// An example can be published.
	example := command(t, "schema", "--example", "declared").exits(exitOK).stdout.String()
	if _, err := schema.Decode([]byte(example)); err != nil {
		t.Errorf("the example of a declared message: %v", err)
	}
}

// full is a writer to a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// A failed write to standard output is an error for each command.
func TestFullStandardOutput(t *testing.T) {
	t.Parallel()
	at, _ := provisioned(t)
	for _, args := range [][]string{
		{"--help"}, {"dlq", "--help"}, {"version"}, {"--version"}, {"schema"}, {"schema", "declared"},
		{"provision", "--dry-run", "--nats-url", at}, {"status", "--nats-url", at},
	} {
		var stderr output
		code, _ := run(t.Context(), cli.Process{
			Args: args, Getenv: func(string) string { return "" }, Stdin: strings.NewReader(""), Stdout: full{},
			Stderr: &stderr, Leave: t.Context(),
		})
		if code != exitFault || !strings.HasPrefix(stderr.readable(), "statusworker: ") ||
			!strings.HasSuffix(stderr.readable(), "no space left on device\n") {
			t.Errorf("%v: exit code %d, want %d; standard error %q", args, code, exitFault, &stderr)
		}
	}
}
