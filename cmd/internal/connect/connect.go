// Package connect connects a command to NATS, keeps the connection up, and waits until the broker can answer.
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

// Watchful gives the options of a worker. A link that stalls in one direction looks well to TCP, and takes in what is
// delivered into it. A worker gives the connection up when no answer to its pings has come, or nothing could be
// written, for noticeWithin, before those deliveries come back to other workers (AckWait, 10 s). Who only looks or
// declares waits longer: the answers to its pings may have to wait behind megabytes, on a slow link.
func Watchful() []nats.Option {
	return []nats.Option{
		nats.PingInterval(noticeWithin / (maxPings + 1)),
		nats.FlusherTimeout(noticeWithin),
		nats.ReconnectOnFlusherError(),
	}
}

const (
	noticeWithin = 9 * time.Second
	maxPings     = 2
)

// Connect waits until a NATS server accepts the connection. What no waiting fixes (credentials, certificates, a URL) is
// an error at once. Afterwards the connection reconnects whenever it is lost.
func (f Flags) Connect(
	ctx context.Context,
	name string,
	log logrus.FieldLogger,
	more ...nats.Option,
) (*nats.Conn, error) {
	watcher := newWatcher(log, f.Hint)
	options, err := f.options(name, log, watcher)
	if err != nil {
		return nil, err
	}
	options = append(options, more...)
	var nc *nats.Conn
	err = patiently(ctx, log, "waiting for NATS at "+f.ShownURL()+" (--nats-url, $NATS_URL)", func() error {
		var err error
		nc, err = nats.Connect(f.NATSURL, options...)
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
	if most := nc.MaxPayload(); most < schema.MaxMessageBytes {
		nc.Close()
		return nil, fmt.Errorf("the NATS server accepts messages of %d bytes at most: "+
			"set max_payload to %d or more in its configuration", most, schema.MaxMessageBytes)
	}
	go watcher.remind(nc, f.ShownURL(), logEvery)
	return nc, nil
}

// ShownURL is the URL as it may be shown.
func (f Flags) ShownURL() string {
	servers := strings.Split(f.NATSURL, ",")
	for i, s := range servers {
		servers[i] = mask.URL(s)
	}
	return strings.Join(servers, ",")
}

// Permanent reports whether a connection fails in a way that no waiting fixes.
func Permanent(err error) bool {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var expired x509.CertificateInvalidError
	return CredentialsRejected(err) || errors.Is(err, nats.ErrNkeysNotSupported) ||
		errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted) ||
		errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &expired)
}

// Hint says which flags to check after an error that no waiting fixes.
func (f Flags) Hint(err error) string {
	switch {
	case certificateRejected(err):
		return "check --nats-cert ($NATS_CERT) and --nats-key ($NATS_KEY)"
	case CredentialsRejected(err):
		return "check --nats-creds ($NATS_CREDS), --nats-nkey ($NATS_NKEY) or " +
			"--nats-user ($NATS_USER) and --nats-password ($NATS_PASSWORD)"
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return "the server requires the other of tls:// and nats:// in --nats-url ($NATS_URL)"
	}
	return "check --nats-ca ($NATS_CA)"
}

// Close sends what is still to be sent, and waits until it is.
func Close(nc *nats.Conn) {
	if nc.Status() == nats.CONNECTED {
		// Acks are sent without waiting for an answer; what is lost of them is delivered again.
		_ = nc.FlushTimeout(2 * time.Second)
	}
	nc.Close()
}
