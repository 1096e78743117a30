package simulator_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"statusworker/statusclient/simulator"
)

// A certificate that is kept is the same after a restart, is for the hosts that were named, and its key is nobody else's.
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
			t.Fatalf("no certificate: %s", pem)
		}
		for _, host := range []string{"vendor.example", "localhost"} {
			c, err := tls.Dial("tcp", s.URL()[len("https://"):len(s.URL())-len("/v1")], &tls.Config{RootCAs: roots, ServerName: host})
			if err != nil {
				t.Fatalf("as %s: %v", host, err)
			}
			c.Close()
		}
		if s.Close(); first != nil && !bytes.Equal(first, pem) {
			t.Error("the second start has another certificate")
		}
		first = pem
	}
	if kept, err := os.ReadFile(filepath.Join(folder, "certificate.pem")); err != nil || !bytes.Equal(kept, first) {
		t.Errorf("certificate.pem is %s (%v)", kept, err)
	}
	if info, err := os.Stat(filepath.Join(folder, "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key.pem: %v (%v), want it for its owner only", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(folder, "key.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := simulator.Start(cfg); err == nil {
		s.Close()
		t.Error("it starts with a key that is none")
	}
}
