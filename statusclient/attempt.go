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

// attempt is one request on its way out. It is the gate that the request must pass to be written: once, and not after
// sendBy.
type attempt struct {
	sendBy time.Time
	now    func() time.Time
	cancel context.CancelFunc
	seen   *Examination // nil where nobody wants to know

	sent   atomic.Bool // some of the request may have been written
	late   atomic.Bool // the gate was closed because sendBy had passed
	broken atomic.Bool // the connection broke after the request was sent, and the transport wanted to send it again
}

var (
	errLate = errors.New("the moment to send the request by has passed")
	errLost = errors.New("the connection was lost after the request was sent")
)

// tooLate tells whether sendBy has passed, by the monotonic clock or by the other one: a machine that was suspended
// finds the first where it was.
func (a *attempt) tooLate() bool {
	now := a.now()
	return !a.sendBy.IsZero() && (now.After(a.sendBy) || now.Round(0).After(a.sendBy.Round(0)))
}

// gotConn is the transport's hook: it has a connection, and has written nothing on it yet. A connection that is closed
// here cannot carry the request any more.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	switch {
	case a.sent.Load():
		a.broken.Store(true)
	case a.tooLate():
		a.late.Store(true)
	default:
		if layer, ok := info.Conn.(*tls.Conn); ok && a.seen != nil {
			state := layer.ConnectionState()
			a.seen.TLS = &state
		}
		if c := gated(info.Conn); c != nil {
			c.attempt.Store(a)
		} else {
			a.sent.Store(true) // without a gate it cannot be known
		}
		return
	}
	_ = info.Conn.Close() // nothing was lost with it
	a.cancel()
}

// mayWrite is asked before every write of the request.
func (a *attempt) mayWrite() bool {
	if a.sent.Load() {
		return true // what has begun is completed
	}
	if a.tooLate() {
		a.late.Store(true)
		a.cancel()
		return false
	}
	a.sent.Store(true)
	return true
}

// conn is a TCP connection that asks the attempt whose turn it is before it writes. Handshakes come before the first
// attempt, and pass.
type conn struct {
	net.Conn
	attempt atomic.Pointer[attempt]
}

func (c *conn) Write(p []byte) (int, error) {
	if a := c.attempt.Load(); a != nil && !a.mayWrite() {
		return 0, errLate
	}
	return c.Conn.Write(p)
}

// gated finds the conn below TLS, which can be two layers: a proxy can be spoken to over TLS as well.
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
