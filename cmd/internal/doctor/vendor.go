package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"net/url"
	"time"

	"github.com/google/uuid"

	"statusworker/schema"
	"statusworker/statusclient"
)

// The checks of the vendor.
const (
	checkVendor            = "vendor"
	checkVendorTLS         = "vendor tls"
	checkVendorCertificate = "vendor certificate"
	checkToken             = "vendor token"
)

// examineVendor sends one status request for a random identifier. If the vendor refuses it, it sends a second one, to a
// path that no API has.
func examineVendor(ctx context.Context, p Target) []Finding {
	if p.Vendor == nil {
		found := skipped("no API token", "", checkVendor, checkVendorTLS, checkVendorCertificate)
		return append(found, bad(Fail, checkToken, "set the API token", "%v", p.NoVendor))
	}
	return judgeVendor(p.Vendor.Examine(ctx, uuid.NewString()), time.Now())
}

func judgeVendor(e statusclient.Examination, now time.Time) []Finding {
	vendor, token := judgeAnswer(e)
	found := []Finding{vendor}
	if e.StatusCode == 0 && e.TLS == nil {
		found = append(found, skipped("no connection", "", checkVendorTLS, checkVendorCertificate)...)
	} else {
		found = append(found,
			judgeTLS(checkVendorTLS, hostOf(e.Base), e.TLS, "use https in --base-url ($ELEVATEAI_BASE_URL)"),
			judgeCertificates(checkVendorCertificate, e.TLS, now))
	}
	return append(found, token)
}

func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	return u.Host
}

// judgeAnswer judges the vendor and the API token by the answer.
func judgeAnswer(e statusclient.Examination) (vendor, token Finding) {
	const checkURL = "check --base-url ($ELEVATEAI_BASE_URL)"
	unknown := skipped("the answer does not show whether the token is accepted", "", checkToken)[0]
	if e.Err == nil {
		return bad(Warn, checkVendor, checkURL+"; with the simulator of `statusworker dev`, nothing is wrong",
			"%s reports a status for a random identifier: it may not be ElevateAI", e.Base), unknown
	}
	poll := &schema.PollError{Detail: e.Err.Error()}
	_ = errors.As(e.Err, &poll) // every error of Examine is one
	answers := pass(checkVendor, "%s answers", e.Base)
	switch {
	case e.StatusCode == 0:
		if refused := (*statusclient.CertificateError)(nil); errors.As(e.Err, &refused) {
			return judgeCertificateError(e.Base, refused), unknown
		}
		return bad(Fail, checkVendor, checkURL+", the network, and a proxy ($HTTPS_PROXY)", "%s", poll.Detail), unknown
	case poll.Fault.Refusal() && e.NoSuch:
		return bad(Fail, checkVendor, checkURL+": that of ElevateAI ends in /v1",
			"%s is not ElevateAI's API: it answers %d to a status request, and to a path that does not exist",
			e.Base, e.StatusCode), unknown
	case poll.Fault == schema.FaultNotFound:
		return answers, pass(checkToken, "accepted: 404 for a random identifier")
	case poll.Fault == schema.FaultUnauthorized:
		return answers, bad(Fail, checkToken,
			"set --api-token ($ELEVATEAI_API_TOKEN), or the file of --api-token-file ($ELEVATEAI_API_TOKEN_FILE), "+
				"to a valid token", "%s", poll.Detail)
	case poll.Fault == schema.FaultThrottled:
		return bad(Warn, checkVendor, "wait, and see --max-polls-per-second ($STATUSWORKER_MAX_POLLS_PER_SECOND); "+
			"workers pause until ElevateAI accepts requests again", "%s", poll.Detail), unknown
	case poll.Fault == schema.FaultUnavailable && e.StatusCode/100 == 5:
		return bad(Warn, checkVendor, "wait; workers pause meanwhile, and no interaction is lost",
			"%s", poll.Detail), unknown
	}
	return bad(Fail, checkVendor, checkURL, "%s", poll.Detail), unknown
}

// judgeCertificateError describes why a certificate is not accepted, and what to do about it.
func judgeCertificateError(base string, e *statusclient.CertificateError) Finding {
	whose, where := "the certificate of ElevateAI", "--base-url ($ELEVATEAI_BASE_URL)"
	if e.Proxy {
		whose, where = "the certificate of the proxy", "$HTTPS_PROXY"
	}
	c := e.Certificate
	if c == nil {
		c = &x509.Certificate{}
	}
	fail := func(fix, format string, args ...any) Finding {
		return bad(Fail, checkVendor, fix, "%s: "+whose+" "+format, append([]any{base}, args...)...)
	}
	switch e.Fault {
	case statusclient.CertificateOfUnknownAuthority:
		return fail("if you trust the authority, set --vendor-ca ($ELEVATEAI_CA_FILE) to its certificate; otherwise "+
			"check "+where, "is signed by an unknown authority: %s", c.Issuer)
	case statusclient.CertificateOfAnotherHost:
		return fail("correct the host in "+where+", or issue a certificate for that host",
			"has another host name: %v", e.Err)
	case statusclient.CertificateExpired:
		return fail("renew the certificate; check this host's clock", "has expired: %s was valid until %s",
			subjectOf(c), c.NotAfter.UTC().Format(time.RFC3339))
	case statusclient.CertificateNotYetValid:
		return fail("check this host's clock; if it is right, replace the certificate",
			"is not yet valid: %s is valid from %s", subjectOf(c), c.NotBefore.UTC().Format(time.RFC3339))
	}
	return fail("replace the certificate", "is not accepted: %v", e.Err)
}
