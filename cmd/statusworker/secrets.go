package main

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A flag that can hold a secret has the tag `secret` with the part of its value that is secret.
const (
	secretToken    = "token"
	secretPassword = "password"
	secretUser     = "user" // where there is no password, the user is a token
	secretURL      = "url"  // what stands before the host
)

// addSecrets registers the secrets in the flags and variables of all commands before they are parsed, because an error can quote
// them. The token of a token file is registered when the file is read.
func (p process) addSecrets(all *kong.Application) {
	given := map[string][]string{}
	for _, flag := range flagsBelow(all.Node) {
		kind := flag.Tag.Get("secret")
		if kind == "" {
			continue
		}
		given[kind] = append(given[kind], p.getenv(flag.Tag.Get("var")))
		for i, arg := range p.args {
			name, value, joined := strings.Cut(arg, "=")
			if !joined && i+1 < len(p.args) {
				value = p.args[i+1]
			}
			if name == "--"+flag.Name {
				given[kind] = append(given[kind], value)
			}
		}
	}
	for _, name := range slices.Concat(proxyVariables, endpointVariables) {
		given[secretURL] = append(given[secretURL], p.getenv(name))
	}
	values := slices.Concat(given[secretToken], given[secretPassword])
	if strings.Join(given[secretPassword], "") == "" {
		values = append(values, given[secretUser]...)
	}
	for _, value := range values {
		p.secrets.Add(value, strings.Trim(value, " \t\r\n\"'`"))
	}
	for _, urls := range given[secretURL] {
		for one := range strings.SplitSeq(urls, ",") {
			p.secrets.Add(userInfo(one)...)
		}
	}
	p.secrets.Add(headerSecrets(p.getenv)...)
}

// hasSecrets reports whether a command has a flag that can hold a secret.
func hasSecrets(flags []*kong.Flag) bool {
	return slices.ContainsFunc(flags, func(f *kong.Flag) bool { return f.Tag.Get("secret") != "" })
}

// userInfo returns the secrets in a URL: as written, decoded, and as in a header for basic authentication. The URL may be
// malformed, for example by a password with a slash in it.
func userInfo(server string) []string {
	_, rest, found := strings.Cut(server, "://")
	if !found {
		rest = server
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	end := strings.LastIndex(authority, "@")
	if end < 0 {
		_, password, found := strings.Cut(rest[:max(0, strings.LastIndex(rest, "@"))], ":")
		if !found {
			return nil
		}
		return []string{password}
	}
	info := authority[:end]
	user, secret, found := strings.Cut(info, ":")
	if !found {
		secret = user
	}
	all := []string{secret}
	if meant, err := url.PathUnescape(info); err == nil {
		_, plain, found := strings.Cut(meant, ":")
		if !found {
			plain = meant
		}
		all = append(all, plain, base64.StdEncoding.EncodeToString([]byte(meant)))
	}
	return all
}
