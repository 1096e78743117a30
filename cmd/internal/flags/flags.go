// Package flags defines the flags that several commands share, and checks their values.
package flags

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"statusworker/cmd/admin"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/credential"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient"
)

// Base has the flag for the address of ElevateAI.
type Base struct {
	BaseURL string `name:"base-url" var:"ELEVATEAI_BASE_URL" secret:"url" default:"https://api.elevateai.com/v1" help:"Base URL of the ElevateAI API, without /interactions. Must be https, except on a loopback address."`
}

// Vendor has the flags for requests to ElevateAI.
type Vendor struct {
	Base
	Token     string `name:"api-token" var:"ELEVATEAI_API_TOKEN" secret:"token" placeholder:"TOKEN" help:"ElevateAI API token. Prefer --api-token-file: other users of the host can read a command line."`
	TokenFile string `name:"api-token-file" var:"ELEVATEAI_API_TOKEN_FILE" placeholder:"FILE" help:"File that holds the ElevateAI API token. Reread every 10 s, and before each request while ElevateAI rejects the token."`
	VendorCA  string `name:"vendor-ca" var:"ELEVATEAI_CA_FILE" placeholder:"FILE" help:"File of certificate authorities, in PEM, to trust for ElevateAI or for a proxy that inspects TLS, in addition to the system's."`
}

// Trusted returns the certificate authorities to trust. nil means the system's.
func (f Vendor) Trusted() (*x509.CertPool, error) {
	if f.VendorCA == "" {
		return nil, nil
	}
	trusted, err := x509.SystemCertPool()
	if err != nil {
		trusted = x509.NewCertPool()
	}
	if err := credential.AddCertificates(trusted, f.VendorCA); err != nil {
		return nil, cli.BadFlag(f, "vendor-ca", schema.Quote(f.VendorCA),
			fmt.Sprintf("a file with certificates in PEM (%v)", err))
	}
	return trusted, nil
}

// Timing has the poll intervals and the request timeout. With delayed naks, the AckWait of the NATS consumers depends
// on them.
type Timing struct {
	AudioInterval      time.Duration `name:"audio-interval" var:"STATUSWORKER_AUDIO_INTERVAL" default:"30s" help:"Minimum time between two polls of one audio interaction. At least 30s, unless --base-url is a loopback address."`
	ChatInterval       time.Duration `name:"chat-interval" var:"STATUSWORKER_CHAT_INTERVAL" default:"5s" help:"Minimum time between two polls of one chat. At least 5s, unless --base-url is a loopback address."`
	TranscriptInterval time.Duration `name:"transcript-interval" var:"STATUSWORKER_TRANSCRIPT_INTERVAL" default:"5s" help:"Minimum time between two polls of one transcript. At least 5s, unless --base-url is a loopback address."`
	RequestTimeout     time.Duration `name:"request-timeout" var:"STATUSWORKER_REQUEST_TIMEOUT" default:"10s" help:"Timeout of one status request, at most 1m."`
}

// Work has the flags of the worker alone.
type Work struct {
	Deadline        time.Duration `name:"deadline" var:"STATUSWORKER_DEADLINE" default:"24h" help:"Age at which an interaction without a final status becomes a dead letter."`
	NotFoundGrace   time.Duration `name:"not-found-grace" var:"STATUSWORKER_NOT_FOUND_GRACE" default:"5m" help:"Minimum time from the first to the last of three or more consecutive refusals (404, 400, 409, 410, 418, 422, 423, 424 or 451, always the same) before the interaction becomes a dead letter. If this is not shorter than --deadline, the deadline ends the interaction first, and the worker logs a warning."`
	FailedStatus    []string      `name:"failed-status" var:"STATUSWORKER_FAILED_STATUS" placeholder:"NAME" sep:"," help:"Unknown ElevateAI status that means failure: the interaction becomes a dead letter with the reason vendor_failed. Repeat the flag for several, or separate them by commas."`
	Concurrency     int           `name:"concurrency" var:"STATUSWORKER_CONCURRENCY" default:"64" help:"Maximum number of messages that a worker handles at a time: polls in flight, and declared messages that it takes in."`
	MaxPolls        float64       `name:"max-polls-per-second" var:"STATUSWORKER_MAX_POLLS_PER_SECOND" default:"0" help:"Rate limit of all live workers of the namespace together, in requests per second, divided equally among them. Set the same value on every worker. 0 disables it."`
	Stretch         float64       `name:"stretch" var:"STATUSWORKER_STRETCH" default:"0" help:"Poll old interactions less often: wait for this fraction of their age between two polls, if that is longer than the poll interval. With 0.1, an interaction that is one hour old is polled every 6 minutes. 0 disables it."`
	StretchLimit    time.Duration `name:"stretch-limit" var:"STATUSWORKER_STRETCH_LIMIT" default:"10m" help:"Maximum wait that --stretch causes between two polls."`
	ShutdownTimeout time.Duration `name:"shutdown-timeout" var:"STATUSWORKER_SHUTDOWN_TIMEOUT" default:"20s" help:"How long in-flight polls may take to finish after SIGTERM."`
}

// Admin has the addresses of the HTTP servers for operators.
type Admin struct {
	AdminAddr string `name:"admin-addr" var:"STATUSWORKER_ADMIN_ADDR" default:":8080" help:"Address that serves /metrics, /livez, /readyz and /statusz."`
	PprofAddr string `name:"pprof-addr" var:"STATUSWORKER_PPROF_ADDR" placeholder:"ADDR" help:"Loopback address that serves Go's profiles (/debug/pprof), such as 127.0.0.1:6060. Disabled by default."`
}

// Check rejects invalid addresses. It does not check whether they are free on this host.
func (f Admin) Check() error {
	if f.AdminAddr == "" { // net.Listen would choose a random port on all interfaces
		return cli.BadFlag(f, "admin-addr", `""`, "an address, such as :8080 or 127.0.0.1:8080")
	}
	admins, err := net.ResolveTCPAddr("tcp", f.AdminAddr)
	if err != nil {
		return f.badAdmin(err)
	}
	if f.PprofAddr == "" {
		return nil
	}
	if err := admin.CheckPprof(f.PprofAddr); err != nil {
		return f.badPprof(err)
	}
	profiles, err := net.ResolveTCPAddr("tcp", f.PprofAddr)
	switch {
	case err != nil:
		return f.badPprof(err)
	case profiles.Port == 0 || profiles.Port != admins.Port: // port 0 is a free one
	case admins.IP == nil || admins.IP.IsUnspecified() || admins.IP.Equal(profiles.IP):
		return f.badPprof(fmt.Errorf("--admin-addr, %s, uses its port", schema.Quote(f.AdminAddr)))
	}
	return nil
}

func (f Admin) badAdmin(why error) error {
	return cli.BadFlag(f, "admin-addr", schema.Quote(f.AdminAddr),
		fmt.Sprintf("an address that can be listened on, such as :8080 (%v)", why))
}

func (f Admin) badPprof(why error) error {
	return cli.BadFlag(f, "pprof-addr", schema.Quote(f.PprofAddr),
		fmt.Sprintf("a loopback address that can be listened on, such as 127.0.0.1:6060 (%v)", why))
}

// Listen starts the servers. closing stops them, and is nil only on an error.
func (f Admin) Listen(m *admin.Metrics) (server *admin.Server, closing func(), err error) {
	if err := f.Check(); err != nil {
		return nil, nil, err
	}
	server, err = admin.Listen(f.AdminAddr, m)
	if err != nil {
		return nil, nil, f.badAdmin(err)
	}
	if f.PprofAddr == "" {
		return server, server.Close, nil
	}
	profiles, err := admin.ListenPprof(f.PprofAddr)
	if err != nil {
		server.Close()
		return nil, nil, f.badPprof(err)
	}
	return server, func() { server.Close(); profiles.Close() }, nil
}

// Worker has the flags that set fields of consumer.Config and statusclient.Config.
type Worker struct {
	Vendor
	Timing
	Work
}

// flagOf maps fields of a package's Config to the flag that sets them.
var flagOf = map[string]string{
	"BaseURL":              "base-url",
	"Token":                "api-token",
	"TokenFile":            "api-token-file",
	"Timeout":              "request-timeout",
	"RequestTimeout":       "request-timeout",
	"Intervals.Audio":      "audio-interval",
	"Intervals.Chat":       "chat-interval",
	"Intervals.Transcript": "transcript-interval",
	"Deadline":             "deadline",
	"NotFoundGrace":        "not-found-grace",
	"FailedStatuses":       "failed-status",
	"Concurrency":          "concurrency",
	"MaxPollsPerSecond":    "max-polls-per-second",
	"Stretch":              "stretch",
	"StretchLimit":         "stretch-limit",
	"ShutdownTimeout":      "shutdown-timeout",
}

// AsUsage converts a package's error about its Config to a [cli.UsageError] about the flag. Other errors are returned
// unchanged.
func AsUsage(err error) error {
	var fromClient *statusclient.ConfigError
	var fromConsumer *consumer.ConfigError
	switch {
	case errors.As(err, &fromClient):
		if fromClient.Field == "Token" && fromClient.Value == "" {
			return cli.Usagef("no ElevateAI API token: set $ELEVATEAI_API_TOKEN_FILE (recommended), " +
				"$ELEVATEAI_API_TOKEN, --api-token-file or --api-token")
		}
		if fromClient.Field == "TokenFile" && fromClient.Err == nil {
			return cli.Usagef("--api-token ($ELEVATEAI_API_TOKEN) and --api-token-file ($ELEVATEAI_API_TOKEN_FILE) " +
				"are both set: set only one of them")
		}
		value := schema.Quote(fromClient.Value)
		if fromClient.Err != nil {
			value += " (" + fromClient.Err.Error() + ")"
		}
		allowed := fromClient.Want
		if fromClient.Field == "Token" { // the error names a field of the Config
			allowed = "a token; or set --api-token-file ($ELEVATEAI_API_TOKEN_FILE) to the file that holds it"
		}
		return badField(fromClient.Field, value, allowed)
	case errors.As(err, &fromConsumer):
		return badField(fromConsumer.Field, schema.Quote(fromConsumer.Value), fromConsumer.Want)
	}
	return err
}

func badField(field, value, allowed string) error {
	flag, ok := flagOf[field]
	if !ok {
		return cli.Usagef("%s is %s: must be %s", field, value, allowed)
	}
	return cli.BadFlag(Worker{}, flag, value, allowed)
}

// Check rejects values that a Config would replace with a default.
func (f Timing) Check() error { return cli.Positive(f, "request-timeout", f.RequestTimeout) }

// Check rejects values that a Config would replace with a default.
func (f Work) Check() error {
	if f.Concurrency == 0 {
		return cli.BadFlag(f, "concurrency", `"0"`, consumer.WantConcurrency)
	}
	return errors.Join(cli.Positive(f, "deadline", f.Deadline), cli.Positive(f, "not-found-grace", f.NotFoundGrace),
		cli.Positive(f, "shutdown-timeout", f.ShutdownTimeout), cli.Positive(f, "stretch-limit", f.StretchLimit))
}

// Loopback reports whether the base URL is a loopback address: a simulated vendor.
func (f Base) Loopback() bool {
	u, err := url.Parse(f.BaseURL)
	return err == nil && statusclient.IsLoopback(u.Hostname())
}

// Intervals returns the poll intervals. It rejects intervals below the vendor's guidance, except for a loopback vendor.
func (f Timing) Intervals(vendor Base) (consumer.Intervals, error) {
	intervals := consumer.Intervals{Audio: f.AudioInterval, Chat: f.ChatInterval, Transcript: f.TranscriptInterval}
	for _, t := range schema.Types() {
		if err := cli.Positive(f, string(t)+"-interval", intervals.Of(t)); err != nil {
			return intervals, err
		}
	}
	if vendor.Loopback() {
		return intervals, f.Check()
	}
	for _, t := range schema.Types() {
		if have, guidance := intervals.Of(t), consumer.Guidance.Of(t); have < guidance {
			flag := string(t) + "-interval"
			return intervals, cli.BadFlag(f, flag, have.String(),
				"at least "+guidance.String()+", the vendor's guidance (a loopback --base-url has no minimum)")
		}
	}
	return intervals, f.Check()
}
