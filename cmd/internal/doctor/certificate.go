package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"statusworker/statusclient"
)

// expiresSoon is how long before a certificate expires the doctor warns.
const expiresSoon = 21 * 24 * time.Hour

// judgeTLS judges the protection of a connection. The state is nil without TLS.
func judgeTLS(check, peer string, state *tls.ConnectionState, fix string) Finding {
	switch {
	case state == nil && loopback(peer):
		return pass(check, "none, not needed: %s is this machine", peer)
	case state == nil:
		return bad(Warn, check, fix, "none: the network can read all traffic with %s, including credentials", peer)
	case state.Version < tls.VersionTLS12:
		return bad(Fail, check, "enable TLS 1.2 or later on the server", "%s", tls.VersionName(state.Version))
	}
	return pass(check, "%s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
}

// judgeCertificates judges the certificate of the peer's chain that expires first.
func judgeCertificates(check string, state *tls.ConnectionState, now time.Time) Finding {
	if state == nil || len(state.PeerCertificates) == 0 {
		return skipped("no TLS", "", check)[0]
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
		return bad(Fail, check, "renew the certificate", "the certificate of %s expired on %s", subjectOf(first), end)
	case left < expiresSoon:
		return bad(Warn, check, "renew the certificate", "the certificate of %s expires on %s, in %d days",
			subjectOf(first), end, int(left.Hours()/24))
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

// loopback reports whether an address, with or without a port, is a loopback address.
func loopback(address string) bool {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	return statusclient.IsLoopback(host)
}
