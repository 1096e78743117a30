package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/credential"
	"statusworker/cmd/internal/mask"
	"statusworker/schema"
	"statusworker/statusclient"
)

// Options returns the options for a connection that the caller opens.
func (f Flags) Options(name string, log logrus.FieldLogger) ([]nats.Option, error) {
	return f.options(name, log, newWatcher(log, f.Hint))
}

func (f Flags) options(name string, log logrus.FieldLogger, watcher *watcher) ([]nats.Option, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	credentials, err := f.credentials()
	if err != nil {
		return nil, err
	}
	secured, err := f.tls()
	if err != nil {
		return nil, err
	}
	return slices.Concat([]nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix(f.InboxPrefix),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectBufSize(-1), // no buffer: a publish that failed while disconnected must not be stored later
		nats.Timeout(5 * time.Second),
		nats.PingInterval(20 * time.Second),
		nats.MaxPingsOutstanding(maxPings),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.WithError(err).Warn("NATS connection lost; reconnecting")
			}
		}),
		nats.IgnoreAuthErrorAbort(), // see watcher
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { watcher.failed(err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			watcher.reconnected()
			log.WithField("server", mask.URL(nc.ConnectedUrl())).Info("reconnected to NATS")
		}),
		nats.ErrorHandler(
			func(nc *nats.Conn, _ *nats.Subscription, err error) { watcher.heard(nc, nc.IsConnected(), err) },
		),
		nats.ClosedHandler(func(*nats.Conn) { watcher.close() }),
	}, credentials, secured), nil
}

// check rejects invalid values before any file is used.
func (f Flags) check() error {
	if err := nats.CustomInboxPrefix(f.InboxPrefix)(&nats.Options{}); err != nil ||
		strings.ContainsAny(f.InboxPrefix, " \t\r\n") || strings.Contains("."+f.InboxPrefix, "..") {
		return cli.BadFlag(f, "nats-inbox-prefix", schema.Quote(f.InboxPrefix),
			"a subject without wildcards and without a dot at its end, such as _INBOX_worker")
	}
	if err := f.checkCredentials(); err != nil {
		return err
	}
	if (f.Cert == "") != (f.Key == "") {
		return cli.Usagef("--nats-cert ($NATS_CERT) and --nats-key ($NATS_KEY) must be set together")
	}
	if f.User == "" && f.Password != "" {
		return cli.Usagef("--nats-password ($NATS_PASSWORD) is set without --nats-user ($NATS_USER): " +
			"set both, or set only the user to a token")
	}
	for _, file := range []struct{ flag, path, allowed string }{
		{"nats-creds", f.Creds, "a credentials file"},
		{"nats-nkey", f.NKey, "a file with an NKey seed"},
		{"nats-cert", f.Cert, "a certificate with its key in --nats-key"},
		{"nats-key", f.Key, "a file with the key of --nats-cert"},
	} {
		if file.path == "" {
			continue
		}
		if err := credential.Readable(file.path); err != nil {
			return cli.BadFlag(f, file.flag, file.path, fmt.Sprintf("%s (%v)", file.allowed, err))
		}
	}
	if err := checkServers(f.NATSURL); err != nil {
		return cli.BadFlag(f, "nats-url", schema.Quote(f.ShownURL()),
			fmt.Sprintf("URLs like nats://host:4222, separated by commas (%v)", err))
	}
	return nil
}

// credentials returns the options that authenticate the user.
func (f Flags) credentials() (options []nats.Option, err error) {
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
	case f.Password != "":
		options = append(options, nats.UserInfo(f.User, f.Password))
	case f.User != "":
		options = append(options, nats.Token(f.User))
	}
	return options, nil
}

// tls returns the options for certificates.
func (f Flags) tls() (options []nats.Option, err error) {
	if f.Cert != "" {
		if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
			return nil, cli.BadFlag(f, "nats-cert", f.Cert,
				fmt.Sprintf("a certificate with its key in --nats-key (%v)", err))
		}
		options = append(options, nats.ClientCert(f.Cert, f.Key))
	}
	if f.CA != "" {
		if err := credential.AddCertificates(x509.NewCertPool(), f.CA); err != nil {
			return nil, cli.BadFlag(f, "nats-ca", schema.Quote(f.CA),
				fmt.Sprintf("a file with certificates in PEM (%v)", err))
		}
		options = append(options, nats.RootCAs(f.CA))
	}
	return options, nil
}

// checkCredentials rejects more than one kind of credentials. The client would silently use one of them: the URL's
// rather than the flag's.
func (f Flags) checkCredentials() error {
	inURL := slices.ContainsFunc(strings.Split(f.NATSURL, ","), func(server string) bool {
		_, rest, found := strings.Cut(server, "://")
		if !found {
			rest = server
		}
		authority, _, _ := strings.Cut(rest, "/")
		return strings.Contains(authority, "@")
	})
	var given []string
	for _, kind := range []struct {
		name string
		set  bool
	}{
		{"a user in --nats-url ($NATS_URL)", inURL}, {"--nats-user ($NATS_USER)", f.User != ""},
		{"--nats-creds ($NATS_CREDS)", f.Creds != ""}, {"--nats-nkey ($NATS_NKEY)", f.NKey != ""},
	} {
		if kind.set {
			given = append(given, kind.name)
		}
	}
	if len(given) > 1 {
		return cli.Usagef("%s are set: set only one of them", strings.Join(given, " and "))
	}
	return nil
}

// checkServers rejects addresses at which there can be no server, so that the command does not wait for one.
func checkServers(servers string) error {
	web := 0
	all := strings.Split(servers, ",")
	for _, server := range all {
		scheme, err := checkServer(strings.TrimSpace(server))
		if err != nil {
			return err
		}
		if scheme == "ws" || scheme == "wss" {
			web++
		}
	}
	if web != 0 && web != len(all) {
		return errors.New("WebSocket and other servers cannot be mixed")
	}
	return nil
}

// checkServer checks the address of one server, and returns its scheme.
func checkServer(server string) (scheme string, err error) {
	if !strings.Contains(server, "://") {
		server = "nats://" + server // as the client does, even before nats:/host
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", errors.New("not a URL") // the cause may contain a password
	}
	switch u.Scheme {
	case "nats", "tls":
		if strings.Trim(u.Path, "/") != "" {
			return "", fmt.Errorf("it has the path %s: write nats://, and no path after the host", schema.Quote(u.Path))
		}
	case "ws", "wss": // a path is part of the request
	default:
		return "", fmt.Errorf("the scheme is %s: must be nats, tls, ws or wss", schema.Quote(u.Scheme))
	}
	switch {
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("it has a query or a fragment")
	case strings.HasSuffix(u.Host, ":"):
		return "", errors.New("it has no port after the colon")
	}
	return u.Scheme, statusclient.CheckAddress(u)
}
