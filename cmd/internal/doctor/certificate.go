package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"statusworker/statusclient"
)

// soon is how long before its end a certificate is worth a warning.
const soon = 21 * 24 * time.Hour

// judgeTLS says what a connection is protected by. The state is nil where there is no TLS on it.
func judgeTLS(check, peer string, state *tls.ConnectionState, fix string) Finding {
	switch {
	case state == nil && loopback(peer):
		return pass(check, "none, and none is needed: %s is this machine", peer)
	case state == nil:
		return bad(Warn, check, fix, "none: what goes to %s and back can be read on the way, credentials too", peer)
	case state.Version < tls.VersionTLS12:
		return bad(Fail, check, "let it offer TLS 1.2 or newer", "%s", tls.VersionName(state.Version))
	}
	return pass(check, "%s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
}

// judgeCertificates says how long those of the other side are valid: as long as the first that ends.
func judgeCertificates(check string, state *tls.ConnectionState, now time.Time) Finding {
	if state == nil || len(state.PeerCertificates) == 0 {
		return skipped("there is no TLS", "", check)[0]
	}
	first := state.PeerCertificates[0]
	for _, c := range state.PeerCertificates {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	end := first.NotAfter.UTC().Format("2006-01-02")
	switch left := first.NotAfter.Sub(now); {
	case left <= 0:
		return bad(Fail, check, "renew it", "the certificate of %s ended on %s", subjectOf(first), end)
	case left < soon:
		return bad(
			Warn,
			check,
			"renew it",
			"the certificate of %s ends on %s, in %d days",
			subjectOf(first),
			end,
			int(left.Hours()/24),
		)
	default:
		return pass(check, "valid until %s, %d days", end, int(left.Hours()/24))
	}
}

func subjectOf(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.String()
}

// loopback tells whether an address, with or without a port, is this machine.
func loopback(address string) bool {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	return statusclient.IsLoopback(host)
}
