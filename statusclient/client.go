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

// The phases of a new connection are limited apart from the whole request: the transport goes on dialing for the next
// request when the one that wanted the connection has given up.
const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	// idleTimeout is shorter than the minute after which load balancers close idle connections. A request that meets
	// such a close is lost, because it is not repeated.
	idleTimeout = 45 * time.Second

	maxHeaderBytes = 64 << 10
)

// Client asks the vendor for the status of interactions. It is safe for concurrent use. Printing one does not show the
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

// New checks cfg, reads the token, and gives a client. It connects to nothing. The error is a [*ConfigError].
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
			return &conn{Conn: c}, nil
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
		DisableCompression:     true, // status.go decodes gzip with readers that it reuses, and limits what comes out
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

// Close gives up the idle connections. Call it when no [Client.Status] is running any more.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// String names c and the vendor's address.
func (c *Client) String() string { return "statusclient.Client{" + c.base.String() + "}" }

// GoString is String.
func (c *Client) GoString() string { return c.String() }

// MarshalJSON shows c without its token.
func (c *Client) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// Format writes String, whatever the verb.
func (c *Client) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }
