package statusclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/statusclient"
)

// tlsServer serves https; version limits TLS to one version, 0 does not.
func tlsServer(t *testing.T, handler http.HandlerFunc, version uint16) (*httptest.Server, *requests) {
	t.Helper()
	seen := &requests{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.add(r)
		handler(w, r)
	}))
	server.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
	server.Config.ErrorLog = discardLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, seen
}

func poolOf(server *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}

// A server that completes the TLS handshake after sendBy gets not a byte of the request.
func TestStatusSendByDuringHandshake(t *testing.T) {
	certified, _ := tlsServer(t, writes(pending), 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	now := newClock()
	sendBy := now.Now().Add(time.Second)
	type outcome struct {
		handshake error
		request   []byte
	}
	done := make(chan outcome, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			done <- outcome{handshake: err}
			return
		}
		defer func() { _ = c.Close() }()
		now.Advance(time.Second + time.Nanosecond)
		server := tls.Server(c, certified.TLS)
		var o outcome
		if o.handshake = server.Handshake(); o.handshake == nil {
			o.request, _ = io.ReadAll(server) // until the client closes
		}
		done <- o
	}()
	c := newClient(
		t,
		"https://"+listener.Addr().String(),
		statusclient.Config{RootCAs: poolOf(certified), Now: now.Now},
	)
	e := pollErrorOf(t, t.Context(), c, identifier, sendBy, schema.FaultNotSent)
	if e.StatusCode != 0 || errors.Is(e, context.Canceled) {
		t.Errorf("error is %#v", e)
	}
	if o := <-done; o.handshake != nil || len(o.request) > 0 {
		t.Errorf("handshake: %v; the server read %q, want nothing", o.handshake, o.request)
	}
}

// The only connection becomes free after sendBy.
func TestStatusSendByWhileWaitingForConnection(t *testing.T) {
	now := newClock()
	arrived, release := make(chan struct{}), make(chan struct{})
	server, seen := answering(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		writes(pending)(w, r)
	})
	waiting := make(chan struct{})
	var asked atomic.Int32
	c := newClient(t, server.URL, statusclient.Config{Concurrency: 1, Now: func() time.Time {
		// The first call looks at the clock before it begins, when it has its connection, and when it writes; the
		// fourth look is the second call's, before it asks for a connection.
		if asked.Add(1) == 4 {
			defer close(waiting)
		}
		return now.Now()
	}})
	first := make(chan error, 1)
	go func() {
		_, err := c.Status(t.Context(), identifier, now.Now().Add(time.Hour))
		first <- err
	}()
	<-arrived
	go func() {
		<-waiting
		now.Advance(time.Minute)
		close(release)
	}()
	pollErrorOf(t, t.Context(), c, identifier, now.Now().Add(time.Second), schema.FaultNotSent)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if seen.count() != 1 {
		t.Errorf("%d requests, want 1", seen.count())
	}
}

// The clock passes sendBy at every point at which it is looked at: before the call, when there is a connection, and
// when the request is about to be written.
func TestStatusSendByAtEveryLook(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for look := int32(1); look <= 3; look++ {
			var looks atomic.Int32
			now := newClock()
			cfg := statusclient.Config{Now: func() time.Time {
				if looks.Add(1) >= look {
					return now.Now().Add(time.Hour)
				}
				return now.Now()
			}}
			server, seen := answering(t, writes(pending))
			if secure {
				server, seen = tlsServer(t, writes(pending), 0)
				cfg.RootCAs = poolOf(server)
			}
			c := newClient(t, server.URL, cfg)
			pollErrorOf(t, t.Context(), c, identifier, now.Now(), schema.FaultNotSent)
			if looks.Load() < look {
				t.Errorf("the clock was looked at %d times, want %d", looks.Load(), look)
			}
			c.Close()
			server.Close() // waits for requests that are being served
			if seen.count() != 0 {
				t.Errorf("TLS %t, look %d: the request was sent", secure, look)
			}
		}
	}
}

func TestStatusSendByHolds(t *testing.T) {
	now := newClock()
	server, _ := answering(t, writes(pending))
	c := newClient(t, server.URL, statusclient.Config{Now: now.Now})
	for _, sendBy := range []time.Time{{}, now.Now(), now.Now().Add(time.Second)} {
		if _, err := c.Status(t.Context(), identifier, sendBy); err != nil {
			t.Errorf("sendBy %v: %v", sendBy, err)
		}
	}
}

func TestStatusCancelled(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		server, seen := answering(t, writes(pending))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		e := pollErrorOf(
			t,
			ctx,
			newClient(t, server.URL, statusclient.Config{}),
			identifier,
			time.Time{},
			schema.FaultNotSent,
		)
		if !errors.Is(e, context.Canceled) || seen.count() != 0 {
			t.Errorf("error is %v after %d requests", e, seen.count())
		}
	})
	t.Run("during the handshake", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		held := make(chan net.Conn, 1)
		go func() {
			if c, err := listener.Accept(); err == nil {
				held <- c
				cancel()
			}
		}()
		c := newClient(t, "https://"+listener.Addr().String(), statusclient.Config{})
		e := pollErrorOf(t, ctx, c, identifier, time.Time{}, schema.FaultNotSent)
		if !errors.Is(e, context.Canceled) {
			t.Errorf("error is %v", e)
		}
		_ = (<-held).Close()
	})
	t.Run("after the request", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		server, _ := answering(t, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		e := pollErrorOf(
			t,
			ctx,
			newClient(t, server.URL, statusclient.Config{}),
			identifier,
			time.Time{},
			schema.FaultUnavailable,
		)
		if !errors.Is(e, context.Canceled) || e.StatusCode != 0 {
			t.Errorf("error is %#v", e)
		}
	})
	t.Run("within the answer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		server, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
			writes(pending[:10])(w, r)
			_ = http.NewResponseController(w).Flush()
			cancel()
			<-r.Context().Done()
		})
		e := pollErrorOf(
			t,
			ctx,
			newClient(t, server.URL, statusclient.Config{}),
			identifier,
			time.Time{},
			schema.FaultUnavailable,
		)
		if !errors.Is(e, context.Canceled) {
			t.Errorf("error is %#v", e)
		}
	})
}
