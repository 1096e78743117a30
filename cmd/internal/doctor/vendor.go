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

// examineVendor makes a status request for an interaction that nobody declared, and where the vendor refuses that, a
// request for an address that no API has.
func examineVendor(ctx context.Context, p Target) []Finding {
	if p.Vendor == nil {
		found := skipped("there is no token to ask with", "", checkVendor, checkVendorTLS, checkVendorCertificate)
		return append(
			found,
			bad(Fail, checkToken, "give it the vendor's token: nothing can be polled without", "%v", p.NoVendor),
		)
	}
	return judgeVendor(p.Vendor.Examine(ctx, uuid.NewString()), time.Now())
}

func judgeVendor(e statusclient.Examination, now time.Time) []Finding {
	vendor, token := judgeAnswer(e)
	found := []Finding{vendor}
	if e.StatusCode == 0 && e.TLS == nil {
		found = append(found, skipped("there was no connection", "", checkVendorTLS, checkVendorCertificate)...)
	} else {
		found = append(
			found,
			judgeTLS(checkVendorTLS, hostOf(e.Base), e.TLS, "use https in --base-url ($ELEVATEAI_BASE_URL)"),
			judgeCertificates(checkVendorCertificate, e.TLS, now),
		)
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

// judgeAnswer tells what the answer says about the vendor, and about the token.
func judgeAnswer(e statusclient.Examination) (vendor, token Finding) {
	const checkURL = "check --base-url ($ELEVATEAI_BASE_URL)"
	untold := skipped("the answer tells nothing about it", "", checkToken)[0]
	if e.Err == nil {
		return bad(
			Warn,
			checkVendor,
			checkURL+"; the simulated vendor of `statusworker dev` does so",
			"%s knows the status of an interaction that nobody declared: it may not be the vendor",
			e.Base,
		), untold
	}
	poll := &schema.PollError{Detail: e.Err.Error()}
	_ = errors.As(e.Err, &poll) // it always is one
	switch {
	case e.StatusCode == 0:
		if refused := (*statusclient.CertificateError)(nil); errors.As(e.Err, &refused) {
			return judgeRefused(e.Base, refused), untold
		}
		return bad(Fail, checkVendor, checkURL+", the network, and a proxy ($HTTPS_PROXY)", "%s", poll.Detail), untold
	case poll.Fault.Refusal() && e.NoSuch:
		return bad(
			Fail,
			checkVendor,
			checkURL+": the vendor's ends in /v1",
			"%s is not the vendor's API: it answers %d, as it does for an address that no API has",
			e.Base,
			e.StatusCode,
		), untold
	case poll.Fault == schema.FaultNotFound:
		return pass(
				checkVendor,
				"%s answers",
				e.Base,
			), pass(
				checkToken,
				"accepted: 404 for an interaction that nobody declared",
			)
	case poll.Fault == schema.FaultUnauthorized:
		return pass(
				checkVendor,
				"%s answers",
				e.Base,
			), bad(
				Fail,
				checkToken,
				"set --api-token ($ELEVATEAI_API_TOKEN), or the file of --api-token-file ($ELEVATEAI_API_TOKEN_FILE), to a valid token",
				"%s",
				poll.Detail,
			)
	case poll.Fault == schema.FaultThrottled:
		return bad(
			Warn,
			checkVendor,
			"wait, and see --max-polls-per-second ($STATUSWORKER_MAX_POLLS_PER_SECOND); workers rest until it lets them in again",
			"%s",
			poll.Detail,
		), untold
	case poll.Fault == schema.FaultUnavailable && e.StatusCode/100 == 5:
		return bad(Warn, checkVendor, "wait; workers rest meanwhile, and nothing is lost", "%s", poll.Detail), untold
	}
	return bad(Fail, checkVendor, checkURL, "%s", poll.Detail), untold
}

// judgeRefused describes the fault of a certificate and what to do about it.
func judgeRefused(base string, e *statusclient.CertificateError) Finding {
	whose, where := "the vendor's certificate", "--base-url ($ELEVATEAI_BASE_URL)"
	if e.Proxy {
		whose, where = "the proxy's certificate", "$HTTPS_PROXY"
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
		return fail(
			"if its authority is to be trusted, give the authority's certificate with --vendor-ca ($ELEVATEAI_CA_FILE); otherwise check "+where,
			"is signed by an unknown authority: %s",
			c.Issuer,
		)
	case statusclient.CertificateOfAnotherHost:
		return fail(
			"correct the host in "+where+", or have a certificate issued for that host",
			"has another host name: %v",
			e.Err,
		)
	case statusclient.CertificateExpired:
		return fail(
			"have the certificate renewed; check this host's clock",
			"has expired: %s was valid until %s",
			subjectOf(c),
			c.NotAfter.UTC().Format(time.RFC3339),
		)
	case statusclient.CertificateNotYetValid:
		return fail(
			"check this host's clock; if it is right, have the certificate replaced",
			"is not yet valid: %s is valid from %s",
			subjectOf(c),
			c.NotBefore.UTC().Format(time.RFC3339),
		)
	}
	return fail("have the certificate replaced", "is refused: %v", e.Err)
}
