package connect

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/patience"
)

// Flags configure the connection to NATS. Their names, and the environment variables, are those of the `nats` command,
// as far as it has them. A zero value is unset.
type Flags struct {
	Context     string `name:"nats-context" var:"NATS_CONTEXT" placeholder:"NAME" help:"Context of the nats command: its name, or the absolute path of its file. Flags, variables and the configuration file override what it sets. The context that \"nats context select\" selects is not used."`
	NATSURL     string `name:"nats-url" var:"NATS_URL" secret:"url" placeholder:"URL" help:"NATS server URLs, such as nats://host:4222 or wss://host/path, separated by commas. If neither this nor the context sets one, ${default_nats_url}."`
	Creds       string `name:"nats-creds" var:"NATS_CREDS" secret:"location" placeholder:"FILE" help:"NATS credentials file."`
	NKey        string `name:"nats-nkey" var:"NATS_NKEY" secret:"location" placeholder:"FILE" help:"NKey seed file."`
	JWT         string `name:"nats-jwt" var:"NATS_JWT" secret:"location" placeholder:"FILE" help:"File with the user's JWT, or the JWT itself. Set --nats-seed too, unless it is a bearer token."`
	Seed        string `name:"nats-seed" var:"NATS_SEED" secret:"location" placeholder:"FILE" help:"File with the NKey seed for --nats-jwt, or the seed itself. Prefer the file, or the environment variable."`
	User        string `name:"nats-user" var:"NATS_USER" secret:"user" placeholder:"NAME" help:"NATS user name. As with the nats command, it may also be a token, without --nats-password; prefer --nats-token."`
	Password    string `name:"nats-password" var:"NATS_PASSWORD" secret:"password" placeholder:"SECRET" help:"NATS password. Prefer the environment variable: other users of the host can read a command line."`
	NATSToken   string `name:"nats-token" var:"NATS_TOKEN" secret:"token" placeholder:"SECRET" help:"NATS token. Prefer the environment variable."`
	Cert        string `name:"nats-cert" var:"NATS_CERT" secret:"location" placeholder:"FILE" help:"TLS client certificate file, in PEM."`
	Key         string `name:"nats-key" var:"NATS_KEY" secret:"location" placeholder:"FILE" help:"TLS client key file, in PEM."`
	CA          string `name:"nats-ca" var:"NATS_CA" secret:"location" placeholder:"FILE" help:"File of certificate authorities to trust for NATS, in PEM."`
	TLSFirst    *bool  `name:"nats-tlsfirst" var:"NATS_TLSFIRST" negatable:"" help:"Perform the TLS handshake before the server sends its greeting (handshake_first of the server)."`
	SOCKSProxy  string `name:"socks-proxy" var:"NATS_SOCKS_PROXY" secret:"url" placeholder:"URL" help:"SOCKS5 proxy for connections to NATS, such as socks5://user:password@host:1080."`
	JSDomain    string `name:"js-domain" var:"NATS_JS_DOMAIN" placeholder:"DOMAIN" help:"JetStream domain of the streams, such as that of a hub behind a leaf node."`
	JSAPIPrefix string `name:"js-api-prefix" var:"NATS_JS_API_PREFIX" placeholder:"PREFIX" help:"Prefix of the subjects of the JetStream API, if it is imported from another account."`
	InboxPrefix string `name:"nats-inbox-prefix" var:"NATS_INBOX_PREFIX" placeholder:"PREFIX" help:"Prefix of the subjects on which this process receives replies. The NATS user must be permitted to subscribe to them. If neither this nor the context sets one, ${default_inbox_prefix}."`

	// loaded is the context; nil without one.
	loaded *natsContext
	// getenv reads variables to which values refer.
	getenv func(string) string
}

// AfterApply reads the context. Package kong calls it after it has parsed the flags.
func (f *Flags) AfterApply(p cli.Process, k *kong.Context) error {
	f.getenv = p.Getenv
	for _, at := range k.Path { // an empty flag, such as that of a script whose variable is unset
		if at.Flag != nil && at.Flag.Name == "nats-url" && f.NATSURL == "" {
			return cli.BadFlag(*f, "nats-url", `""`, "URLs like nats://host:4222, separated by commas (it has no host)")
		}
	}
	if f.Context == "" {
		return nil
	}
	c, err := f.load()
	if err != nil {
		return err
	}
	p.Secrets.Add(c.secrets()...)
	f.merge(c)
	return nil
}

func (f Flags) env(name string) string {
	if f.getenv == nil {
		return os.Getenv(name)
	}
	return f.getenv(name)
}

// Name returns where a setting comes from, for messages: the flag with its variable, or the member of the context.
func (f Flags) Name(flag string) string {
	if f.loaded != nil && f.loaded.used[flag] != "" {
		return fmt.Sprintf("the member %s of the NATS context %s", f.loaded.used[flag], f.loaded.path)
	}
	return "--" + flag + " ($" + cli.Variable(f, flag) + ")"
}

// bad returns the error about a bad value. The value must be safe to show.
func (f Flags) bad(flag, value, allowed string) error {
	if f.loaded != nil && f.loaded.used[flag] != "" {
		return &cli.UsageError{Err: &ContextError{
			File: f.loaded.path, Member: f.loaded.used[flag], Value: value, Allowed: allowed,
		}}
	}
	return cli.BadFlag(f, flag, value, allowed)
}

// Wait limits how long an interactive command waits for the broker.
type Wait struct {
	Timeout time.Duration `name:"timeout" default:"10s" help:"How long to wait for each answer from NATS."`
}

// Bound returns a context that ends when the broker has not answered for the timeout. Each answer restarts it.
func (f Wait) Bound(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := cli.Positive(f, "timeout", f.Timeout); err != nil {
		return nil, nil, err
	}
	bounded, cancel := patience.WithTimeout(ctx, f.Timeout)
	return bounded, cancel, nil
}

// Unanswered adds the timeout and its flag to an error after the context of [Wait.Bound] timed out.
func (f Wait) Unanswered(bounded context.Context, err error) error {
	if err != nil && patience.Out(bounded) {
		return fmt.Errorf("no answer within %s (--timeout): %w", f.Timeout, err)
	}
	return err
}
