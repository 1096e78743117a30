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

// tlsServer serves https with one version of TLS, or with all versions if version is 0.
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

// A server that completes the TLS handshake after sendBy receives no part of the request.
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
	cfg := statusclient.Config{RootCAs: poolOf(certified), Now: now.Now}
	c := newClient(t, "https://"+listener.Addr().String(), cfg)
	e := pollErrorOf(t.Context(), t, c, identifier, sendBy, schema.FaultNotSent)
	if e.StatusCode != 0 || errors.Is(e, context.Canceled) {
		t.Errorf("error %#v, want no status code and not Canceled", e)
	}
	if o := <-done; o.handshake != nil || len(o.request) > 0 {
		t.Errorf("handshake: %v; the server read %q, want nothing", o.handshake, o.request)
	}
}

// The only connection becomes idle after sendBy.
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
		// The first call reads the clock at its begin, when it has a connection, and when it writes. The fourth read is
		// the first of the second call, before it waits for a connection.
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
	pollErrorOf(t.Context(), t, c, identifier, now.Now().Add(time.Second), schema.FaultNotSent)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if seen.count() != 1 {
		t.Errorf("%d requests, want 1", seen.count())
	}
}

// The clock passes sendBy at each of the reads of a call: at its begin, when it has a connection, and when it writes.
func TestStatusSendByAtEveryRead(t *testing.T) {
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
			pollErrorOf(t.Context(), t, c, identifier, now.Now(), schema.FaultNotSent)
			if looks.Load() < look {
				t.Errorf("%d reads of the clock, want %d", looks.Load(), look)
			}
			c.Close()
			server.Close() // waits for requests in flight
			if seen.count() != 0 {
				t.Errorf("TLS %t, read %d: the request was sent", secure, look)
			}
		}
	}
}

// The result has the time at which the request was written, and none if it was not.
func TestStatusSent(t *testing.T) {
	now := newClock()
	code := http.StatusOK
	server, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		now.Advance(3 * time.Second)
		if code != http.StatusOK {
			w.WriteHeader(code)
			return
		}
		writes(pending)(w, r)
	})
	connects := 0
	c := newClient(t, server.URL, statusclient.Config{
		Now: now.Now, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			connects++
			now.Advance(2 * time.Second)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	})
	begun := now.Now()
	a, err := c.Status(t.Context(), identifier, time.Time{})
	if want := begun.Add(2 * time.Second); err != nil || connects != 1 || !a.Sent.Equal(want) {
		t.Errorf("sent at %v (%v), want %v, with the connection", a.Sent, err, want)
	}
	code, begun = http.StatusNotFound, now.Now()
	if e := pollErrorOf(t.Context(), t, c, identifier, time.Time{}, schema.FaultNotAStatus); !e.Sent.Equal(begun) {
		t.Errorf("a request that was refused was sent at %v, want %v", e.Sent, begun)
	}
	e := pollErrorOf(t.Context(), t, c, identifier, now.Now().Add(-1), schema.FaultNotSent)
	if !e.Sent.IsZero() {
		t.Errorf("a request that was not sent was sent at %v", e.Sent)
	}
	c.Close()
	server.Close()
	if e := pollErrorOf(t.Context(), t, c, identifier, time.Time{}, schema.FaultUnavailable); !e.Sent.IsZero() {
		t.Errorf("without a connection the request was sent at %v", e.Sent)
	}
}

func TestStatusBeforeSendBy(t *testing.T) {
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
		c := newClient(t, server.URL, statusclient.Config{})
		e := pollErrorOf(ctx, t, c, identifier, time.Time{}, schema.FaultNotSent)
		if !errors.Is(e, context.Canceled) || seen.count() != 0 {
			t.Errorf("error %v after %d requests, want Canceled after none", e, seen.count())
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
		e := pollErrorOf(ctx, t, c, identifier, time.Time{}, schema.FaultNotSent)
		if !errors.Is(e, context.Canceled) {
			t.Errorf("error %v, want Canceled", e)
		}
		_ = (<-held).Close()
	})
	t.Run("after the request", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		server, _ := answering(t, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		c := newClient(t, server.URL, statusclient.Config{})
		e := pollErrorOf(ctx, t, c, identifier, time.Time{}, schema.FaultUnavailable)
		if !errors.Is(e, context.Canceled) || e.StatusCode != 0 {
			t.Errorf("error %#v, want Canceled without a status code", e)
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
		c := newClient(t, server.URL, statusclient.Config{})
		e := pollErrorOf(ctx, t, c, identifier, time.Time{}, schema.FaultUnavailable)
		if !errors.Is(e, context.Canceled) {
			t.Errorf("error %#v, want Canceled", e)
		}
	})
}
