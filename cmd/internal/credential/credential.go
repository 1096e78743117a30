// Package credential reads the files that a connection proves itself by, and those that it trusts others by.
package credential

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nkeys"

	"statusworker/statusclient"
)

// AddCertificates adds the certificates of a file in PEM. There is one at least, and none that cannot be read: which
// one is passed over shows only when it is needed.
func AddCertificates(to *x509.CertPool, path string) error {
	f, err := statusclient.OpenFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	rest, err := io.ReadAll(io.LimitReader(f, maxCertificates))
	if err != nil {
		return err
	}
	n := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
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
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return fmt.Errorf("certificate %d cannot be read", n+1)
	case n == 0:
		return errors.New("there is none in it")
	}
	return nil
}

// maxCertificates bounds a file of certificates, in bytes: the authorities of all the world take some 200 kB.
const maxCertificates = 8 << 20

// Readable opens and closes a file, to say now what would go wrong later, or what would be waited for.
func Readable(path string) error {
	f, err := statusclient.OpenFile(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// CheckNATS says what is wrong with a credentials file of NATS before a server is asked.
func CheckNATS(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if _, err := nkeys.ParseDecoratedJWT(text); err != nil {
		return err
	}
	_, err = nkeys.ParseDecoratedNKey(text)
	return err
}
