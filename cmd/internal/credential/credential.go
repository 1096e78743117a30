// Package credential reads certificate authorities, and checks credentials and certificate files before they are used.
package credential

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nkeys"

	"statusworker/statusclient"
)

// AddCertificates adds the certificates of a PEM file to a pool. It returns an error if the file has none, or one that
// cannot be parsed: a certificate that is skipped silently would be missed only when it is needed.
func AddCertificates(to *x509.CertPool, path string) error {
	f, err := statusclient.OpenFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCertificates))
	if err != nil {
		return err
	}
	n := 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", n+1, err)
		}
		to.AddCert(one)
		n++
	}
	switch {
	case bytes.Contains(text, []byte("-----BEGIN")):
		return fmt.Errorf("certificate %d is not valid PEM", n+1)
	case n == 0:
		return errors.New("it has no certificate")
	}
	return nil
}

// maxCertificates is the maximum size of a certificate file in bytes. A bundle of all public authorities has 200 kB.
const maxCertificates = 8 << 20

// Readable opens and closes a file. It returns the error that would occur later. It does not block on a pipe.
func Readable(path string) error {
	f, err := statusclient.OpenFile(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// ReadFile reads a small file. It does not block on a pipe.
func ReadFile(path string) ([]byte, error) {
	f, err := statusclient.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCredentials))
}

// maxCredentials is the maximum size of a credentials file in bytes.
const maxCredentials = 1 << 20

// CheckNATS checks the text of a NATS credentials file before it is sent to a server.
func CheckNATS(text []byte) error {
	if _, err := nkeys.ParseDecoratedJWT(text); err != nil {
		return err
	}
	_, err := nkeys.ParseDecoratedNKey(text)
	return err
}
