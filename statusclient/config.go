package statusclient

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"statusworker/schema"
)

// Defaults of a [Config].
const (
	DefaultTimeout     = 10 * time.Second
	DefaultConcurrency = 64
	defaultUserAgent   = "statusworker"
)

// Config says where the vendor is and how to ask. Printing one, with any verb, does not show the token.
type Config struct {
	// BaseURL is what comes before `/interactions`, such as https://api.elevateai.com/v1. Plain http is for loopback
	// hosts only: localhost, 127.0.0.0/8 and ::1.
	BaseURL string
	// Token is the value of X-API-Token. Exactly one of Token and TokenFile is set. White space around it is dropped.
	Token string
	// TokenFile holds the token. It is read by New, again when the vendor refuses the token (once for all requests that
	// were under way then), before every request as long as a refused token is in use, and otherwise when a token is
	// wanted and the last look is more than 30 s old.
	TokenFile string
	// Timeout ends a whole request, from the dial to the last byte of the answer; zero means [DefaultTimeout].
	Timeout time.Duration
	// Concurrency is how many connections there can be, all of them kept alive; zero means [DefaultConcurrency].
	// More calls than that wait for a connection, within Timeout.
	Concurrency int
	// UserAgent is the header of that name; empty means statusworker.
	UserAgent string
	// RootCAs are the authorities to trust; nil means the system's.
	RootCAs *x509.CertPool
	// Proxy returns the proxy for a URL, or nil for a direct connection. If it is not set, every connection is direct.
	// Connections to loopback hosts always are.
	Proxy func(*url.URL) (*url.URL, error)
	// Dial opens connections; nil means a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// OnToken, if set, is called with each token before it is used, by New and after the token file has changed.
	OnToken func(token string)
	// Now is the clock for sendBy, Retry-After and the token file; nil means time.Now. Timeout runs on real timers.
	Now func() time.Time
}

// String shows c without its token.
func (c Config) String() string {
	token := "(not set)"
	if c.Token != "" {
		token = withheld
	}
	return fmt.Sprintf("{BaseURL:%s Token:%s TokenFile:%s Timeout:%s Concurrency:%d UserAgent:%s}",
		showURL(c.BaseURL), token, schema.Quote(c.TokenFile), c.Timeout, c.Concurrency, schema.Quote(c.UserAgent))
}

// GoString shows c without its token.
func (c Config) GoString() string { return "statusclient.Config" + c.String() }

// Format shows c without its token, whatever the verb.
func (c Config) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		fmt.Fprint(f, c.GoString())
		return
	}
	fmt.Fprint(f, c.String())
}

// MarshalJSON shows c without its token.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

const withheld = "(withheld)"

// ConfigError says which field of a [Config] is wrong, what it is, and what is allowed. It never has the token in it.
type ConfigError struct {
	Field string
	Value string
	Want  string
	// Err is the cause where the value itself is fine, such as a file that cannot be read.
	Err error
}

func (e *ConfigError) Error() string {
	value := e.Value
	if value != withheld {
		value = schema.Quote(value)
	}
	if e.Err != nil {
		return fmt.Sprintf("%s is %s: %v: want %s", e.Field, value, e.Err, e.Want)
	}
	return fmt.Sprintf("%s is %s: want %s", e.Field, value, e.Want)
}

// Unwrap gives the cause, if there is one.
func (e *ConfigError) Unwrap() error { return e.Err }

// withDefaults checks c, and gives it with its defaults and the parsed base URL.
func (c Config) withDefaults() (Config, *url.URL, error) {
	base, err := parseBaseURL(c.BaseURL)
	if err != nil {
		return c, nil, err
	}
	switch {
	case c.Timeout < 0:
		return c, nil, &ConfigError{
			Field: "Timeout",
			Value: c.Timeout.String(),
			Want:  "more than 0, or 0 for " + DefaultTimeout.String(),
		}
	case c.Concurrency < 0:
		return c, nil, &ConfigError{
			Field: "Concurrency",
			Value: strconv.Itoa(c.Concurrency),
			Want:  fmt.Sprintf("at least 1, or 0 for %d", DefaultConcurrency),
		}
	case strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }):
		return c, nil, &ConfigError{Field: "UserAgent", Value: c.UserAgent, Want: "printable ASCII"}
	case c.Token != "" && c.TokenFile != "":
		return c, nil, &ConfigError{Field: "TokenFile", Value: c.TokenFile, Want: "either Token or TokenFile, not both"}
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Concurrency == 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.UserAgent == "" {
		c.UserAgent = defaultUserAgent
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, base, nil
}

func parseBaseURL(s string) (*url.URL, error) {
	const example = ", such as https://api.elevateai.com/v1"
	wrong := func(want string) error {
		return &ConfigError{Field: "BaseURL", Value: showURL(s), Want: want + example}
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, wrong("a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, wrong("an https URL")
	case u.Hostname() == "":
		return nil, wrong("an https URL with a host")
	case u.User != nil:
		return nil, wrong("a URL without user and password")
	case CheckPort(u) != nil:
		return nil, wrong("an https URL with a port from 1 to 65535, or without one")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, wrong("a URL without query and fragment")
	case u.RawPath != "" || strings.Contains(u.Path, ".."):
		return nil, wrong("a URL with a plain path")
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return nil, wrong("https (plain http is for loopback hosts only)")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	for segment := range strings.SplitSeq(u.Path, "/") {
		if strings.EqualFold(segment, "interactions") {
			return nil, wrong("a URL that ends before /interactions")
		}
	}
	if u.Path == "" && strings.EqualFold(u.Hostname(), vendorHost) {
		return nil, wrong("a URL with the version of the API, /v1")
	}
	return u, nil
}

// vendorHost is where the vendor serves its API, under a path such as /v1 and nothing else.
const vendorHost = "api.elevateai.com"

// showURL leaves out the parts of a URL that can hold a secret.
func showURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(no URL)"
	}
	if u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		return s
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String() + " (shortened)"
}

// CheckPort refuses the port of a URL at which nothing can ever listen.
func CheckPort(u *url.URL) error {
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("the port %s is not 1 to 65535", port)
		}
	}
	return nil
}

// IsLoopback tells whether a host, a name or an address without a port, is this machine.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
