package doctor_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/internal/doctor"
	"statusworker/consumer"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// Without a broker, the vendor is examined all the same, by one request.
func TestVendorBehindTLS(t *testing.T) {
	vendor, err := simulator.Start(simulator.Config{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vendor.Close)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(vendor.CertificatePEM())
	client, err := statusclient.New(
		statusclient.Config{BaseURL: vendor.URL(), Token: simulator.DefaultToken, RootCAs: roots},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	found := doctor.Examine(t.Context(), doctor.Target{
		Connect:       func() (*nats.Conn, error) { return nil, errors.New("connection refused") },
		FixConnection: func(error) string { return "start the server" },
		Vendor:        client,
		Work: consumer.Config{
			Intervals: consumer.Guidance, RequestTimeout: time.Second, Deadline: time.Hour,
			ShutdownTimeout: time.Second,
		},
	})
	want := map[string]string{
		"vendor": vendor.URL(), "vendor tls": "TLS 1.3", "vendor certificate": "", "vendor token": "404",
	}
	for _, f := range found {
		if text, ok := want[f.Check]; ok {
			if f.Result == doctor.Fail || f.Result == doctor.Skip || !strings.Contains(f.Found, text) {
				t.Errorf("%+v, want %q", f, text)
			}
			delete(want, f.Check)
		}
	}
	if len(want) != 0 {
		t.Errorf("no findings of the checks %v", want)
	}
	if !doctor.AnyFailed(found) {
		t.Error("no check failed without a broker")
	}
	if n := vendor.Counts().Polls; n != 1 {
		t.Errorf("%d status requests, want 1", n)
	}
}
