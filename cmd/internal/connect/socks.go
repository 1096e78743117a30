package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
	"golang.org/x/net/proxy"

	"statusworker/cmd/internal/mask"
	"statusworker/schema"
	"statusworker/statusclient"
)

// socks connects through a SOCKS proxy. The proxy resolves the names of the servers.
type socks struct{ through proxy.ContextDialer }

// Dial implements [nats.CustomDialer].
func (s socks) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return s.through.DialContext(ctx, network, address)
}

// socks returns the options for the proxy.
func (f Flags) socks() ([]nats.Option, error) {
	if f.SOCKSProxy == "" {
		return nil, nil
	}
	u, err := checkSOCKS(f.SOCKSProxy)
	if err != nil {
		return nil, f.bad("socks-proxy", schema.Quote(mask.URL(f.SOCKSProxy)),
			fmt.Sprintf("a URL such as socks5://host:1080 (%v)", err))
	}
	dialer, err := proxy.FromURL(u, proxy.Direct)
	if err != nil {
		return nil, f.bad("socks-proxy", schema.Quote(mask.URL(f.SOCKSProxy)), fmt.Sprintf("a SOCKS proxy (%v)", err))
	}
	through, ok := dialer.(proxy.ContextDialer)
	if !ok {
		return nil, fmt.Errorf("the SOCKS dialer %T has no DialContext", dialer)
	}
	return []nats.Option{nats.SetCustomDialer(socks{through}), nats.SkipHostLookup()}, nil
}

func checkSOCKS(value string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil {
		return nil, errors.New("not a URL") // the cause may contain a password
	}
	switch {
	case u.Scheme != "socks5" && u.Scheme != "socks5h":
		return nil, fmt.Errorf("the scheme is %s: must be socks5 or socks5h", schema.Quote(u.Scheme))
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("it has a path or query")
	}
	return u, statusclient.CheckAddress(u)
}
