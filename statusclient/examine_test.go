package statusclient_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"statusworker/schema"
	"statusworker/statusclient"
)

func TestExamine(t *testing.T) {
	answers := func(code int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	n := 0
	for _, tt := range []struct {
		name     string
		handler  http.HandlerFunc
		code     int
		json     bool
		fault    schema.Fault
		requests int
		noSuch   bool
	}{
		{"unknown", func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/status") {
				answers(404, "application/json", `{"errorMessage":"no such interaction"}`)(w, r)
				return
			}
			answers(404, "application/json", `{"errorMessage":"no such resource"}`)(w, r)
		}, 404, true, schema.FaultNotFound, 2, false},
		{"unknown, and no page", func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/status") {
				answers(404, "application/json", `{"errorMessage":"no such interaction"}`)(w, r)
				return
			}
			http.NotFound(w, r)
		}, 404, true, schema.FaultNotFound, 2, false},
		{"wrong address", answers(404, "application/json", `{"message":"no such resource"}`), 404, true,
			schema.FaultNotFound, 2, true},
		{"wrong address, with the path and the time", func(w http.ResponseWriter, r *http.Request) {
			n++
			const body = `{"timestamp":"2026-11-27T01:02:%02d.%d+00:00","path":"%s",` +
				`"traceId":"00-4bf92f3577b34da6a3ce929d0e0e%04x-00f067aa0ba902b7-01"}`
			answers(404, "application/json", fmt.Sprintf(body, n, 17*n, r.URL.Path, 999*n))(w, r)
		}, 404, true, schema.FaultNotFound, 2, true},
		{"rejected", answers(400, "application/json", `{"errorMessage":"no"}`), 400, true, schema.FaultRejected, 2,
			true},
		{"problem", answers(401, "application/problem+json", `{}`), 401, true, schema.FaultUnauthorized, 1, false},
		{"web site", answers(404, "text/html", "<html>"), 404, false, schema.FaultNotAStatus, 1, false},
		{"status", writes(pending), 200, true, "", 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, seen := answering(t, tt.handler)
			e := newClient(t, server.URL, statusclient.Config{}).Examine(t.Context(), identifier)
			if e.StatusCode != tt.code || e.JSON != tt.json || e.TLS != nil || e.Base != server.URL+"/v1" ||
				e.NoSuch != tt.noSuch {
				t.Errorf("examination %+v", e)
			}
			var poll *schema.PollError
			if errors.As(e.Err, &poll) != (tt.fault != "") || poll != nil && poll.Fault != tt.fault {
				t.Errorf("error %v, want %q", e.Err, tt.fault)
			}
			if seen.count() != tt.requests {
				t.Fatalf("%d requests, want %d", seen.count(), tt.requests)
			}
			for _, r := range seen.all {
				if r.Header.Get("X-API-Token") != token {
					t.Errorf("the request for %s has no token", r.URL.Path)
				}
			}
		})
	}

	t.Run("bad identifier", func(t *testing.T) {
		server, seen := answering(t, writes(pending))
		e := newClient(t, server.URL, statusclient.Config{}).Examine(t.Context(), "../x")
		if e.Err == nil || e.StatusCode != 0 || seen.count() != 0 {
			t.Errorf("examination %+v after %d requests, want an error after none", e, seen.count())
		}
	})

	t.Run("TLS", func(t *testing.T) {
		server, _ := tlsServer(t, writes(pending), 0)
		c := newClient(t, server.URL, statusclient.Config{RootCAs: poolOf(server)})
		for range 2 { // with a new connection, and with a reused one
			e := c.Examine(t.Context(), identifier)
			if e.Err != nil || e.TLS == nil || e.TLS.Version != tls.VersionTLS13 || len(e.TLS.PeerCertificates) == 0 {
				t.Errorf("examination %+v, want TLS 1.3 with certificates", e)
			}
		}
		e := newClient(t, server.URL, statusclient.Config{}).Examine(t.Context(), identifier)
		if refused := (*statusclient.CertificateError)(nil); !errors.As(e.Err, &refused) || e.TLS != nil {
			t.Errorf("examination with an untrusted certificate: %+v", e)
		}
	})
}
