package harness

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Verdict is what becomes of a message that a hook has seen.
type Verdict int

// The verdicts.
const (
	// Forward lets the message pass.
	Forward Verdict = iota
	// Drop swallows the message; the connection goes on.
	Drop
	// Close swallows the message and closes the connection, towards both sides. Nothing that followed passes.
	Close
)

// Hooks see each message before it passes. Calls are serialised over all connections and both directions, so a hook
// needs no lock of its own, and while one runs, no later message passes: a hook that kills the worker and returns
// [Close] ends it exactly there. All that came before in the same direction has been handed to the kernel. A hook must
// not block on the conversation that it interrupts, and must not call methods of the proxy. Nil forwards everything.
type Hooks struct {
	// OnClient sees what a client sends, OnServer what the server sends.
	OnClient, OnServer func(Message) Verdict
}

// Proxy passes the plain NATS client protocol between clients and a broker, message by message.
type Proxy struct {
	// URL is where clients connect.
	URL string

	t        testing.TB
	listener net.Listener
	targets  []string
	wg       sync.WaitGroup

	mu      sync.Mutex // guards what follows
	hooks   Hooks
	conns   map[int]*proxyConn
	numbers int
	closed  bool

	deciding sync.Mutex // held while a hook runs
}

// StartProxy listens on a loopback port and passes every connection on to the first of the broker's URLs (separated by
// commas) that takes it. The proxy ends with the test.
func StartProxy(t testing.TB, urls string, hooks Hooks) *Proxy {
	t.Helper()
	p := &Proxy{t: t, hooks: hooks, conns: make(map[int]*proxyConn)}
	for _, s := range strings.Split(urls, ",") {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "nats" || u.Port() == "" {
			t.Fatalf("proxy target %q: want nats://host:port (%v)", s, err)
		}
		p.targets = append(p.targets, u.Host)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Check(t, err)
	p.listener = l
	p.URL = "nats://" + l.Addr().String()
	p.wg.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// SetHooks replaces the hooks, for what comes from now on.
func (p *Proxy) SetHooks(h Hooks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hooks = h
}

// Disconnect closes all connections. Clients may connect again.
func (p *Proxy) Disconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.close()
	}
}

// Direction is one of the two in which messages pass.
type Direction int

// The directions.
const (
	ToClients Direction = iota
	ToBroker
)

// Stall stops one direction of all connections that there are, as a link does that lost its way back: nothing is
// closed, and what is sent waits. Connections that are made later pass.
func (p *Proxy) Stall(d Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.stalled[d].Store(true)
	}
}

// Close closes the proxy and all connections, and returns when nothing of it runs any more.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.Disconnect()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

// serve passes one connection on, until both sides have ended it.
func (p *Proxy) serve(client net.Conn) {
	broker, err := p.dial()
	if err != nil {
		client.Close() // as if the broker itself were away: the client tries again
		return
	}
	c := &proxyConn{client: client, broker: broker, ended: make(chan struct{}), asked: make(map[string]*Message)}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		c.close()
		return
	}
	p.numbers++
	c.number = p.numbers
	p.conns[c.number] = c
	p.mu.Unlock()

	var wg sync.WaitGroup
	wg.Go(func() { p.pass(c, ToBroker, client, broker, p.fromClient) })
	wg.Go(func() { p.pass(c, ToClients, broker, client, p.fromServer) })
	wg.Wait()
	c.close()
	p.mu.Lock()
	delete(p.conns, c.number)
	p.mu.Unlock()
}

func (p *Proxy) dial() (net.Conn, error) {
	var errs []error
	for _, target := range p.targets {
		conn, err := net.DialTimeout("tcp", target, 2*time.Second)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

type proxyConn struct {
	number         int
	client, broker net.Conn
	stalled        [2]atomic.Bool // by direction
	ending         sync.Once
	ended          chan struct{}

	// What follows is guarded by Proxy.deciding.

	// asked holds what the client published with a reply subject, by that subject, until the answer comes.
	asked map[string]*Message
	// over is set by the verdict [Close]: what has been read already is not even shown to a hook.
	over bool
}

func (c *proxyConn) close() {
	c.ending.Do(func() { close(c.ended) })
	c.client.Close()
	c.broker.Close()
}

// maxAsked bounds what is remembered of requests that nobody answers.
const maxAsked = 100_000

// pass reads from one side and writes to the other until one of them ends, or judge says [Close].
func (p *Proxy) pass(c *proxyConn, d Direction, from, to net.Conn, judge func(*proxyConn, *Message) Verdict) {
	r := newProtocolReader(from)
	for {
		m, raw, err := r.next()
		if err != nil {
			if err == io.EOF {
				// Only this direction has ended: what the other side still sends has to pass.
				if half, ok := to.(*net.TCPConn); ok && half.CloseWrite() == nil {
					return
				}
			} else if !broken(err) {
				p.t.Errorf("proxy: connection %d: %v", c.number, err)
			}
			c.close()
			return
		}
		if c.stalled[d].Load() {
			<-c.ended
			return
		}
		m.Conn = c.number
		if m.Verb == "INFO" {
			if raw, err = withoutConnectURLs(m.Args); err != nil {
				p.t.Errorf("proxy: connection %d: %v", c.number, err)
				c.close()
				return
			}
		}
		switch verdict := p.decide(c, &m, judge); verdict {
		case Forward:
			// One write a message: what a hook has let pass is on its way before the next hook is asked.
			if _, err := to.Write(raw); err != nil {
				c.close()
				return
			}
		case Drop:
		case Close:
			c.close()
			return
		default:
			panic(fmt.Sprintf("proxy: a hook returned verdict %d", verdict))
		}
	}
}

// broken tells whether err is what a connection says when somebody cut it.
func broken(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (p *Proxy) decide(c *proxyConn, m *Message, judge func(*proxyConn, *Message) Verdict) Verdict {
	p.deciding.Lock()
	defer p.deciding.Unlock()
	if c.over {
		return Close
	}
	verdict := judge(c, m)
	c.over = verdict == Close
	return verdict
}

func (p *Proxy) fromClient(c *proxyConn, m *Message) Verdict {
	if m.Reply != "" && !strings.HasPrefix(m.Subject, "$JS.API.CONSUMER.MSG.NEXT.") && len(c.asked) < maxAsked {
		c.asked[m.Reply] = m
	}
	return call(p.current().OnClient, m)
}

func (p *Proxy) fromServer(c *proxyConn, m *Message) Verdict {
	if request, ok := c.asked[m.Subject]; ok && m.fromServer() {
		m.Request = request
		delete(c.asked, m.Subject)
	}
	return call(p.current().OnServer, m)
}

func (p *Proxy) current() Hooks {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hooks
}

func call(hook func(Message) Verdict, m *Message) Verdict {
	if hook == nil {
		return Forward
	}
	return hook(*m)
}
