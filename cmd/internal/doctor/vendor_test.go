package doctor

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/statusclient"
)

func TestJudgeAnswer(t *testing.T) {
	const detail = "the detail"
	fault := func(code int, f schema.Fault, json bool) statusclient.Examination {
		return statusclient.Examination{
			Base: "https://vendor.example/v1", StatusCode: code, JSON: json,
			Err: &schema.PollError{Fault: f, StatusCode: code, Detail: detail},
		}
	}
	noSuch := func(e statusclient.Examination) statusclient.Examination {
		e.NoSuch = true
		return e
	}
	for _, tt := range []struct {
		name          string
		answer        statusclient.Examination
		vendor, token Result
	}{
		{"404", fault(404, schema.FaultNotFound, true), Pass, Pass},
		{"404 for any path", noSuch(fault(404, schema.FaultNotFound, true)), Fail, Skip},
		{"404 that is not JSON", fault(404, schema.FaultNotAStatus, false), Fail, Skip},
		{"402", fault(402, schema.FaultUnavailable, true), Fail, Skip},
		{"407", fault(407, schema.FaultUnavailable, false), Fail, Skip},
		{"401", fault(401, schema.FaultUnauthorized, true), Pass, Fail},
		{"403", fault(403, schema.FaultUnauthorized, false), Pass, Fail},
		{"429", fault(429, schema.FaultThrottled, true), Warn, Skip},
		{"503", fault(503, schema.FaultUnavailable, true), Warn, Skip},
		{"408", fault(408, schema.FaultUnavailable, true), Fail, Skip},
		{"302", fault(302, schema.FaultUnavailable, true), Fail, Skip},
		{"400", fault(400, schema.FaultRejected, true), Fail, Skip},
		{"400 for any path", noSuch(fault(400, schema.FaultRejected, true)), Fail, Skip},
		{"not a status", fault(200, schema.FaultNotAStatus, true), Fail, Skip},
		{"no answer", fault(0, schema.FaultUnavailable, false), Fail, Skip},
		{"a status", statusclient.Examination{StatusCode: 200, JSON: true}, Warn, Skip},
	} {
		vendor, token := judgeAnswer(tt.answer)
		judged(t, tt.name+", vendor", vendor, tt.vendor)
		judged(t, tt.name+", token", token, tt.token)
		if tt.answer.Err != nil && !tt.answer.NoSuch && (vendor.Result == Fail || token.Result == Fail) {
			if !strings.Contains(vendor.Found+token.Found, detail) {
				t.Errorf("%s: no detail in %+v, %+v", tt.name, vendor, token)
			}
		}
	}
}

// Each fault of a certificate has a finding of its own.
func TestJudgeRefusedCertificate(t *testing.T) {
	leaf := &x509.Certificate{
		DNSNames: []string{"vendor.example"}, Issuer: pkix.Name{CommonName: "private"},
		NotBefore: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC),
	}
	seen := map[string]bool{}
	for _, tt := range []struct {
		fault  statusclient.CertificateFault
		proxy  bool
		values []string
	}{
		{statusclient.CertificateOfUnknownAuthority, false, []string{"CN=private", "--vendor-ca ($ELEVATEAI_CA_FILE)"}},
		{statusclient.CertificateOfAnotherHost, false, []string{"the x509 error", "--base-url ($ELEVATEAI_BASE_URL)"}},
		{statusclient.CertificateExpired, false, []string{"2026-04-01", "vendor.example"}},
		{statusclient.CertificateNotYetValid, false, []string{"2026-03-01", "vendor.example"}},
		{statusclient.CertificateRefused, false, []string{"the x509 error"}},
		{statusclient.CertificateOfAnotherHost, true, []string{"the x509 error", "$HTTPS_PROXY"}},
	} {
		refused := &statusclient.CertificateError{
			Fault: tt.fault, Proxy: tt.proxy, Certificate: leaf, Err: errors.New("the x509 error"),
		}
		found := judgeVendor(statusclient.Examination{
			Base: "https://vendor.example/v1",
			Err:  &schema.PollError{Fault: schema.FaultUnavailable, Detail: refused.Error(), Err: refused},
		}, leaf.NotBefore)
		judged(t, string(tt.fault), found[0], Fail, tt.values...)
		for _, f := range found[1:] {
			judged(t, string(tt.fault), f, Skip)
		}
		if text := found[0].Found + found[0].Fix; seen[text] {
			t.Errorf("%s has the same text as another: %s", tt.fault, text)
		} else {
			seen[text] = true
		}
	}
	bare := &statusclient.CertificateError{
		Fault: statusclient.CertificateOfUnknownAuthority, Err: errors.New("the x509 error"),
	}
	found := judgeVendor(statusclient.Examination{Err: &schema.PollError{Err: bare}}, leaf.NotBefore)
	judged(t, "without a certificate", found[0], Fail)
}

func TestAnyFailed(t *testing.T) {
	found := []Finding{pass("clock", "fine"), bad(Fail, "vendor", "do this", "no answer")}
	if !AnyFailed(found) || AnyFailed(found[:1]) {
		t.Errorf("AnyFailed(%v) is %t, and without the last finding %t", found, AnyFailed(found), AnyFailed(found[:1]))
	}
}
