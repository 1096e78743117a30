package mask

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// Withheld is shown instead of a value that may be a secret.
const Withheld = `"(withheld)"`

// URL returns a server's URL without user and password. A user without a password is a token, and also removed.
func URL(server string) string {
	server = strings.TrimSpace(server)
	scheme, rest, found := strings.Cut(server, "://")
	if !found {
		scheme, rest = "", server
	}
	authority, path := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, path = rest[:end], rest[end:]
	}
	authority = authority[strings.LastIndex(authority, "@")+1:]
	port := authority[strings.LastIndex(authority, ":")+1:]
	if strings.Contains(scheme+path, "@") ||
		port != authority && !strings.HasSuffix(authority, "]") && strings.Trim(port, "0123456789") != "" {
		return "(not a URL)" // it may contain a password
	}
	if !found {
		return authority + path
	}
	return scheme + "://" + authority + path
}

// UserInfo returns the secrets in a URL: as written, decoded, and encoded for a basic authentication header. The URL
// may be malformed, for example because the password contains a slash.
func UserInfo(server string) []string {
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
