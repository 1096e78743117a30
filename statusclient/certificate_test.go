package statusclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/statusclient"
)

// issuer is a private authority.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newIssuer(t *testing.T, name string) issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	i := issuer{key: key, pool: x509.NewCertPool()}
	if i.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	i.pool.AddCert(i.certificate)
	return i
}

// issue returns a certificate for 127.0.0.1, with changes by edit.
func (i issuer) issue(t *testing.T, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	edit(template)
	der, err := x509.CreateCertificate(rand.Reader, template, i.certificate, &i.key.PublicKey, i.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.key}
}

// behind starts a server with a certificate.
func behind(t *testing.T, certificate tls.Certificate, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = discardLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// Each fault of a certificate has its own reason, and no other error has one.
func TestCertificatesThatAreRefused(t *testing.T) {
	known, unknown := newIssuer(t, "known"), newIssuer(t, "unknown")
	for _, tt := range []struct {
		name   string
		issuer issuer
		edit   func(*x509.Certificate)
		fault  statusclient.CertificateFault // empty: accepted
	}{
		{"good", known, func(*x509.Certificate) {}, ""},
		{"unknown authority", unknown, func(*x509.Certificate) {}, statusclient.CertificateOfUnknownAuthority},
		{"another host", known, func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"another.example"}
		}, statusclient.CertificateOfAnotherHost},
		{"expired", known, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = c.NotBefore.Add(-3*time.Hour), c.NotAfter.Add(-90*time.Minute)
		}, statusclient.CertificateExpired},
		{"not yet valid", known, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(30 * time.Minute)
		}, statusclient.CertificateNotYetValid},
		{"for clients", known, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, statusclient.CertificateRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := behind(t, tt.issuer.issue(t, tt.edit), writes(pending))
			c := newClient(t, at, statusclient.Config{RootCAs: known.pool})
			_, err := c.Status(t.Context(), identifier, time.Time{})
			var refused *statusclient.CertificateError
			if tt.fault == "" {
				if err != nil {
					t.Errorf("error %v", err)
				}
				return
			}
			if !errors.As(err, &refused) || refused.Fault != tt.fault || refused.Certificate == nil || refused.Proxy {
				t.Fatalf("error %v is %+v, want %s", err, refused, tt.fault)
			}
			var poll *schema.PollError
			if !errors.As(err, &poll) || poll.Fault != schema.FaultUnavailable ||
				!strings.Contains(poll.Detail, refused.Error()) {
				t.Errorf("error %+v, want FaultUnavailable and the certificate's error in the detail", poll)
			}
		})
	}
	t.Run("no listener", func(t *testing.T) {
		closed := httptest.NewServer(nil)
		closed.Close()
		_, err := newClient(t, closed.URL, statusclient.Config{}).Status(t.Context(), identifier, time.Time{})
		if refused := (*statusclient.CertificateError)(nil); err == nil || errors.As(err, &refused) {
			t.Errorf("error %v", err)
		}
	})
}

// A request goes through the given proxy. An error distinguishes the proxy's certificate from the vendor's.
func TestProxy(t *testing.T) {
	asked := make(chan string, 1)
	refuse := func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusBadGateway)
	}
	through := func(address string) func(*url.URL) (*url.URL, error) {
		return func(*url.URL) (*url.URL, error) { return url.Parse(address) }
	}
	plain := httptest.NewServer(http.HandlerFunc(refuse))
	t.Cleanup(plain.Close)
	status := func(url, proxy string) error {
		c := newClient(t, url, statusclient.Config{Proxy: through(proxy)})
		_, err := c.Status(t.Context(), identifier, time.Time{})
		return err
	}
	err := status("https://vendor.example", plain.URL)
	if got := <-asked; err == nil || got != "CONNECT vendor.example:443" {
		t.Errorf("request to the proxy: %s, error %v", got, err)
	}

	private := behind(t, newIssuer(t, "private").issue(t, func(*x509.Certificate) {}), refuse)
	err = status("https://vendor.example", private)
	if refused := (*statusclient.CertificateError)(nil); !errors.As(err, &refused) || !refused.Proxy {
		t.Errorf("error %v is %+v, want the proxy's certificate refused", err, refused)
	}

	server, _ := answering(t, writes(pending))
	if err := status(server.URL, plain.URL); err != nil {
		t.Errorf("a request to a loopback host uses the proxy: %v", err)
	}
}

// OnToken is called with each token before it is used.
func TestOnToken(t *testing.T) {
	var tokens []string
	file := t.TempDir() + "/token"
	writeFile(t, file, token+"\n")
	clock := newClock()
	server, seen := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("X-API-Token"); got != tokens[len(tokens)-1] {
			t.Errorf("token %s in a request, but the last call of OnToken was with %s", got, tokens[len(tokens)-1])
		}
		writes(pending)(w, r)
	})
	c := newClient(t, server.URL, statusclient.Config{
		TokenFile: file, Now: clock.Now, OnToken: func(token string) { tokens = append(tokens, token) },
	})
	for _, next := range []string{token, newToken} {
		writeFile(t, file, next)
		clock.Advance(time.Minute)
		if _, err := c.Status(t.Context(), identifier, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if seen.count() != 2 || strings.Join(tokens, " ") != token+" "+newToken {
		t.Errorf("calls of OnToken: %v in %d requests, want 2 in 2", tokens, seen.count())
	}
}
