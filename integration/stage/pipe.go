package stage

import (
	"context"
	"net"
	"sync"
)

// pipe is a listener whose connections are in memory. Other than those of a socket, goroutines that wait for them are
// durably blocked in a bubble.
type pipe struct {
	connections chan net.Conn
	closed      chan struct{}
	close       func()
}

func newPipe() *pipe {
	p := &pipe{connections: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

// Accept implements [net.Listener].
func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *pipe) Close() error {
	p.close()
	return nil
}

// Addr implements [net.Listener]. Nothing listens at the address; the status client requires that it is a loopback one.
func (p *pipe) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// dial connects to the listener.
func (p *pipe) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.connections <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
