package telemetry

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	"golang.org/x/net/http/httpguts"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/credential"
	"statusworker/cmd/internal/mask"
	"statusworker/schema"
	"statusworker/statusclient"
)

// otelVariables returns the value of an environment variable. OpenTelemetry reads its variables itself. It ignores bad
// values, or panics; therefore they are checked here first.
type otelVariables func(name string) string

// Check checks OpenTelemetry's variables. It checks nothing if they name no receiver of traces, or disable tracing.
func Check(ctx context.Context, getenv func(string) string) error {
	_, err := resourceOf(ctx, getenv, "")
	return err
}

// resourceOf checks OpenTelemetry's variables, and returns the resource that they describe. It is nil if they name no
// receiver of traces, or disable tracing.
func resourceOf(ctx context.Context, getenv otelVariables, version string) (*resource.Resource, error) {
	quoted := ""
	about, err := check(ctx, version, func(name string) string {
		value := getenv(name)
		if cli.InQuotes(value) {
			quoted = cmp.Or(quoted, name)
		}
		return value
	})
	if quoted != "" && (about != nil || err != nil) {
		return nil, cli.QuotedVariable(quoted)
	}
	return about, err
}

func check(ctx context.Context, version string, getenv otelVariables) (*resource.Resource, error) {
	exporter := getenv("OTEL_TRACES_EXPORTER")
	_, endpoint := getenv.otlp("ENDPOINT")
	switch {
	case strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true"), exporter == "none", exporter == "" && endpoint == "":
		return nil, nil
	case exporter != "" && exporter != "otlp":
		return nil, cli.BadVariable("OTEL_TRACES_EXPORTER", schema.Quote(exporter), "otlp or none")
	}
	for _, check := range []func() error{
		getenv.checkProtocol, getenv.checkEndpoint, getenv.checkHeaders, getenv.checkCompression,
		getenv.checkTimeout, getenv.checkCertificates, getenv.checkNumbers, getenv.checkSampler, getenv.checkAttributes,
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	service := []attribute.KeyValue{
		attribute.String("service.name", "statusworker"), attribute.String("service.version", version),
	}
	// Later options override earlier ones: the environment wins.
	about, err := resource.New(ctx, resource.WithAttributes(service...), resource.WithHost(),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, cli.Usagef("$OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return about, nil
}

// checkAttributes checks the variables that resource.New does not reject.
func (getenv otelVariables) checkAttributes() error {
	for _, name := range []string{"OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"} {
		if cli.InQuotes(getenv(name)) {
			return cli.QuotedVariable(name)
		}
	}
	return nil
}

// otlp returns the variable that is in effect for a setting: the one for traces, or else the general one.
func (getenv otelVariables) otlp(setting string) (name, value string) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_" + setting, "OTEL_EXPORTER_OTLP_" + setting} {
		if value := strings.TrimSpace(getenv(name)); value != "" {
			return name, value
		}
	}
	return "", ""
}

func (getenv otelVariables) checkProtocol() error {
	if name, protocol := getenv.otlp("PROTOCOL"); name != "" && protocol != "http/protobuf" {
		return cli.BadVariable(
			name,
			schema.Quote(protocol),
			"http/protobuf (the receiver's HTTP port, 4318 by default)",
		)
	}
	return nil
}

func (getenv otelVariables) checkEndpoint() error {
	name, value := getenv.otlp("ENDPOINT")
	if name == "" {
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return cli.BadVariable(name, schema.Quote(mask.URL(value)), "a URL, such as http://127.0.0.1:4318")
	}
	if err := statusclient.CheckAddress(u); err != nil {
		return cli.BadVariable(name, schema.Quote(mask.URL(value)),
			fmt.Sprintf("a URL, such as http://127.0.0.1:4318 (%v)", err))
	}
	return nil
}

func (getenv otelVariables) checkCompression() error {
	if name, value := getenv.otlp("COMPRESSION"); name != "" && value != "gzip" && value != "none" {
		return cli.BadVariable(name, schema.Quote(value), "gzip or none")
	}
	return nil
}

func (getenv otelVariables) checkTimeout() error {
	name, value := getenv.otlp("TIMEOUT")
	if name == "" {
		return nil
	}
	if n, err := strconv.Atoi(value); err != nil || n < 0 || n > math.MaxInt32 {
		return cli.BadVariable(name, schema.Quote(value), milliseconds)
	}
	return nil
}

const milliseconds = "a whole number of milliseconds, 0 or more"

// checkCertificates checks the files that OpenTelemetry will read.
func (getenv otelVariables) checkCertificates() error {
	given, path := getenv.otlp("CERTIFICATE")
	if given != "" {
		if err := credential.AddCertificates(x509.NewCertPool(), path); err != nil {
			return cli.BadVariable(given, path, fmt.Sprintf("a file with certificates in PEM (%v)", err))
		}
	}
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_", "OTEL_EXPORTER_OTLP_CLIENT_"} {
		certificate, key := strings.TrimSpace(getenv(prefix+"CERTIFICATE")), strings.TrimSpace(getenv(prefix+"KEY"))
		if certificate == "" && key == "" {
			continue
		}
		given = prefix + "CERTIFICATE"
		if err := checkKeyPair(given, certificate, prefix+"KEY", key); err != nil {
			return err
		}
		break
	}
	if given != "" && getenv.insecure() {
		return cli.BadVariable(given, "set, but the endpoint is http", "unset, or the endpoint https")
	}
	return nil
}

// checkKeyPair checks the variables of a client certificate and of its key.
func checkKeyPair(certificateVariable, certificate, keyVariable, key string) error {
	switch {
	case certificate == "":
		return cli.BadVariable(certificateVariable, `""`, "set together with $"+keyVariable)
	case key == "":
		return cli.BadVariable(keyVariable, `""`, "set together with $"+certificateVariable)
	}
	allowed := "a certificate with its key in $" + keyVariable
	if err := credential.Readable(certificate); err != nil {
		return cli.BadVariable(certificateVariable, certificate, fmt.Sprintf("%s (%v)", allowed, err))
	}
	if err := credential.Readable(key); err != nil {
		return cli.BadVariable(keyVariable, key,
			fmt.Sprintf("a file with the key of $%s (%v)", certificateVariable, err))
	}
	if _, err := tls.LoadX509KeyPair(certificate, key); err != nil {
		return cli.BadVariable(certificateVariable, certificate, fmt.Sprintf("%s (%v)", allowed, err))
	}
	return nil
}

// insecure reports whether traces go without TLS.
func (getenv otelVariables) insecure() bool {
	if _, value := getenv.otlp("INSECURE"); value != "" {
		return strings.EqualFold(value, "true")
	}
	_, endpoint := getenv.otlp("ENDPOINT")
	return strings.HasPrefix(strings.ToLower(endpoint), "http:")
}

// checkHeaders checks both variables, because OpenTelemetry parses both. It shows neither keys nor values: text that is
// not a valid key may be a secret.
func (getenv otelVariables) checkHeaders() error {
	for _, name := range headerVariables {
		text := strings.TrimSpace(getenv(name))
		if text == "" {
			continue
		}
		for i, pair := range strings.Split(text, ",") {
			if _, err := headerValue(pair); err != nil {
				return cli.BadVariable(name, fmt.Sprintf("%s (pair %d %v)", mask.Withheld, i+1, err),
					"key=value, separated by commas, with values percent-encoded")
			}
		}
	}
	return nil
}

var (
	headerVariables   = []string{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"}
	endpointVariables = []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"}
)

// Secrets returns the users and passwords in the endpoints, and the values of the headers, with and without a scheme
// such as Bearer.
func Secrets(getenv func(string) string) (all []string) {
	for _, name := range endpointVariables {
		all = append(all, mask.UserInfo(getenv(name))...)
	}
	for _, name := range headerVariables {
		for pair := range strings.SplitSeq(getenv(name), ",") {
			value, err := headerValue(pair)
			if err != nil {
				continue // see checkHeaders
			}
			all = append(all, value)
			if words := strings.Fields(value); len(words) > 1 {
				all = append(all, words[1:]...)
			}
		}
	}
	return all
}

// headerValue returns the value of a pair key=value. Its errors do not show the pair, which may be a secret.
func headerValue(pair string) (string, error) {
	key, encoded, found := strings.Cut(pair, "=")
	if !found {
		return "", errors.New("has no =")
	}
	if !httpguts.ValidHeaderFieldName(strings.TrimSpace(key)) {
		return "", errors.New("has a key that is not a header name")
	}
	value, err := url.PathUnescape(encoded)
	if err != nil {
		return "", errors.New("has a value with an invalid percent-encoding")
	}
	if value = strings.TrimSpace(value); !httpguts.ValidHeaderFieldValue(value) {
		return "", errors.New("has a value with a control character")
	}
	return value, nil
}

// maxSpans limits the queue of spans in memory.
const maxSpans = 1_000_000

func (getenv otelVariables) checkNumbers() error {
	for _, number := range []struct {
		name     string
		min, max int
		allowed  string
	}{
		{"OTEL_BSP_MAX_QUEUE_SIZE", 1, maxSpans, "a whole number from 1 to 1000000"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, maxSpans, "a whole number from 1 to 1000000"},
		{"OTEL_BSP_SCHEDULE_DELAY", 0, math.MaxInt32, milliseconds},
		{"OTEL_BSP_EXPORT_TIMEOUT", 0, math.MaxInt32, milliseconds},
		{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", math.MinInt32, math.MaxInt32, "a whole number"},
		{"OTEL_ATTRIBUTE_COUNT_LIMIT", math.MinInt32, math.MaxInt32, "a whole number"},
		{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", math.MinInt32, math.MaxInt32, "a whole number"},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", math.MinInt32, math.MaxInt32, "a whole number"},
		{"OTEL_SPAN_EVENT_COUNT_LIMIT", math.MinInt32, math.MaxInt32, "a whole number"},
		{"OTEL_SPAN_LINK_COUNT_LIMIT", math.MinInt32, math.MaxInt32, "a whole number"},
		{"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", math.MinInt32, math.MaxInt32, "a whole number"},
		{"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", math.MinInt32, math.MaxInt32, "a whole number"},
	} {
		value := getenv(number.name)
		if value == "" {
			continue
		}
		if n, err := strconv.Atoi(value); err != nil || n < number.min || n > number.max {
			return cli.BadVariable(number.name, schema.Quote(value), number.allowed)
		}
	}
	return nil
}

// checkSampler allows the built-in samplers of OpenTelemetry.
func (getenv otelVariables) checkSampler() error {
	name := strings.ToLower(strings.TrimSpace(getenv("OTEL_TRACES_SAMPLER")))
	arg := strings.TrimSpace(getenv("OTEL_TRACES_SAMPLER_ARG"))
	switch name {
	case "", "always_on", "always_off", "parentbased_always_on", "parentbased_always_off":
		return nil
	case "traceidratio", "parentbased_traceidratio":
		if ratio, err := strconv.ParseFloat(arg, 64); arg != "" && (err != nil || !(ratio >= 0 && ratio <= 1)) {
			return cli.BadVariable("OTEL_TRACES_SAMPLER_ARG", schema.Quote(arg), "a number from 0 to 1")
		}
		return nil
	}
	return cli.BadVariable("OTEL_TRACES_SAMPLER", schema.Quote(name),
		"always_on, always_off, traceidratio, or one of these prefixed with parentbased_")
}
