package statusclient_test

import (
	"crypto/tls"
	"errors"
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
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		code    int
		json    bool
		fault   schema.Fault
	}{
		{"unknown", answers(404, "application/json", `{"message":"no such interaction"}`), 404, true, schema.FaultNotFound},
		{"problem", answers(401, "application/problem+json", `{}`), 401, true, schema.FaultUnauthorized},
		{"web site", answers(404, "text/html", "<html>"), 404, false, schema.FaultNotFound},
		{"status", writes(pending), 200, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, seen := answering(t, tt.handler)
			e := newClient(t, server.URL, statusclient.Config{}).Examine(t.Context(), identifier)
			if e.StatusCode != tt.code || e.JSON != tt.json || e.TLS != nil || e.Base != server.URL+"/v1" {
				t.Errorf("examination is %+v", e)
			}
			var poll *schema.PollError
			if errors.As(e.Err, &poll) != (tt.fault != "") || poll != nil && poll.Fault != tt.fault {
				t.Errorf("error is %v, want %q", e.Err, tt.fault)
			}
			if seen.count() != 1 || seen.all[0].Header.Get("X-API-Token") != token {
				t.Errorf("%d requests, want one with the token", seen.count())
			}
		})
	}

	t.Run("bad identifier", func(t *testing.T) {
		server, seen := answering(t, writes(pending))
		e := newClient(t, server.URL, statusclient.Config{}).Examine(t.Context(), "../x")
		if e.Err == nil || e.StatusCode != 0 || seen.count() != 0 {
			t.Errorf("examination is %+v after %d requests", e, seen.count())
		}
	})

	t.Run("TLS", func(t *testing.T) {
		server, _ := tlsServer(t, writes(pending), 0)
		c := newClient(t, server.URL, statusclient.Config{RootCAs: poolOf(server)})
		for range 2 { // over a new connection, and over one that was used before
			e := c.Examine(t.Context(), identifier)
			if e.Err != nil || e.TLS == nil || e.TLS.Version != tls.VersionTLS13 || len(e.TLS.PeerCertificates) == 0 {
				t.Errorf("examination is %+v", e)
			}
		}
		e := newClient(t, server.URL, statusclient.Config{}).Examine(t.Context(), identifier)
		if e.Err == nil || e.TLS != nil || !strings.Contains(e.Err.Error(), "certificate") {
			t.Errorf("without trust: %+v", e)
		}
	})
}
