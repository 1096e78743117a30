package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/credential"
	"statusworker/cmd/internal/mask"
	"statusworker/cmd/internal/patience"
	"statusworker/schema"
	"statusworker/statusclient"
)

// watchful are the options of a worker. A link that stalls in one direction looks well to TCP, and takes in what is delivered
// into it. A worker gives the connection up when no answer to its pings has come, or nothing could be written, for
// noticeWithin, before those deliveries come back to other workers (AckWait, 10 s). Who only looks or declares waits longer:
// the answers to its pings may have to wait behind megabytes, on a slow link.
func watchful() []nats.Option {
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

// connect waits until a NATS server lets it in. What no waiting fixes (credentials, certificates, a URL) is an error
// at once. Afterwards the connection is kept up for good.
func (f brokerFlags) connect(ctx context.Context, name string, log logrus.FieldLogger, more ...nats.Option) (*nats.Conn, error) {
	watcher := newWatcher(log, f.hint)
	options, err := f.options(name, log, watcher)
	if err != nil {
		return nil, err
	}
	options = append(options, more...)
	var nc *nats.Conn
	err = patiently(ctx, log, "waiting for NATS at "+f.shownURL()+" (--nats-url, $NATS_URL)", func() error {
		var err error
		nc, err = nats.Connect(f.NATSURL, options...)
		switch {
		case err == nil:
			return nil
		case hopeless(err):
			return backoff.Permanent(fmt.Errorf("connecting to NATS at %s: %w; %s", f.shownURL(), err, f.hint(err)))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	patience.Progress(ctx)
	if most := nc.MaxPayload(); most < schema.MaxMessageBytes {
		nc.Close()
		return nil, fmt.Errorf("the NATS server accepts messages of %d bytes at most: set max_payload to %d or more in its configuration", most, schema.MaxMessageBytes)
	}
	go watcher.remind(nc, f.shownURL(), sayEvery)
	return nc, nil
}

func (f brokerFlags) options(name string, log logrus.FieldLogger, watcher *watcher) ([]nats.Option, error) {
	if err := nats.CustomInboxPrefix(f.InboxPrefix)(&nats.Options{}); err != nil || strings.ContainsAny(f.InboxPrefix, " \t\r\n") || strings.Contains("."+f.InboxPrefix, "..") {
		return nil, cli.BadFlag(f, "nats-inbox-prefix", schema.Quote(f.InboxPrefix), "a subject without wildcards and without a dot at its end, such as _INBOX_worker")
	}
	options := []nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix(f.InboxPrefix),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectBufSize(-1), // what was given up while there was no connection must not be stored afterwards
		nats.Timeout(5 * time.Second),
		nats.PingInterval(20 * time.Second),
		nats.MaxPingsOutstanding(maxPings),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.WithError(err).Warn("lost the connection to NATS; reconnecting")
			}
		}),
		nats.IgnoreAuthErrorAbort(), // see door
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { watcher.failed(err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			watcher.passed()
			log.WithField("server", mask.URL(nc.ConnectedUrl())).Info("connected to NATS again")
		}),
		nats.ErrorHandler(func(nc *nats.Conn, _ *nats.Subscription, err error) { watcher.heard(nc, nc.IsConnected(), err) }),
		nats.ClosedHandler(func(*nats.Conn) { watcher.close() }),
	}
	if err := f.checkCredentials(); err != nil {
		return nil, err
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, cli.Usagef("--nats-cert ($NATS_CERT) and --nats-key ($NATS_KEY) go together: want both or none")
	}
	for _, file := range []struct{ flag, path, want string }{
		{"nats-creds", f.Creds, "a credentials file"},
		{"nats-nkey", f.NKey, "a file with an NKey seed"},
		{"nats-cert", f.Cert, "a certificate with its key in --nats-key"},
		{"nats-key", f.Key, "a file with the key of --nats-cert"},
	} {
		if file.path == "" {
			continue
		}
		if err := credential.Readable(file.path); err != nil {
			return nil, cli.BadFlag(f, file.flag, file.path, fmt.Sprintf("%s (%v)", file.want, err))
		}
	}
	if f.Creds != "" {
		if err := credential.CheckNATS(f.Creds); err != nil {
			return nil, cli.BadFlag(f, "nats-creds", schema.Quote(f.Creds), fmt.Sprintf("a credentials file (%v)", err))
		}
		options = append(options, nats.UserCredentials(f.Creds))
	}
	if f.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(f.NKey)
		if err != nil {
			return nil, cli.BadFlag(f, "nats-nkey", f.NKey, fmt.Sprintf("a file with an NKey seed (%v)", err))
		}
		options = append(options, option)
	}
	switch {
	case f.User != "" && f.Password != "":
		options = append(options, nats.UserInfo(f.User, f.Password))
	case f.User != "":
		options = append(options, nats.Token(f.User))
	case f.Password != "":
		return nil, cli.Usagef("--nats-password ($NATS_PASSWORD) is set without --nats-user ($NATS_USER): want both, or a token as the user alone")
	}
	if f.Cert != "" {
		if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
			return nil, cli.BadFlag(f, "nats-cert", f.Cert, fmt.Sprintf("a certificate with its key in --nats-key (%v)", err))
		}
		options = append(options, nats.ClientCert(f.Cert, f.Key))
	}
	if f.CA != "" {
		if err := credential.AddCertificates(x509.NewCertPool(), f.CA); err != nil {
			return nil, cli.BadFlag(f, "nats-ca", schema.Quote(f.CA), fmt.Sprintf("a file with certificates in PEM (%v)", err))
		}
		options = append(options, nats.RootCAs(f.CA))
	}
	if err := checkServers(f.NATSURL); err != nil {
		return nil, cli.BadFlag(f, "nats-url", schema.Quote(f.shownURL()), fmt.Sprintf("URLs like nats://host:4222, separated by commas (%v)", err))
	}
	return options, nil
}

// checkCredentials refuses two of them. The client would take one without a word: that of the URL rather than the flag's.
func (f brokerFlags) checkCredentials() error {
	inURL := slices.ContainsFunc(strings.Split(f.NATSURL, ","), func(server string) bool {
		_, rest, found := strings.Cut(server, "://")
		if !found {
			rest = server
		}
		authority, _, _ := strings.Cut(rest, "/")
		return strings.Contains(authority, "@")
	})
	var given []string
	for _, way := range []struct {
		name string
		is   bool
	}{
		{"a user in --nats-url ($NATS_URL)", inURL}, {"--nats-user ($NATS_USER)", f.User != ""}, {"--nats-creds ($NATS_CREDS)", f.Creds != ""},
		{"--nats-nkey ($NATS_NKEY)", f.NKey != ""},
	} {
		if way.is {
			given = append(given, way.name)
		}
	}
	if len(given) > 1 {
		return cli.Usagef("%s are set: want one of them", strings.Join(given, " and "))
	}
	return nil
}

// checkServers refuses addresses at which no server can ever be, rather than to wait for it.
func checkServers(servers string) error {
	web := 0
	all := strings.Split(servers, ",")
	for _, server := range all {
		if server = strings.TrimSpace(server); !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil {
			return errors.New("it is no URL") // its text may hold a password
		}
		switch u.Scheme {
		case "nats", "tls":
		case "ws", "wss":
			web++
		default:
			return fmt.Errorf("the scheme %s is none of nats, tls, ws and wss", schema.Quote(u.Scheme))
		}
		if u.Hostname() == "" {
			return errors.New("there is no host in it")
		}
		if err := statusclient.CheckPort(u); err != nil {
			return err
		}
	}
	if web != 0 && web != len(all) {
		return errors.New("WebSocket servers go with none but WebSocket servers")
	}
	return nil
}

// shownURL is the URL as it may be shown.
func (f brokerFlags) shownURL() string {
	servers := strings.Split(f.NATSURL, ",")
	for i, s := range servers {
		servers[i] = mask.URL(s)
	}
	return strings.Join(servers, ",")
}

func hopeless(err error) bool {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var expired x509.CertificateInvalidError
	return unwelcome(err) || errors.Is(err, nats.ErrNkeysNotSupported) || errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted) ||
		errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &expired)
}

func (f brokerFlags) hint(err error) string {
	switch {
	case certificateRefused(err):
		return "check --nats-cert ($NATS_CERT) and --nats-key ($NATS_KEY)"
	case unwelcome(err):
		return "check --nats-creds ($NATS_CREDS), --nats-nkey ($NATS_NKEY) or --nats-user ($NATS_USER) and --nats-password ($NATS_PASSWORD)"
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return "the server wants the other of tls:// and nats:// in --nats-url ($NATS_URL)"
	}
	return "check --nats-ca ($NATS_CA)"
}
