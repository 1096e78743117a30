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
//	/livez    200 while the worker's loops make progress, whatever the state of vendor and broker
//	/readyz   200 while it is connected and pulls from its consumers; otherwise 503 with the reason
//	/statusz  what waits, and which workers are alive, as JSON
//	/metrics  the metrics for Prometheus
//	/         a list of these
//
// It answers as soon as it listens, before there is a worker.
type Server struct {
	nc       atomic.Pointer[nats.Conn]
	watched  atomic.Pointer[watched]
	waiting  atomic.Pointer[string]
	stopping atomic.Bool
	server   http.Server
	listener net.Listener
	served   chan struct{} // closed when the server has ended
	times    times
}

// times are the durations that tests shorten.
type times struct {
	read    time.Duration // limits the reading of a request
	inspect time.Duration // between two inspections of the broker by the first worker
}

// The limits for clients, because anybody may reach the port. maxConnections take some 16 MB; a lower limit would make
// it easier to shut out a probe. readTimeout also ends a request whose body does not arrive.
const (
	maxConnections = 1024
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
)

// Listen starts a server on an address such as :8080. The metrics must not belong to another server.
func Listen(addr string, m *Metrics) (*Server, error) {
	return listen(addr, m, times{read: readTimeout, inspect: inspectEvery})
}

func listen(addr string, m *Metrics, t times) (*Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("starting the admin server: %w", err)
	}
	s := &Server{listener: netutil.LimitListener(listener, maxConnections), served: make(chan struct{}), times: t}
	s.server.ReadTimeout, s.server.WriteTimeout = t.read, writeTimeout
	s.Waiting("the worker is starting")
	m.labelled.MustRegister(scrape{s})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "/livez\n/readyz\n/statusz\n/metrics")
	})
	mux.HandleFunc("GET /livez", s.answer(s.Alive))
	mux.HandleFunc("GET /readyz", s.answer(s.Ready))
	mux.HandleFunc("GET /statusz", s.statusz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	s.serve(mux)
	return s, nil
}

// CheckPprof returns an error if profiles are not served on an address.
func CheckPprof(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || !statusclient.IsLoopback(host) {
		return fmt.Errorf("pprof address %q: must be a loopback address with a port, such as 127.0.0.1:6060", addr)
	}
	return nil
}

// ListenPprof starts a server for Go's profiles. The address must be a loopback address, because profiles show memory.
// Requests have no time limit.
func ListenPprof(addr string) (*Server, error) {
	if err := CheckPprof(addr); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("starting the pprof server: %w", err)
	}
	s := &Server{listener: listener, served: make(chan struct{})}
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
	s.server.Handler = h // without ErrorLog, errors go to the standard logger, which the command redirects
	s.server.ReadHeaderTimeout, s.server.IdleTimeout, s.server.MaxHeaderBytes = 5*time.Second, time.Minute, 16<<10
	go func() {
		defer close(s.served)
		_ = s.server.Serve(s.listener) // http.ErrServerClosed
	}()
}

// Addr returns the address on which the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Waiting sets what /readyz reports until there is a worker.
func (s *Server) Waiting(what string) { s.waiting.Store(&what) }

// Connected sets the connection that metrics report before there is a worker.
func (s *Server) Connected(nc *nats.Conn) { s.nc.Store(nc) }

// Watch sets the worker that the server reports. It starts a goroutine, which [Server.Close] ends: while the worker is
// the first of the fleet, it inspects the broker, and logs foreign consumers and undelivered messages.
func (s *Server) Watch(
	worker *consumer.Worker,
	outcomes *publisher.Publisher,
	js jetstream.JetStream,
	log logrus.FieldLogger,
) {
	s.Connected(js.Conn())
	fleet := newFleetReporter(worker, js, s.times.inspect, log)
	s.watched.Store(&watched{worker: worker, outcomes: outcomes, nc: js.Conn(), fleet: fleet})
}

// Stopping makes /readyz report that the worker is stopping.
func (s *Server) Stopping() { s.stopping.Store(true) }

// Close stops listening, and waits up to one second for requests in progress. It then ends the goroutine of
// [Server.Watch], and waits for it.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // it reports only that the listener is already closed
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

// answer returns a handler that answers ok, or the error of check.
func (s *Server) answer(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	}
}

// Alive returns what /livez answers: an error if the worker must be restarted.
func (s *Server) Alive() error {
	if w := s.watched.Load(); w != nil {
		return w.worker.Alive()
	}
	return nil // waiting for the broker, which /readyz reports
}

var errStopping = errors.New("stopping: finishing polls in flight")

var errDisconnected = errors.New("not connected to NATS: reconnecting")

// Ready returns what /readyz answers: an error with what the worker waits for.
func (s *Server) Ready() error {
	w := s.watched.Load()
	if w == nil {
		return errors.New(*s.waiting.Load())
	}
	switch {
	case s.stopping.Load():
		return errStopping
	case !w.nc.IsConnected():
		if cause := w.nc.LastError(); cause != nil {
			return fmt.Errorf("%w: %w", errDisconnected, cause)
		}
		return errDisconnected
	}
	return w.worker.Ready()
}
