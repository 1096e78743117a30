// Package connect connects a command to NATS, keeps the connection up, and waits until the broker answers requests.
package connect

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/mask"
	"statusworker/cmd/internal/patience"
	"statusworker/schema"
)

// Watchful returns the options of a worker's connection. TCP does not notice a link that stalls in one direction, and
// the broker keeps delivering into it. A worker closes and reopens its connection when pings are unanswered, or a write
// blocks, for stallTimeout: before those deliveries are redelivered to other workers (AckWait, 10 s). Other commands
// use the longer default: on a slow link, the answers to their pings may queue behind megabytes of data.
func Watchful() []nats.Option {
	return []nats.Option{
		nats.PingInterval(stallTimeout / (maxPings + 1)),
		nats.FlusherTimeout(stallTimeout),
		nats.ReconnectOnFlusherError(),
	}
}

const (
	stallTimeout = 9 * time.Second
	maxPings     = 2
)

// Connect waits until a NATS server accepts the connection. Errors that waiting cannot fix (see [Permanent]) are
// returned at once. Later the connection reconnects by itself whenever it is lost.
func (f Flags) Connect(
	ctx context.Context,
	name string,
	log logrus.FieldLogger,
	more ...nats.Option,
) (*nats.Conn, error) {
	watcher := newWatcher(log, f.Hint, f.api())
	options, err := f.options(name, log, watcher)
	if err != nil {
		return nil, err
	}
	options = append(options, more...)
	var nc *nats.Conn
	why := waitingForNATS
	why.servers, why.advice = f.ShownURL(), "check "+f.Name("nats-url")
	err = patiently(ctx, log, why, func() error {
		var err error
		nc, err = f.Dial(options...)
		switch {
		case err == nil:
			return nil
		case Permanent(err):
			return backoff.Permanent(fmt.Errorf("connecting to NATS at %s: %w; %s", f.ShownURL(), err, f.Hint(err)))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	patience.Progress(ctx)
	awaitLimits(nc)
	if limit := nc.MaxPayload(); limit < schema.MaxMessageBytes {
		nc.Close()
		return nil, fmt.Errorf("max_payload of the NATS server or the account is %d bytes: must be at least "+
			"%d; raise it in their configuration", limit, schema.MaxMessageBytes)
	}
	go watcher.remind(nc, f.ShownURL(), logEvery)
	return nc, nil
}

// awaitLimits waits until the server has announced the limits of the account: it does so after it has accepted the
// connection, and before it answers the next ping.
func awaitLimits(nc *nats.Conn) {
	_ = nc.FlushTimeout(limitsWithin) // without an answer, the limits of the server apply
}

const limitsWithin = 2 * time.Second

// waitingForNATS and waitingForJetStream describe the two waits of a command at its start.
var (
	waitingForNATS = reason{
		log: "waiting for NATS", done: "connected to NATS",
	}
	waitingForJetStream = reason{
		log: "waiting for JetStream", done: "JetStream is available",
		advice: "JetStream is starting, electing a leader, or not enabled (server: -js; account: jetstream)",
	}
)

// Dial makes one attempt to connect.
func (f Flags) Dial(options ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(f.servers(), options...)
}

// ShownURL returns the server URLs without their secrets.
func (f Flags) ShownURL() string {
	servers := strings.Split(f.servers(), ",")
	for i, s := range servers {
		servers[i] = mask.URL(s)
	}
	return strings.Join(servers, ",")
}

// Permanent reports whether waiting cannot fix a connection error: credentials, certificates, TLS or no TLS.
func Permanent(err error) bool {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var expired x509.CertificateInvalidError
	return CredentialsRejected(err) || errors.Is(err, nats.ErrNkeysNotSupported) ||
		errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted) ||
		errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &expired)
}

// Hint returns which flags to check after an error that waiting cannot fix.
func (f Flags) Hint(err error) string {
	switch {
	case certificateRejected(err):
		return "check " + f.Name("nats-cert") + " and " + f.Name("nats-key")
	case CredentialsRejected(err):
		return f.credentialsHint()
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return "one side requires TLS and the other does not: check tls:// or nats:// in " + f.Name("nats-url")
	}
	return "check " + f.Name("nats-ca")
}

func (f Flags) credentialsHint() string {
	var names []string
	switch set := f.kinds(); {
	case len(set) > 0:
		for _, k := range set {
			names = append(names, strings.Replace(k.shown, "a user", "the user", 1))
		}
		if f.Password != "" {
			names = append(names, f.Name("nats-password"))
		}
		if f.Seed != "" {
			names = append(names, f.Name("nats-seed"))
		}
	default:
		for flag := range f.credentialFlags() {
			names = append(names, f.Name(flag))
		}
		return "no credentials are set: set one of " + strings.Join(names, ", ")
	}
	return "check " + strings.Join(names, " and ")
}

// Close flushes the connection, for at most 2 s, and closes it.
func Close(nc *nats.Conn) {
	if nc.Status() == nats.CONNECTED {
		// Acknowledgements are sent asynchronously. The broker redelivers messages whose acknowledgement is lost.
		_ = nc.FlushTimeout(2 * time.Second)
	}
	nc.Close()
}
