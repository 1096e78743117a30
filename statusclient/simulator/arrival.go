package simulator

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// arrivals wraps connections to record when the host received a poll. On a busy machine, the simulator may handle a
// poll late. Two polls, one handled late and the next immediately, would otherwise seem too close together.
type arrivals struct{ net.Listener }

// withArrivals wraps a listener if the system provides the time of reception. Otherwise the time at which a poll is
// handled is used, which may also happen to the first polls, until the kernel has enabled the option.
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

// stamped is a connection that records when the host received the last data that was read.
type stamped struct {
	*net.TCPConn
	received atomic.Int64 // Unix time in nanoseconds; 0 if unknown
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

// withConn adds a connection to the context of its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if layer, ok := c.(*tls.Conn); ok {
		c = layer.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// receivedAt returns when the host received a request that is handled now; now if that is unknown.
func receivedAt(r *http.Request, now time.Time) time.Time {
	c, ok := r.Context().Value(connKey{}).(*stamped)
	if !ok {
		return now
	}
	// Subtracting the delay keeps the monotonic clock of now. If the wall clock was set in between, the delay is
	// unknown.
	const maxLate = time.Minute
	received := c.received.Load()
	if late := now.Sub(time.Unix(0, received)); received != 0 && late > 0 && late < maxLate {
		return now.Add(-late)
	}
	return now
}
