package statusclient

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// New connections have their own timeouts: the transport continues to dial for the next request after the request that
// started the dial has ended.
const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	// idleTimeout is shorter than the minute after which load balancers usually close idle connections. A request on
	// such a connection fails, because it is not repeated.
	idleTimeout = 45 * time.Second

	maxHeaderBytes = 64 << 10
)

// Client sends status requests to the vendor. It is safe for concurrent use. Formatting a Client does not show the
// token.
type Client struct {
	transport *verifying
	tokens    *tokens
	template  *http.Request
	base      url.URL
	path      string // up to the identifier
	timeout   time.Duration
	now       func() time.Time
}

// New checks cfg, reads the token, and returns a client. It does not connect. The error is a [*ConfigError].
func New(cfg Config) (*Client, error) {
	cfg, base, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	tokens, err := newTokens(cfg)
	if err != nil {
		return nil, err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		Protocols: &protocols,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := cfg.Dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return newConn(c), nil
		},
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            cfg.RootCAs,
			ClientSessionCache: tls.NewLRUClientSessionCache(cfg.Concurrency),
		},
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConns:           cfg.Concurrency,
		MaxIdleConnsPerHost:    cfg.Concurrency,
		MaxConnsPerHost:        cfg.Concurrency,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // body decompresses with reused readers, and limits the size
	}
	if cfg.Proxy != nil && !IsLoopback(base.Hostname()) {
		transport.Proxy = func(r *http.Request) (*url.URL, error) { return cfg.Proxy(r.URL) }
	}
	return &Client{
		transport: &verifying{transport},
		tokens:    tokens,
		template: &http.Request{
			Method:     http.MethodGet,
			Proto:      "HTTP/1.1",
			ProtoMajor: 1,
			ProtoMinor: 1,
			Host:       base.Host,
		},
		base:    *base,
		path:    base.Path + "/interactions/",
		timeout: cfg.Timeout,
		now:     cfg.Now,
	}, nil
}

// Close closes the idle connections. Call it when no [Client.Status] is running.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// String returns the base URL, without the token.
func (c *Client) String() string { return "statusclient.Client{" + c.base.String() + "}" }

// GoString returns the same as String.
func (c *Client) GoString() string { return c.String() }

// MarshalJSON returns String as JSON.
func (c *Client) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// Format writes String for every verb.
func (c *Client) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }
