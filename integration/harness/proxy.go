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

	"statusworker/integration/harness/protocol"
)

// Verdict is the decision of a hook about a message.
type Verdict int

// The verdicts.
const (
	// Forward lets the message pass.
	Forward Verdict = iota
	// Drop discards the message. The connection stays open.
	Drop
	// Close discards the message and all that follow, and closes the connection on both sides.
	Close
)

// Hooks are called with each message before it passes. A nil hook forwards every message.
//
// The proxy calls one hook at a time, over all connections and both directions. While a hook runs, no later message
// passes, and earlier messages in the same direction have been written to the socket. So a hook that kills the worker
// and returns [Close] ends it exactly at that message. A hook must not wait for a message that passes the proxy, and
// must not call methods of the proxy.
type Hooks struct {
	// OnClient is called with messages from clients, OnServer with messages from the server.
	OnClient, OnServer func(Message) Verdict
}

// Proxy forwards the NATS client protocol, without TLS, between clients and a broker, message by message.
type Proxy struct {
	// URL is the address for clients.
	URL string

	t        testing.TB
	listener net.Listener
	targets  []string
	wg       sync.WaitGroup

	mu      sync.Mutex // guards the following fields
	hooks   Hooks
	conns   map[int]*proxyConn
	numbers int
	closed  bool

	deciding sync.Mutex // held while a hook runs
}

// StartProxy listens on a loopback port and forwards every connection to the first of the broker's URLs (separated by
// commas) that accepts it. The proxy is closed when the test ends.
func StartProxy(t testing.TB, urls string, hooks Hooks) *Proxy {
	t.Helper()
	p := &Proxy{t: t, hooks: hooks, conns: make(map[int]*proxyConn)}
	for _, s := range strings.Split(urls, ",") {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "nats" || u.Port() == "" {
			t.Fatalf("proxy target %q must have the form nats://host:port (%v)", s, err)
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

// SetHooks replaces the hooks, for messages from now on.
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

// Direction is a direction in which messages pass.
type Direction int

// The directions.
const (
	ToClients Direction = iota
	ToBroker
)

// Stall stops one direction of all current connections, without closing them: messages in that direction are not
// forwarded any more. Later connections are not affected.
func (p *Proxy) Stall(d Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.stalled[d].Store(true)
	}
}

// Close closes the proxy and all connections, and waits until all its goroutines have ended.
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

// serve forwards one connection until both sides have closed it.
func (p *Proxy) serve(client net.Conn) {
	broker, err := p.dial()
	if err != nil {
		client.Close() // as if the broker were down
		return
	}
	c := &proxyConn{client: client, broker: broker, ended: make(chan struct{}), requests: make(map[string]*Message)}
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

	// The following fields are guarded by Proxy.deciding.

	// requests are the client's publishes with a reply subject, by that subject, until the response comes.
	requests map[string]*Message
	// closed is set by the verdict [Close]. Messages that were read already are not passed to hooks.
	closed bool
}

func (c *proxyConn) close() {
	c.ending.Do(func() { close(c.ended) })
	c.client.Close()
	c.broker.Close()
}

// maxRequests limits the number of requests without a response that a connection remembers.
const maxRequests = 100_000

// pass reads from one side and writes to the other until one of them is closed, or judge returns [Close].
func (p *Proxy) pass(c *proxyConn, d Direction, from, to net.Conn, judge func(*proxyConn, *Message) Verdict) {
	r := protocol.NewReader(from)
	for {
		read, raw, err := r.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				// Only this direction has ended. Messages of the other one still pass.
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
		m, err := messageOf(read)
		if err == nil && m.Verb == "INFO" {
			raw, err = withoutConnectURLs(read.Args)
		}
		if err != nil {
			p.t.Errorf("proxy: connection %d: %v", c.number, err)
			c.close()
			return
		}
		m.Conn = c.number
		switch verdict := p.decide(c, &m, judge); verdict {
		case Forward:
			// One write for each message: a forwarded message is written before the next hook is called.
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

// broken reports whether err is the error of a connection that was closed or reset.
func broken(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (p *Proxy) decide(c *proxyConn, m *Message, judge func(*proxyConn, *Message) Verdict) Verdict {
	p.deciding.Lock()
	defer p.deciding.Unlock()
	if c.closed {
		return Close
	}
	verdict := judge(c, m)
	c.closed = verdict == Close
	return verdict
}

func (p *Proxy) fromClient(c *proxyConn, m *Message) Verdict {
	if m.Reply != "" && !strings.HasPrefix(m.Subject, "$JS.API.CONSUMER.MSG.NEXT.") && len(c.requests) < maxRequests {
		c.requests[m.Reply] = m
	}
	return call(p.current().OnClient, m)
}

func (p *Proxy) fromServer(c *proxyConn, m *Message) Verdict {
	if request, ok := c.requests[m.Subject]; ok && m.fromServer() {
		m.Request = request
		delete(c.requests, m.Subject)
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
