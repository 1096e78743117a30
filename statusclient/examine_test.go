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
		without int
	}{
		{"wrong address", answers(404, "application/json", `{"message":"no such resource"}`), 404, true, schema.FaultNotFound, 404},
		{"unknown", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-API-Token") == "" {
				answers(401, "application/json", `{"errorMessage":"no token"}`)(w, r)
				return
			}
			answers(404, "application/json", `{"errorMessage":"no such interaction"}`)(w, r)
		}, 404, true, schema.FaultNotFound, 401},
		{"rejected", answers(400, "application/json", `{"errorMessage":"no"}`), 400, true, schema.FaultRejected, 400},
		{"problem", answers(401, "application/problem+json", `{}`), 401, true, schema.FaultUnauthorized, 0},
		{"web site", answers(404, "text/html", "<html>"), 404, false, schema.FaultNotAStatus, 0},
		{"status", writes(pending), 200, true, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, seen := answering(t, tt.handler)
			e := newClient(t, server.URL, statusclient.Config{}).Examine(t.Context(), identifier)
			if e.StatusCode != tt.code || e.JSON != tt.json || e.TLS != nil || e.Base != server.URL+"/v1" || e.Anonymous != tt.without {
				t.Errorf("examination is %+v", e)
			}
			var poll *schema.PollError
			if errors.As(e.Err, &poll) != (tt.fault != "") || poll != nil && poll.Fault != tt.fault {
				t.Errorf("error is %v, want %q", e.Err, tt.fault)
			}
			requests := 1
			if tt.without != 0 {
				requests = 2
			}
			if seen.count() != requests || seen.all[0].Header.Get("X-API-Token") != token {
				t.Fatalf("%d requests, want %d, the first with the token", seen.count(), requests)
			}
			if requests == 2 && len(seen.all[1].Header["X-Api-Token"]) != 0 {
				t.Errorf("the second request has the token header %q", seen.all[1].Header["X-Api-Token"])
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
