package main

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statusworker/cmd/internal/doctor"
)

// privateVendor starts a vendor with a self-signed certificate, at which every interaction is processed.
func privateVendor(t *testing.T, certificate tls.Certificate) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		vendorSays(`{"identifier":%q,"status":"processed"}`, strings.Split(r.URL.Path, "/")[3])(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL + "/v1"
}

// The worker and the doctor report a vendor's certificate from a private authority. With --vendor-ca they accept it.
func TestVendorBehindAPrivateAuthority(t *testing.T) {
	t.Parallel()
	certificate, ca := certificateFor(t, time.Hour)
	_, another := certificateFor(t, time.Hour)
	both, err := os.ReadFile(another)
	if err != nil {
		t.Fatal(err)
	}
	both = append(both, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})...)
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(bundle, both, 0o600); err != nil {
		t.Fatal(err)
	}
	base := privateVendor(t, certificate)
	for name, tt := range map[string]struct {
		ca   string
		good bool
	}{"none": {"", false}, "another": {another, false}, "the vendor's": {ca, true}, "both": {bundle, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t)
			env := map[string]string{
				"ELEVATEAI_API_TOKEN": "s3cret", "ELEVATEAI_CA_FILE": tt.ca, "ELEVATEAI_BASE_URL": base,
			}
			c := command(t, "doctor", "-o", "json", "--nats-url", at)
			maps.Copy(c.env, env)
			c.start().end()
			f := findingOf(t, c, "vendor")
			if (f.Result == doctor.Fail) == tt.good {
				t.Errorf("%+v", f)
			}
			if !tt.good {
				finds(t, f, "unknown authority", "--vendor-ca ($ELEVATEAI_CA_FILE)")
			}

			c = command(t, "run", "--nats-url", at, "--audio-interval", "200ms")
			maps.Copy(c.env, env)
			c.start()
			c.logs("working")
			identifier := declare(t, js)
			if tt.good {
				awaitOutcome(t, js, identifier)
			} else {
				c.logs("certificate is signed by an authority that is not trusted")
			}
			c.stop()
			if code := c.end(); code != exitOK {
				t.Errorf("exit code %d:\n%s", code, &c.stderr)
			}
		})
	}
}

// The doctor distinguishes expired certificates and those for another host.
func TestDoctorFindsCertificateFaults(t *testing.T) {
	t.Parallel()
	at, _ := provisioned(t)
	over, overCA := certificateFor(t, -time.Minute)
	good, goodCA := certificateFor(t, time.Hour)
	for name, tt := range map[string]struct {
		base, ca string
		says     []string
	}{
		"expired": {privateVendor(t, over), overCA, []string{"expired", "renew"}},
		"another host": {strings.Replace(privateVendor(t, good), "127.0.0.1", "localhost", 1), goodCA,
			[]string{"host name", "--base-url"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := command(t, "doctor", "-o", "json", "--nats-url", at, "--base-url", tt.base, "--vendor-ca", tt.ca)
			c.env["ELEVATEAI_API_TOKEN"] = "s3cret"
			c.exits(exitFault)
			finds(t, findingOf(t, c, "vendor"), append(tt.says, "certificate")...)
		})
	}
}
