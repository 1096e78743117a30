package connect

import (
	"cmp"
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
	return f.options(name, log, newWatcher(log, f.Hint, f.api()))
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
	proxied, err := f.socks()
	if err != nil {
		return nil, err
	}
	return slices.Concat([]nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix(f.inboxPrefix()),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectBufSize(-1), // no buffer: a publish that failed while disconnected must not be stored later
		nats.Timeout(dialTimeout),
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
	}, credentials, secured, proxied, paths(f.servers())), nil
}

// dialTimeout limits one attempt to connect.
const dialTimeout = 5 * time.Second

func (f Flags) inboxPrefix() string { return cmp.Or(f.InboxPrefix, DefaultInboxPrefix) }

// DefaultInboxPrefix is the prefix of inboxes if no other is set.
const DefaultInboxPrefix = "_INBOX"

// servers returns the URLs of the servers.
func (f Flags) servers() string { return cmp.Or(f.NATSURL, nats.DefaultURL) }

// paths returns the options for WebSocket URLs with a path. A path also applies to servers that the client discovers,
// because a proxy serves them all. If the paths differ, the client only uses the given URLs.
func paths(servers string) []nats.Option {
	var paths []string
	for server := range strings.SplitSeq(servers, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err == nil && !slices.Contains(paths, u.Path) {
			paths = append(paths, u.Path)
		}
	}
	switch {
	case len(paths) > 1:
		return []nats.Option{nats.IgnoreDiscoveredServers()}
	case len(paths) == 1 && strings.Trim(paths[0], "/") != "":
		return []nats.Option{nats.ProxyPath(paths[0])}
	}
	return nil
}

// check rejects invalid values before any file is used.
func (f Flags) check() error {
	if !validSubject(f.inboxPrefix()) {
		return f.bad("nats-inbox-prefix", schema.Quote(f.InboxPrefix),
			"a subject without wildcards and without a dot at its end, such as _INBOX_worker")
	}
	if err := f.checkAPI(); err != nil {
		return err
	}
	if err := f.checkCredentials(); err != nil {
		return err
	}
	if (f.Cert == "") != (f.Key == "") {
		return cli.Usagef("%s and %s must be set together", f.Name("nats-cert"), f.Name("nats-key"))
	}
	for _, file := range []struct{ flag, path, allowed string }{
		{"nats-cert", f.Cert, "a certificate with its key in --nats-key"},
		{"nats-key", f.Key, "a file with the key of --nats-cert"},
	} {
		if file.path == "" {
			continue
		}
		if err := credential.Readable(file.path); err != nil {
			return f.bad(file.flag, f.shownLocation(file.path), fmt.Sprintf("%s (%v)", file.allowed, err))
		}
	}
	if err := checkServers(f.servers()); err != nil {
		return f.bad("nats-url", schema.Quote(f.ShownURL()),
			fmt.Sprintf("URLs like nats://host:4222, separated by commas (%v)", err))
	}
	if f.tlsFirst() && strings.HasPrefix(strings.TrimSpace(f.servers()), "ws") {
		return cli.Usagef("%s is set, and %s is %s: a WebSocket connection has no handshake before the greeting; "+
			"use a tls:// URL, or omit the flag", f.Name("nats-tlsfirst"), f.Name("nats-url"),
			schema.Quote(f.ShownURL()))
	}
	return nil
}

func (f Flags) tlsFirst() bool { return f.TLSFirst != nil && *f.TLSFirst }

// validSubject reports whether a subject has no wildcard, white space or empty token.
func validSubject(subject string) bool {
	return nats.CustomInboxPrefix(subject)(&nats.Options{}) == nil &&
		!strings.ContainsAny(subject, " \t\r\n") && !strings.Contains("."+subject, "..")
}

// tls returns the options for certificates.
func (f Flags) tls() (options []nats.Option, err error) {
	if f.Cert != "" {
		if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
			return nil, f.bad("nats-cert", f.shownLocation(f.Cert),
				fmt.Sprintf("a certificate with its key in --nats-key (%v)", err))
		}
		options = append(options, nats.ClientCert(f.Cert, f.Key))
	}
	if f.CA != "" {
		if err := credential.AddCertificates(x509.NewCertPool(), f.CA); err != nil {
			return nil, f.bad("nats-ca", f.shownLocation(f.CA),
				fmt.Sprintf("a file with certificates in PEM (%v)", err))
		}
		options = append(options, nats.RootCAs(f.CA))
	}
	if f.tlsFirst() {
		options = append(options, nats.TLSHandshakeFirst())
	}
	return options, nil
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
