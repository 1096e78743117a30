package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/doctor"
	"statusworker/statusclient/simulator"
)

// White space around the value of any flag is ignored.
func TestWhiteSpaceAroundValuesIsIgnored(t *testing.T) {
	t.Parallel()
	for _, space := range []string{"\n", "\r\n", " \t", "\uFEFF", "\u00A0\n"} {
		for _, by := range []string{"variable", "flag"} {
			c := command(t, "run")
			c.env["ELEVATEAI_API_TOKEN"] = space // counts as unset
			for _, f := range flagsOf(t, "run") {
				switch value := space + f.Default + space; {
				case f.Default == "" || f.Name == "admin-addr":
				case by == "flag":
					c.args = append(c.args, "--"+f.Name+"="+value)
				default:
					c.env[f.Tag.Get("var")] = value
				}
			}
			says(t, "standard error", &c.exits(exitUsage).stderr, "--api-token") // the first missing setting
		}
	}
	const password = "right"
	at := bare(t, server.Options{Username: "worker", Password: password})
	v := vendor(t, simulator.Config{})
	c := command(t, "doctor", "-o", "json")
	for name, value := range map[string]string{
		"NATS_URL": at, "NATS_USER": "worker", "NATS_PASSWORD": password, "ELEVATEAI_BASE_URL": v.URL(),
		"ELEVATEAI_API_TOKEN": simulator.DefaultToken,
	} {
		c.env[name] = value + "\r\n"
	}
	c.exits(exitFault) // no JetStream
	found := map[string]doctor.Result{}
	for _, f := range findings(t, c) {
		found[f.Check] = f.Result
	}
	for _, check := range []string{"connection", "vendor", "vendor token"} {
		if found[check] != doctor.Pass {
			t.Errorf("%s is %s in:\n%s", check, found[check], &c.stdout)
		}
	}
}

// findings returns the findings of a call of `doctor -o json`.
func findings(t *testing.T, c *call) (list []doctor.Finding) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.stdout.String()), &list); err != nil {
		t.Fatalf("%v in:\n%s", err, &c.stdout)
	}
	return list
}

// findingOf returns the finding of one check.
func findingOf(t *testing.T, c *call, check string) doctor.Finding {
	t.Helper()
	list := findings(t, c)
	i := slices.IndexFunc(list, func(f doctor.Finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("no check %s in %+v", check, list)
	}
	return list[i]
}

// Quotation marks around the value of any flag are rejected, with an error that does not show the value.
func TestQuotationMarksAreRejected(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, name := range []string{"run", "provision", "doctor"} {
		for _, f := range flagsOf(t, name) {
			variable := f.Tag.Get("var")
			if variable == "" || f.IsBool() || seen[variable] {
				continue
			}
			seen[variable] = true
			value := `"c4nary` + f.Default + `"`
			byFlag, byVariable := command(t, name, "--"+f.Name, value), command(t, name)
			byVariable.env[variable] = value + "\n"
			for _, c := range []*call{byFlag, byVariable} {
				if bad := c.rejects("--" + f.Name + " ($" + variable + ")"); bad.Value != "in quotation marks" {
					t.Errorf("%v, want that the value is in quotation marks", bad)
				}
				if len(c.stderr.lines()) != 1 || strings.Contains(c.stderr.String(), "c4nary") {
					t.Errorf("standard error has:\n%s", &c.stderr)
				}
			}
		}
	}
	for _, variable := range []string{
		"OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS",
		"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_CERTIFICATE",
		"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_TRACES_SAMPLER", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME",
		"OTEL_SDK_DISABLED", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "no_proxy",
	} {
		for _, name := range []string{"run", "doctor"} {
			if name == "doctor" && !strings.HasPrefix(variable, "OTEL_EXPORTER") { // the check is the same
				continue
			}
			c := command(t, name)
			c.env["ELEVATEAI_API_TOKEN"], c.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "s3cret", "http://127.0.0.1:1"
			c.env[variable] = `"c4nary"`
			if bad := c.rejects("$" + variable); bad.Value != "in quotation marks" {
				t.Errorf("%v, want that the value is in quotation marks", bad)
			}
			if strings.Contains(c.stderr.String(), "c4nary") {
				t.Errorf("standard error has:\n%s", &c.stderr)
			}
		}
	}
}

// Commands that send requests reject a malformed proxy.
func TestMalformedProxyIsRejected(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"run", "doctor"} {
		c := command(t, name)
		c.env["ELEVATEAI_API_TOKEN"], c.env["https_proxy"] = "s3cret", "http//proxy.example:3128"
		c.rejects("$https_proxy")
	}
}

// Every command warns of variables with the program's prefixes that no flag reads.
func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	near := map[string]string{
		"STATUSWORKER_CONCURENCY":          "STATUSWORKER_CONCURRENCY",
		"STATUSWORKER_SHUTDOWN_TIME_OUT":   "STATUSWORKER_SHUTDOWN_TIMEOUT",
		"statusworker_log_level":           "STATUSWORKER_LOG_LEVEL",
		"ELEVATEAI_TOKEN":                  "ELEVATEAI_API_TOKEN",
		"ELEVATEAI_TOKEN_FILE":             "ELEVATEAI_API_TOKEN_FILE",
		"ELEVATEAI_URL":                    "ELEVATEAI_BASE_URL",
		"STATUSWORKER_API_TOKEN":           "ELEVATEAI_API_TOKEN",
		"STATUSWORKER_NATS_URL":            "NATS_URL",
		"STATUSWORKER_ADMIN_PORT":          "STATUSWORKER_ADMIN_ADDR",
		"STATUSWORKER_QQQQQQQQQQQQQQQQQQQ": "",
		"NATS_URI":                         "NATS_URL",
		"nats_url":                         "NATS_URL",
		"NATS_SERVER":                      "NATS_URL",
		"NATS_PASWORD":                     "NATS_PASSWORD",
		"NATS_PASS":                        "NATS_PASSWORD",
		"NATS_USERNAME":                    "NATS_USER",
		"NATS_CREDS_FILE":                  "NATS_CREDS",
		"NATS_CA_FILE":                     "NATS_CA",
		"NATS_INBOX_PREFX":                 "NATS_INBOX_PREFIX",
	}
	known := []string{
		"STATUSWORKER_CONCURRENCY=64", "STATUSWORKER_REPLICAS=3", "ELEVATEAI_API_TOKEN=s3cret",
		"STATUSWORKER_REQUIRE_ENGINE=1", "STATUSWORKER_TEST_FIGURES=x", "STATUSWORKER_DEADLIN=",
		"STATUSWORKER_SERVICE_HOST=10.0.0.1", "STATUSWORKER_SERVICE_PORT=8080", "STATUSWORKER_SERVICE_PORT_ADMIN=8080",
		"STATUSWORKER_PORT=tcp://10.0.0.1:8080", "STATUSWORKER_PORT_8080_TCP=tcp://10.0.0.1:8080",
		"STATUSWORKER_PORT_8080_TCP_ADDR=10.0.0.1", "STATUSWORKER_PORT_8080_TCP_PORT=8080",
		"STATUSWORKER_PORT_53_UDP_PROTO=udp", "STATUSWORKER_METRICS_SERVICE_HOST=10.0.0.2",
		"ELEVATEAI_PORT=tcp://10.0.0.3:443",
		"NATS_SERVICE_HOST=10.0.0.4", "NATS_PORT=tcp://10.0.0.4:4222", "NATS_PORT_4222_TCP_ADDR=10.0.0.4",
		"NATS_TIMEOUT=5s", "NATS_COLOR=red", "NATS_USER=me",
		"PATH=/bin", "OTHER_STATUSWORKER_X=1",
	}
	at, _ := provisioned(t)
	for _, args := range [][]string{
		{"version"}, {"schema"}, {"status", "--nats-url", at}, {"provision", "--nats-url", at, "--dry-run"}, {"dlq",
			"ls", "--nats-url", at}, {"run", "--concurrency", "1"},
		{"doctor", "--nats-url", at, "--log-format", "json"}, {"declare", "--nats-url", at},
	} {
		var stdout, stderr output
		environ := slices.Clone(known)
		for name := range near {
			environ = append(environ, name+"=s3cret-value")
		}
		run(t.Context(), cli.Process{
			Args: args, Getenv: func(string) string { return "" }, Environ: environ, Stdin: strings.NewReader(""),
			Stdout: &stdout, Stderr: &stderr, Leave: t.Context(),
		})
		warned := map[string]string{}
		for _, line := range stderr.lines() {
			var record struct {
				Level, Variable string
				DidYouMean      string `json:"did_you_mean"`
			}
			if json.Unmarshal([]byte(line), &record) == nil && record.Variable != "" {
				if record.Level != "warning" {
					t.Errorf("level %s in %s", record.Level, line)
				}
				warned[record.Variable] = record.DidYouMean
			}
		}
		for name, want := range near {
			if got, ok := warned[name]; !ok || got != want {
				t.Errorf("%v: warning about %s: %t, with the suggestion %q, want %q", args, name, ok, got, want)
			}
		}
		if len(warned) != len(near) || strings.Contains(stderr.String(), "s3cret-value") {
			t.Errorf("%v: standard error has\n%s", args, &stderr)
		}
	}
}

// Variables in the scripts and documents of the repository cause no warning.
func TestVariablesOfTheRepositoryAreKnown(t *testing.T) {
	t.Parallel()
	var known []string
	for _, f := range cli.FlagsBelow(model(t).Node) {
		known = append(known, f.Tag.Get("var"))
	}
	named := regexp.MustCompile(`\b(STATUSWORKER|ELEVATEAI|NATS)(_[A-Z]+)+\b`)
	n := 0
	for _, place := range []string{"../../README.md", "../../docs", "../../.ci", "../../deploy", "../../integration",
		"../../Dockerfile"} {
		err := filepath.WalkDir(place, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			for _, name := range named.FindAllString(string(text), -1) {
				n++
				if unknown := cli.UnknownVariables([]string{name + "=x"}, known); len(unknown) > 0 {
					t.Errorf("%s names %s", path, name)
				}
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if n < 50 {
		t.Errorf("found %d names", n)
	}
}

// OpenTelemetry reads the environment itself, and does not trim all values. The process trims them first.
func TestOTelVariablesWithWhiteSpace(t *testing.T) {
	t.Parallel()
	at, _ := provisioned(t)
	v := newBlockingVendor(t)
	env := workerEnv(at, v.url)
	env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_BSP_MAX_QUEUE_SIZE"],
		env["OTEL_TRACES_EXPORTER"] = "http://127.0.0.1:1\n", " 10\n", "otlp\n"
	c := processOf(t, env, "run").launch()
	c.logs(`"working"`)
	if strings.Contains(c.stderr.String(), "OpenTelemetry") {
		t.Errorf("OpenTelemetry logs an error:\n%s", &c.stderr)
	}
}
