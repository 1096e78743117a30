package statusclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// attempt is one request that is being sent. It allows the request to be written at most once, and not after sendBy.
// Its functions are called by the goroutines of the transport.
type attempt struct {
	sendBy time.Time
	now    func() time.Time
	cancel context.CancelFunc
	seen   *Examination // nil except for Examine

	sentAt time.Time   // when the first byte was written; read it only if sent is set
	sent   atomic.Bool // a part of the request may have been written
	late   atomic.Bool // the request was not written because sendBy had passed
	broken atomic.Bool // the connection broke after the request was sent, and the transport tried to send it again
	// answered means that the vendor has received the request: the header of its answer is here.
	answered atomic.Bool
}

var (
	errLate = errors.New("the latest time to send the request has passed")
	errLost = errors.New("the connection was lost after the request was sent")
)

// tooLate reports whether sendBy has passed, by the monotonic clock or by the wall clock. The monotonic clock does not
// advance while a machine is suspended.
func (a *attempt) tooLate(now time.Time) bool {
	return !a.sendBy.IsZero() && (now.After(a.sendBy) || now.Round(0).After(a.sendBy.Round(0)))
}

// gotConn is called by the transport when it has a connection and has not written to it yet. To prevent the request,
// it closes the connection.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	now := a.now()
	switch {
	case a.sent.Load():
		a.broken.Store(true)
	case a.tooLate(now):
		a.late.Store(true)
	default:
		if layer, ok := info.Conn.(*tls.Conn); ok && a.seen != nil {
			state := layer.ConnectionState()
			a.seen.TLS = &state
		}
		if c := gated(info.Conn); c != nil {
			c.attempt.Store(a)
		} else {
			a.send(now) // writes on this connection are not observed
		}
		return
	}
	_ = info.Conn.Close() // without a request in flight
	a.cancel()
}

// mayWrite is called before every write of the request.
func (a *attempt) mayWrite() bool {
	if a.sent.Load() {
		return true // the request is partly written
	}
	now := a.now()
	if a.tooLate(now) {
		a.late.Store(true)
		a.cancel()
		return false
	}
	a.send(now)
	return true
}

func (a *attempt) send(now time.Time) {
	a.sentAt = now
	a.sent.Store(true)
}

// whenSent returns when the first byte of the request was written, or zero.
func (a *attempt) whenSent() time.Time {
	if !a.sent.Load() {
		return time.Time{}
	}
	return a.sentAt
}

// conn is a TCP connection that asks its current attempt before every write. Before the first attempt, it allows all
// writes, which are handshakes.
//
// If it is closed before the request is answered, or its process dies, the kernel discards the request and resets the
// connection. Otherwise the kernel would continue to repeat a request that a lossy network has not delivered, for a
// minute, and the vendor might receive it shortly before or after the next poll.
type conn struct {
	net.Conn
	attempt atomic.Pointer[attempt]
}

// newConn makes a conn of a connection without an attempt.
func newConn(c net.Conn) *conn {
	linger(c, 0)
	return &conn{Conn: c}
}

// Close closes the connection. It resets the connection if a request on it is unanswered.
func (c *conn) Close() error {
	if a := c.attempt.Load(); a == nil || a.answered.Load() {
		linger(c.Conn, -1)
	}
	return c.Conn.Close()
}

// linger sets what the kernel does with data that it has not sent when a TCP connection is closed: with 0 it discards
// them, with -1 it sends them.
func linger(c net.Conn, seconds int) {
	if tcp, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(seconds) // fails only if the connection is closed
	}
}

func (c *conn) Write(p []byte) (int, error) {
	if a := c.attempt.Load(); a != nil && !a.mayWrite() {
		return 0, errLate
	}
	return c.Conn.Write(p)
}

// gated returns the conn below TLS, or nil. With an https proxy there are two layers of TLS.
func gated(c net.Conn) *conn {
	for {
		switch layer := c.(type) {
		case *conn:
			return layer
		case *tls.Conn:
			c = layer.NetConn()
		default:
			return nil
		}
	}
}
