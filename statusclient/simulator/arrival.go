package simulator

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// arrivals wraps connections, so that a poll can be given the time at which the host received it. By its own clock the
// simulator may be late to notice, where processors are short: one poll noticed late and the next one at once would
// look like two that came too close together.
type arrivals struct{ net.Listener }

// withArrivals wraps a listener, where the system tells when something was received. Otherwise the time counts at which
// a poll is handled. The first polls after that may have none, because a kernel takes a moment to begin with it.
func withArrivals(l net.Listener) net.Listener {
	if tcp, ok := l.(*net.TCPListener); ok && stampReceived(tcp) == nil {
		return arrivals{l}
	}
	return l
}

func (a arrivals) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		return &stamped{TCPConn: tcp}, nil
	}
	return c, nil
}

// stamped is a connection that knows when the host received what was read last.
type stamped struct {
	*net.TCPConn
	received atomic.Int64 // unix, in nanoseconds; 0 where nobody knows
}

func (s *stamped) Read(p []byte) (int, error) {
	n, at, err := readReceived(s.TCPConn, p)
	switch {
	case n > 0 && at.IsZero():
		s.received.Store(0)
	case n > 0:
		s.received.Store(at.UnixNano())
	}
	return n, err
}

type connKey struct{}

// withConn lets a handler find the connection of its request.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if layer, ok := c.(*tls.Conn); ok {
		c = layer.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// receivedAt is when the host received a request that is handled now, as far as that can be known.
func receivedAt(r *http.Request, now time.Time) time.Time {
	c, ok := r.Context().Value(connKey{}).(*stamped)
	if !ok {
		return now
	}
	// What lies between is taken off, so that the monotonic clock goes on counting. A wall clock that was set in
	// between tells nothing.
	const most = time.Minute
	received := c.received.Load()
	if late := now.Sub(time.Unix(0, received)); received != 0 && late > 0 && late < most {
		return now.Add(-late)
	}
	return now
}
