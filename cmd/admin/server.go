package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
	"golang.org/x/net/netutil"

	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/statusclient"
)

// Server answers on the admin listener:
//
//	/livez    200 while the worker's loops go round, whatever the vendor and the broker do
//	/readyz   200 while it is connected and pulls from its consumers; otherwise 503 and why not
//	/statusz  what waits, and which workers are alive, as JSON
//	/metrics  for Prometheus
//	/         the list of these
//
// It answers from its start on, before there is a worker.
type Server struct {
	nc       atomic.Pointer[nats.Conn]
	watched  atomic.Pointer[watched]
	waiting  atomic.Pointer[string]
	stopping atomic.Bool
	server   http.Server
	listener net.Listener
	served   chan error
}

// What a client can take of a worker: it may be anybody who reaches the port. A request has no body, so that one which
// announces a body is over with the time for reading it. So many connections take some 16 MB, and fewer would let a
// probe be shut out more easily.
const (
	mostConnections = 1024
	readTimeout     = 10 * time.Second
	writeTimeout    = 30 * time.Second
)

// Listen starts a server on an address such as :8080.
func Listen(addr string, m *Metrics) (*Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for operators: %w", err)
	}
	s := &Server{listener: netutil.LimitListener(listener, mostConnections), served: make(chan error, 1)}
	s.server.ReadTimeout, s.server.WriteTimeout = readTimeout, writeTimeout
	s.Waiting("the worker is starting")
	m.registry.MustRegister(scrape{s})
	mux := http.NewServeMux()
	mux.HandleFunc(
		"GET /{$}",
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "/livez\n/readyz\n/statusz\n/metrics") },
	)
	mux.HandleFunc("GET /livez", s.answer(s.alive))
	mux.HandleFunc("GET /readyz", s.answer(s.ready))
	mux.HandleFunc("GET /statusz", s.statusz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	s.serve(mux)
	return s, nil
}

// CheckPprof refuses an address on which profiles are not served.
func CheckPprof(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || !statusclient.IsLoopback(host) {
		return fmt.Errorf("profiles are served on a loopback address only, such as 127.0.0.1:6060, and not on %q", addr)
	}
	return nil
}

// ListenPprof starts a server for Go's profiles, which take as long as is asked for. Their address must be a loopback
// one: they show memory.
func ListenPprof(addr string) (*Server, error) {
	if err := CheckPprof(addr); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for profilers: %w", err)
	}
	s := &Server{listener: listener, served: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s.serve(mux)
	return s, nil
}

func (s *Server) serve(h http.Handler) {
	s.server.Handler = h // its ErrorLog is Go's standard logger, which the command bridges into its own log
	s.server.ReadHeaderTimeout, s.server.IdleTimeout, s.server.MaxHeaderBytes = 5*time.Second, time.Minute, 16<<10
	go func() { s.served <- s.server.Serve(s.listener) }()
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Waiting says what is still missing before there is a worker.
func (s *Server) Waiting(what string) { s.waiting.Store(&what) }

// Connected has the server tell of a connection, for which there is no worker yet.
func (s *Server) Connected(nc *nats.Conn) { s.nc.Store(nc) }

// Watch has the server tell of a worker. The log gets what the streams have that no worker can help.
func (s *Server) Watch(
	worker *consumer.Worker,
	outcomes *publisher.Publisher,
	js jetstream.JetStream,
	log logrus.FieldLogger,
) {
	s.Connected(js.Conn())
	s.watched.Store(&watched{worker: worker, outcomes: outcomes, nc: js.Conn(), fleet: newFleet(worker, js, log)})
}

// Stopping has the server tell that the worker was told to stop: it is not ready from now on.
func (s *Server) Stopping() { s.stopping.Store(true) }

// Close stops listening, and waits a little for answers that are under way.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // what it says is that the listener was closed already
	}
	<-s.served
	if w := s.watched.Load(); w != nil {
		w.fleet.close()
	}
}

func (s *Server) statusz(w http.ResponseWriter, r *http.Request) {
	watched := s.watched.Load()
	switch {
	case watched == nil:
		http.Error(w, *s.waiting.Load(), http.StatusServiceUnavailable)
	case !watched.nc.IsConnected():
		http.Error(w, errDisconnected.Error(), http.StatusServiceUnavailable)
	default:
		watched.fleet.serve(w, r)
	}
}

// answer says ok, or why not.
func (s *Server) answer(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(w, "%v\n", err) // who asked has gone
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	}
}

func (s *Server) alive() error {
	if w := s.watched.Load(); w != nil {
		return w.worker.Alive()
	}
	return nil // it waits for the broker, and says so elsewhere
}

var errStopping = errors.New("stopping: what is being polled is finished, and nothing else is begun")

var errDisconnected = errors.New("not connected to NATS: reconnecting")

func (s *Server) ready() error {
	w := s.watched.Load()
	if w == nil {
		return errors.New(*s.waiting.Load())
	}
	switch {
	case s.stopping.Load():
		return errStopping
	case !w.nc.IsConnected():
		if why := w.nc.LastError(); why != nil {
			return fmt.Errorf("%w: %w", errDisconnected, why)
		}
		return errDisconnected
	}
	return w.worker.Ready()
}
