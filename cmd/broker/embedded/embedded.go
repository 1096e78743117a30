// Package embedded runs a NATS server with JetStream in this process, for `statusworker dev` and for tests.
package embedded

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Server is a running server. It listens on the loopback interface.
type Server struct {
	server  *server.Server
	options server.Options
}

const (
	readyWithin = 10 * time.Second
	loopback    = "127.0.0.1"
)

// Start starts a server that stores its streams in a folder, and waits until it accepts connections. Port 0 stands for
// a free port (see [FreePorts]).
func Start(folder string, port int) (*Server, error) {
	return start(server.Options{ServerName: "embedded", Port: port, StoreDir: folder})
}

// Node configures a server of a cluster. Route is its own cluster port. Routes are the cluster ports of all nodes, on
// the loopback interface.
type Node struct {
	Name   string
	Route  int
	Routes []int
}

// StartNode starts a server of a cluster and waits until it accepts connections. The cluster may not have a leader yet.
func StartNode(folder string, n Node) (*Server, error) {
	options := server.Options{
		ServerName: n.Name, StoreDir: folder,
		Cluster: server.ClusterOpts{Name: "embedded", Host: loopback, Port: n.Route},
	}
	for _, port := range n.Routes {
		route := &url.URL{Scheme: "nats", Host: net.JoinHostPort(loopback, strconv.Itoa(port))}
		options.Routes = append(options.Routes, route)
	}
	return start(options)
}

func start(options server.Options) (*Server, error) {
	options.Host, options.JetStream, options.NoSigs = loopback, true, true
	if options.Port == 0 {
		ports, err := FreePorts(1)
		if err != nil {
			return nil, fmt.Errorf("starting the embedded NATS server: %w", err)
		}
		options.Port = ports[0]
	}
	s := &Server{options: options}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start() error {
	options := s.options
	started, err := server.NewServer(&options)
	if err != nil {
		return fmt.Errorf("starting the embedded NATS server: %w", err)
	}
	fatal := make(fatals, 1)
	started.SetLoggerV2(fatal, false, false, false)
	go started.Start()
	for deadline := time.Now().Add(readyWithin); ; {
		select {
		case problem := <-fatal:
			started.Shutdown()
			return errors.New("starting the embedded NATS server: " + problem)
		default:
		}
		if started.ReadyForConnections(100 * time.Millisecond) {
			s.server = started
			return nil
		}
		if time.Now().After(deadline) {
			started.Shutdown()
			return errors.New("the embedded NATS server is not ready after " + readyWithin.String())
		}
	}
}

// fatals is a logger that keeps the first fatal error and drops everything else.
type fatals chan string

func (f fatals) Fatalf(format string, v ...any) {
	select {
	case f <- fmt.Sprintf(format, v...):
	default:
	}
}
func (fatals) Noticef(string, ...any) {}
func (fatals) Warnf(string, ...any)   {}
func (fatals) Errorf(string, ...any)  {}
func (fatals) Debugf(string, ...any)  {}
func (fatals) Tracef(string, ...any)  {}

// URL returns the URL for clients.
func (s *Server) URL() string { return s.server.ClientURL() }

// Received returns how many messages the server has received from clients since its start.
func (s *Server) Received() (uint64, error) {
	v, err := s.server.Varz(nil)
	if err != nil {
		return 0, fmt.Errorf("reading the counts of the embedded NATS server: %w", err)
	}
	return uint64(v.InClientMsgs), nil
}

// LimitStorage limits the bytes that the account may store on disk; a negative value removes the limit. The limit may
// be lower than what is already stored. In a cluster, each server has its own limit.
func (s *Server) LimitStorage(bytes int64) error {
	limits := map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: -1, MaxStore: bytes, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1,
		MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}}
	if err := s.server.GlobalAccount().UpdateJetStreamLimits(limits); err != nil {
		return fmt.Errorf("limiting the storage of the embedded NATS server to %d bytes: %w", bytes, err)
	}
	return nil
}

// Restart stops the server gracefully and starts it again with the same port and folder.
func (s *Server) Restart() error {
	s.Stop()
	return s.StartAgain()
}

// StartAgain starts a stopped server with the same port and folder.
func (s *Server) StartAgain() error { return s.start() }

// Stop stops the server gracefully and waits until it has stopped.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}
