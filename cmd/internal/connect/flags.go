package connect

import (
	"context"
	"fmt"
	"time"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/patience"
)

// Flags configure the connection to NATS. The environment variables are those of the `nats` command.
type Flags struct {
	NATSURL     string `name:"nats-url" var:"NATS_URL" secret:"url" default:"nats://127.0.0.1:4222" help:"NATS server URLs, such as nats://host:4222, separated by commas."`
	Creds       string `name:"nats-creds" var:"NATS_CREDS" placeholder:"FILE" help:"NATS credentials file."`
	NKey        string `name:"nats-nkey" var:"NATS_NKEY" placeholder:"FILE" help:"NKey seed file."`
	User        string `name:"nats-user" var:"NATS_USER" secret:"user" placeholder:"NAME" help:"NATS user name. If the server uses token authentication: the token, without --nats-password."`
	Password    string `name:"nats-password" var:"NATS_PASSWORD" secret:"password" placeholder:"SECRET" help:"NATS password. Prefer the environment variable: other users of the host can read a command line."`
	Cert        string `name:"nats-cert" var:"NATS_CERT" placeholder:"FILE" help:"TLS client certificate file, in PEM."`
	Key         string `name:"nats-key" var:"NATS_KEY" placeholder:"FILE" help:"TLS client key file, in PEM."`
	CA          string `name:"nats-ca" var:"NATS_CA" placeholder:"FILE" help:"File of certificate authorities to trust for NATS, in PEM."`
	InboxPrefix string `name:"nats-inbox-prefix" var:"NATS_INBOX_PREFIX" default:"_INBOX" help:"Prefix of the subjects on which this process receives replies. The NATS user must be permitted to subscribe to them."`
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
