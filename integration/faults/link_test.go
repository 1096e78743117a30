package faults

import (
	"net"
	"sync"
	"testing"
	"time"

	"statusworker/integration/harness"
)

// way is a direction of a link.
type way int

const (
	forward  way = iota // from the side that connects
	backward            // to it
)

// link forwards TCP connections to an address. It can close them, and block what passes in a direction, as a
// network does that loses packets: the peers notice nothing, and what was blocked passes later.
type link struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	cut     bool
	blocked [2]int // faults that block the direction
	pipes   map[*pipe]struct{}
}

// pipe is a connection that passes a link.
type pipe struct {
	near, far net.Conn
	closed    bool
}

// startLink listens on a loopback port. The link is closed when the test ends.
func startLink(t *testing.T, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Check(t, err)
	l := &link{listener: listener, target: target, pipes: map[*pipe]struct{}{}}
	l.changed = sync.NewCond(&l.mu)
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		l.listener.Close()
		l.setCut(true)
		l.wg.Wait()
	})
	return l
}

// address is the address on which the link listens.
func (l *link) address() string { return l.listener.Addr().String() }

// setCut closes all connections and refuses others, or accepts them again.
func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		l.closeAll()
	}
}

// disconnect closes all connections.
func (l *link) disconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeAll()
}

func (l *link) closeAll() {
	for p := range l.pipes {
		l.close(p)
	}
}

// blocks blocks what passes in a direction; -1 ends that.
func (l *link) blocks(w way, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocked[w] += n
	l.changed.Broadcast()
}

// close closes a connection. The caller holds the lock.
func (l *link) close(p *pipe) {
	p.closed = true
	p.near.Close()
	p.far.Close()
	l.changed.Broadcast()
}

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.serve(near) })
	}
}

func (l *link) serve(near net.Conn) {
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	if cut {
		near.Close()
		return
	}
	far, err := net.DialTimeout("tcp", l.target, time.Second)
	if err != nil {
		near.Close()
		return
	}
	p := &pipe{near: near, far: far}
	l.mu.Lock()
	if l.cut {
		l.close(p)
	}
	l.pipes[p] = struct{}{}
	l.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { l.pass(p, forward, near, far) })
	wg.Go(func() { l.pass(p, backward, far, near) })
	wg.Wait()
	l.mu.Lock()
	delete(l.pipes, p)
	l.mu.Unlock()
}

// pass forwards one direction until one side has closed the connection. A blocked end is noticed later.
func (l *link) pass(p *pipe, w way, from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		for l.blocked[w] > 0 && !p.closed {
			l.changed.Wait()
		}
		closed := p.closed
		l.mu.Unlock()
		if n > 0 && !closed {
			if _, failed := to.Write(buffer[:n]); failed != nil {
				err = failed
			}
		}
		if err != nil || closed {
			l.mu.Lock()
			l.close(p)
			l.mu.Unlock()
			return
		}
	}
}
