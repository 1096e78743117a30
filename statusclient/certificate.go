package statusclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// CertificateFault is the reason why a certificate is refused.
type CertificateFault string

// The faults of certificates.
const (
	CertificateOfUnknownAuthority CertificateFault = "unknown authority"
	CertificateOfAnotherHost      CertificateFault = "another host"
	CertificateExpired            CertificateFault = "expired"
	CertificateNotYetValid        CertificateFault = "not yet valid"
	CertificateRefused            CertificateFault = "refused" // for another reason
)

// CertificateError is the error of a request that was not sent because the certificate of the vendor or of the proxy
// was refused.
type CertificateError struct {
	Fault CertificateFault
	// Proxy is true for the proxy's certificate, and false for the vendor's.
	Proxy bool
	// Certificate is the refused certificate: that of the host, or that of an authority if it is expired or not yet
	// valid. It may be nil.
	Certificate *x509.Certificate
	Err         error
}

func (e *CertificateError) Error() string {
	whose := "ElevateAI's certificate"
	if e.Proxy {
		whose = "the proxy's certificate"
	}
	switch c := e.Certificate; {
	case e.Fault == CertificateOfUnknownAuthority:
		return whose + " is signed by an authority that is not trusted: " + e.Err.Error()
	case e.Fault == CertificateOfAnotherHost:
		return whose + " is for another host: " + e.Err.Error()
	case e.Fault == CertificateExpired && c != nil:
		return fmt.Sprintf("%s expired on %s: %v", whose, c.NotAfter.UTC().Format(time.RFC3339), e.Err)
	case e.Fault == CertificateNotYetValid && c != nil:
		return fmt.Sprintf("%s is not valid before %s: %v", whose, c.NotBefore.UTC().Format(time.RFC3339), e.Err)
	}
	return whose + " is refused: " + e.Err.Error()
}

// Unwrap returns the error of package x509.
func (e *CertificateError) Unwrap() error { return e.Err }

// verifying is a transport that returns a [*CertificateError] for a refused certificate.
type verifying struct{ *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (v *verifying) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := v.Transport.RoundTrip(r)
	if err != nil {
		if refused := certificateError(err); refused != nil {
			return nil, refused
		}
	}
	return resp, err
}

// certificateError returns the error of a refused certificate, or nil.
func certificateError(err error) *CertificateError {
	var verification *tls.CertificateVerificationError
	if !errors.As(err, &verification) {
		return nil
	}
	e := &CertificateError{Fault: CertificateRefused, Err: verification.Err}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		e.Proxy = op.Op == "proxyconnect"
	}
	if len(verification.UnverifiedCertificates) > 0 {
		e.Certificate = verification.UnverifiedCertificates[0]
	}
	var unknown x509.UnknownAuthorityError
	var another x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		e.Fault = CertificateOfUnknownAuthority
	case errors.As(err, &another):
		e.Fault = CertificateOfAnotherHost
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired: // also of certificates that are not yet valid
		e.Fault, e.Certificate = CertificateExpired, invalid.Cert
		if time.Now().Before(invalid.Cert.NotBefore) {
			e.Fault = CertificateNotYetValid
		}
	}
	return e
}
