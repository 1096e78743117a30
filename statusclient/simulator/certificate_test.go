package simulator_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"statusworker/statusclient/simulator"
)

// A certificate in a folder is the same after a restart, is valid for the configured hosts, and has a private key file.
func TestCertificateIsKept(t *testing.T) {
	folder := t.TempDir()
	cfg := simulator.Config{TLS: true, Hosts: []string{"vendor.example"}, CertificateFolder: folder}
	var first []byte
	for range 2 {
		s, err := simulator.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		pem := s.CertificatePEM()
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			t.Fatalf("not a certificate: %s", pem)
		}
		for _, host := range []string{"vendor.example", "localhost"} {
			c, err := tls.Dial(
				"tcp",
				s.URL()[len("https://"):len(s.URL())-len("/v1")],
				&tls.Config{RootCAs: roots, ServerName: host},
			)
			if err != nil {
				t.Fatalf("request to %s: %v", host, err)
			}
			c.Close()
		}
		if s.Close(); first != nil && !bytes.Equal(first, pem) {
			t.Error("the certificate differs after a restart")
		}
		first = pem
	}
	if kept, err := os.ReadFile(filepath.Join(folder, "certificate.pem")); err != nil || !bytes.Equal(kept, first) {
		t.Errorf("certificate.pem: %s (%v)", kept, err)
	}
	if info, err := os.Stat(filepath.Join(folder, "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key.pem: %v (%v), want no permissions for others", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(folder, "key.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := simulator.Start(cfg); err == nil {
		s.Close()
		t.Error("Start accepts an invalid key")
	}
}

// A certificate is still valid after a long time.
func TestCertificateIsRenewed(t *testing.T) {
	folder := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	over := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     time.Now().Add(-time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, over, over, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"certificate.pem": {Type: "CERTIFICATE", Bytes: certificate}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := simulator.Start(simulator.Config{TLS: true, CertificateFolder: folder})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kept, err := os.ReadFile(filepath.Join(folder, "certificate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(kept)
	inYears := func() time.Time { return time.Now().AddDate(5, 0, 0) }
	for _, now := range []func() time.Time{time.Now, inYears} {
		c, err := tls.Dial(
			"tcp",
			s.URL()[len("https://"):len(s.URL())-len("/v1")],
			&tls.Config{RootCAs: roots, ServerName: "localhost", Time: now},
		)
		if err != nil {
			t.Fatalf("request on %s: %v", now().Format(time.DateOnly), err)
		}
		c.Close()
	}
}
