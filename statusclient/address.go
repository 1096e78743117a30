package statusclient

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"statusworker/schema"
)

// CheckAddress returns an error if a URL has no host, or a host or port that cannot exist. The error does not contain
// the user information of the URL.
func CheckAddress(u *url.URL) error {
	host, port := u.Hostname(), u.Port()
	switch {
	case host == "":
		return errors.New("it has no host")
	case !ValidHost(host):
		return fmt.Errorf("the host is %s; must be a name or an address", schema.Quote(host))
	case strings.Contains(host, ":") && !strings.HasPrefix(u.Host, "["):
		return fmt.Errorf("the host is %s; must be in brackets, as in [::1]:80", schema.Quote(u.Host))
	case port == "":
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("the port is %s; must be 1 to 65535", port)
	}
	return nil
}

var hostPattern = regexp.MustCompile(
	`^[\pL\pN_]([\pL\pN\pM_-]*[\pL\pN\pM_])?(\.[\pL\pN_]([\pL\pN\pM_-]*[\pL\pN\pM_])?)*\.?$`,
)

// ValidHost reports whether a host is an address or a possible name.
func ValidHost(host string) bool {
	address, _, _ := strings.Cut(host, "%") // a zone
	if net.ParseIP(address) != nil {
		return true
	}
	return hostPattern.MatchString(host) && strings.Trim(host, "0123456789.") != ""
}
