// Package proxy selects the proxy for outgoing requests, from the environment.
package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/mask"
	"statusworker/schema"
	"statusworker/statusclient"
)

// variables are those for requests to the vendor and to the receiver of traces.
var variables = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"}

// FromEnvironment returns a function that selects the proxy for a URL from the environment. It rejects malformed
// values: package httpproxy would ignore them, and requests would bypass the proxy.
func FromEnvironment(getenv func(string) string) (func(*url.URL) (*url.URL, error), error) {
	for _, name := range variables {
		if err := checkProxy(name, getenv(name)); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		if err := checkNoProxy(name, getenv(name)); err != nil {
			return nil, err
		}
	}
	either := func(upper string) string {
		return cmp.Or(getenv(upper), getenv(strings.ToLower(upper)))
	}
	cfg := httpproxy.Config{
		HTTPSProxy: either("HTTPS_PROXY"),
		HTTPProxy:  either("HTTP_PROXY"),
		NoProxy:    either("NO_PROXY"),
	}
	return cfg.ProxyFunc(), nil
}

// Secrets returns the users and passwords in the variables.
func Secrets(getenv func(string) string) (all []string) {
	for _, name := range variables {
		all = append(all, mask.UserInfo(getenv(name))...)
	}
	return all
}

func checkProxy(name, value string) error {
	if value == "" {
		return nil
	}
	if cli.InQuotes(value) {
		return cli.QuotedVariable(name)
	}
	show := mask.Withheld // the value may contain a password
	bad := func(why error) error {
		return cli.BadVariable(name, show, fmt.Sprintf("a proxy URL, such as http://proxy.example:3128 (%v)", why))
	}
	full := value
	if !strings.Contains(value, "://") {
		full = "http://" + value
	}
	u, err := url.Parse(full)
	if err != nil {
		return bad(errors.New("not a URL"))
	}
	show = schema.Quote(u.Scheme + "://" + u.Host)
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return bad(fmt.Errorf("the scheme is %s: must be http, https, socks5 or socks5h", schema.Quote(u.Scheme)))
	}
	if err := statusclient.CheckAddress(u); err != nil {
		return bad(err)
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return bad(errors.New("it has a path or query"))
	}
	return nil
}

func checkNoProxy(name, value string) error {
	if cli.InQuotes(value) {
		return cli.QuotedVariable(name)
	}
	for entry := range strings.SplitSeq(value, ",") {
		if entry = strings.TrimSpace(entry); entry == "" || entry == "*" || exempts(entry) {
			continue
		}
		return cli.BadVariable(name, "a list with "+schema.Quote(mask.URL(entry)),
			"host names, addresses, networks such as 10.0.0.0/8, or *, separated by commas")
	}
	return nil
}

// exempts reports whether an entry of NO_PROXY can exempt a host.
func exempts(entry string) bool {
	if _, _, err := net.ParseCIDR(entry); err == nil {
		return true
	}
	if net.ParseIP(entry) != nil {
		return true
	}
	host := entry
	if h, port, err := net.SplitHostPort(entry); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
		host = h
	}
	return statusclient.ValidHost(strings.TrimPrefix(strings.TrimPrefix(host, "*."), "."))
}
