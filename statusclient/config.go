package statusclient

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
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

// Config is the configuration of a [Client]. Formatting it, with any verb, does not show the token.
type Config struct {
	// BaseURL is the URL without `/interactions`, such as https://api.elevateai.com/v1. Only loopback hosts (localhost,
	// 127.0.0.0/8 and ::1) may have plain http.
	BaseURL string
	// Token is the value of X-API-Token, without surrounding white space. Set exactly one of Token and TokenFile.
	Token string
	// TokenFile is the file that has the token. It is read by New, when the vendor rejects the token (once for all
	// requests in flight), before every request while the current token is rejected, and before a request if the last
	// read is more than 30 s ago. [Client.WatchToken] reads it every 10 s.
	TokenFile string
	// Timeout limits a whole request, from the dial to the last byte of the answer; 0 means [DefaultTimeout].
	Timeout time.Duration
	// Concurrency is the maximum number of connections, all of them kept alive; 0 means [DefaultConcurrency]. More
	// concurrent calls wait for a connection, within Timeout.
	Concurrency int
	// UserAgent is the header of that name; empty means statusworker.
	UserAgent string
	// RootCAs are the trusted authorities; nil means those of the system.
	RootCAs *x509.CertPool
	// Proxy returns the proxy for a URL, or nil for a direct connection. If Proxy is nil, all connections are direct.
	// Connections to loopback hosts are always direct.
	Proxy func(*url.URL) (*url.URL, error)
	// Dial opens connections; nil means a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// OnToken, if set, is called with each token before it is used, by New and after the token file has changed.
	OnToken func(token string)
	// Now is the clock for sendBy, Retry-After and the token file; nil means time.Now. Timeout uses real timers.
	Now func() time.Time
}

// String returns c without its token.
func (c Config) String() string {
	token := "(not set)"
	if c.Token != "" {
		token = withheld
	}
	return fmt.Sprintf("{BaseURL:%s Token:%s TokenFile:%s Timeout:%s Concurrency:%d UserAgent:%s}",
		showURL(c.BaseURL), token, schema.Quote(c.TokenFile), c.Timeout, c.Concurrency, schema.Quote(c.UserAgent))
}

// GoString returns c without its token.
func (c Config) GoString() string { return "statusclient.Config" + c.String() }

// Format writes c without its token for every verb.
func (c Config) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		fmt.Fprint(f, c.GoString())
		return
	}
	fmt.Fprint(f, c.String())
}

// MarshalJSON returns c without its token.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

const withheld = "(withheld)"

// ConfigError is the error of a field of a [Config]. Want completes the sentence "must be ...". The error never
// contains the token.
type ConfigError struct {
	Field string
	Value string
	Want  string
	// Err is the cause, such as the error of a file that cannot be read; or nil.
	Err error
}

func (e *ConfigError) Error() string {
	value := e.Value
	if value != withheld {
		value = schema.Quote(value)
	}
	if e.Err != nil {
		return fmt.Sprintf("%s is %s: %v; must be %s", e.Field, value, e.Err, e.Want)
	}
	return fmt.Sprintf("%s is %s; must be %s", e.Field, value, e.Want)
}

// Unwrap returns the cause, or nil.
func (e *ConfigError) Unwrap() error { return e.Err }

// withDefaults checks c, and returns it with its defaults and the parsed base URL.
func (c Config) withDefaults() (Config, *url.URL, error) {
	base, err := parseBaseURL(c.BaseURL)
	if err != nil {
		return c, nil, err
	}
	switch {
	case c.Timeout < 0:
		return c, nil, &ConfigError{Field: "Timeout", Value: c.Timeout.String(),
			Want: "more than 0, or 0 for " + DefaultTimeout.String()}
	case c.Concurrency < 0:
		return c, nil, &ConfigError{Field: "Concurrency", Value: strconv.Itoa(c.Concurrency),
			Want: fmt.Sprintf("at least 1, or 0 for %d", DefaultConcurrency)}
	case strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }):
		return c, nil, &ConfigError{Field: "UserAgent", Value: c.UserAgent, Want: "printable ASCII"}
	case c.Token != "" && c.TokenFile != "":
		return c, nil, &ConfigError{Field: "TokenFile", Value: c.TokenFile, Want: "empty if Token is set"}
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

// parseBaseURL parses and checks a base URL, and removes a trailing slash.
func parseBaseURL(s string) (*url.URL, error) {
	const example = ", such as https://api.elevateai.com/v1"
	u, err := url.Parse(s)
	want := "a URL"
	if err == nil {
		u.Path = strings.TrimRight(u.Path, "/")
		want = checkBaseURL(u)
	}
	if want != "" {
		return nil, &ConfigError{Field: "BaseURL", Value: showURL(s), Want: want + example}
	}
	return u, nil
}

// checkBaseURL returns what a base URL must be, or an empty string if it is valid.
func checkBaseURL(u *url.URL) (want string) {
	isInteractions := func(segment string) bool { return strings.EqualFold(segment, "interactions") }
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "an https URL"
	case u.Hostname() == "":
		return "an https URL with a host"
	case u.User != nil:
		return "a URL without user and password"
	case CheckAddress(u) != nil:
		return fmt.Sprintf("an https URL of a host, with a port from 1 to 65535 or without one (%v)", CheckAddress(u))
	case u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return "a URL without query and fragment"
	case u.RawPath != "", strings.Contains(u.Path, ".."):
		return "a URL with a plain path"
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return "https (plain http is only for loopback hosts)"
	case slices.ContainsFunc(strings.Split(u.Path, "/"), isInteractions):
		return "a URL without /interactions"
	case u.Path == "" && strings.EqualFold(u.Hostname(), vendorHost):
		return "a URL with the version of the API, /v1"
	}
	return ""
}

// vendorHost is the host of the vendor's API, which has no resources without a path such as /v1.
const vendorHost = "api.elevateai.com"

// showURL replaces the parts of a URL that may contain a secret by the reason why they are not shown.
func showURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(withheld: it is not a URL, and may contain a password)"
	}
	if u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		return s
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String() +
		" (user, query and fragment withheld: they may contain a secret)"
}

// IsLoopback reports whether a host, a name or an address without a port, is a loopback host.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
