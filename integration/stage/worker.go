package stage

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"

	"statusworker/cmd/broker/adapter"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema/broker"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// Ports are what a worker works with. Fields that are not set take the stage's own.
type Ports struct {
	// Broker defaults to the broker on a connection of the worker's own.
	Broker consumer.Broker
	// Client defaults to [Stage.Client].
	Client consumer.StatusClient
	// Outcomes defaults to [Stage.Publisher].
	Outcomes consumer.OutcomePublisher
}

// Worker is a worker that runs, or will run.
type Worker struct {
	*consumer.Worker
	stage      *Stage
	ctx, leave context.Context
	stop, kill context.CancelFunc
	ended      chan struct{}
	err        error // when it has ended
}

// Start runs a worker until the end of the test. With [Ports] it replaces parts of the worker.
func (s *Stage) Start(p ...Ports) *Worker {
	s.T.Helper()
	w := s.NewWorker(p...)
	w.Run()
	return w
}

// NewWorker makes a worker that does not run yet.
func (s *Stage) NewWorker(p ...Ports) *Worker {
	s.T.Helper()
	var ports Ports
	if len(p) > 0 {
		ports = p[0]
	}
	if ports.Broker == nil {
		ports.Broker = s.connection()
	}
	if ports.Client == nil {
		ports.Client = s.Client()
	}
	if ports.Outcomes == nil {
		ports.Outcomes = s.Publisher()
	}
	w, err := consumer.New(s.Ctx, ports.Broker, s.Mode, ports.Client, ports.Outcomes, s.Config)
	s.Check(err)
	made := &Worker{Worker: w, stage: s, ended: make(chan struct{})}
	made.ctx, made.stop = context.WithCancel(s.Ctx)
	made.leave, made.kill = context.WithCancel(s.Ctx)
	return made
}

// Run starts a worker that was made by [Stage.NewWorker].
func (w *Worker) Run() {
	go func() {
		w.err = w.Worker.Run(w.ctx, w.leave)
		close(w.ended)
	}()
	w.stage.T.Cleanup(func() {
		w.Kill()
		<-w.ended
	})
}

// Stop asks the worker to finish its polls and to end. It does not wait.
func (w *Worker) Stop() { w.stop() }

// Kill asks the worker to end at once, and to leave what it has in flight to AckWait. It does not wait.
func (w *Worker) Kill() {
	w.kill()
	w.stop()
}

// Wait returns when the worker has ended, with the error of its Run.
func (w *Worker) Wait() error {
	w.stage.T.Helper()
	select {
	case <-w.ended:
	case <-w.stage.Ctx.Done():
		w.stage.T.Fatal("the worker has not ended")
	}
	return w.err
}

// End stops the worker, and returns when it has ended. It fails the test if the worker returned an error.
func (w *Worker) End() {
	w.stage.T.Helper()
	w.Stop()
	w.stage.Check(w.Wait())
}

// connection is the broker on a connection of its own.
func (s *Stage) connection() broker.Broker {
	s.T.Helper()
	if s.Fake != nil {
		return s.Fake
	}
	return adapter.New(s.Connect())
}

// Client is a new client of the simulated vendor.
func (s *Stage) Client() *statusclient.Client {
	s.T.Helper()
	return s.ClientWith(statusclient.Config{Token: simulator.DefaultToken, Timeout: s.Config.RequestTimeout})
}

// ClientWith is a client with a configuration. An empty BaseURL is that of the simulated vendor; then Dial defaults to
// [Stage.DialVendor] in memory.
func (s *Stage) ClientWith(c statusclient.Config) *statusclient.Client {
	s.T.Helper()
	if c.BaseURL == "" {
		c.BaseURL = s.Vendor.URL()
		if s.pipe != nil && c.Dial == nil {
			c.Dial = s.Dial
		}
	}
	if c.Now == nil {
		c.Now = s.Config.Now
	}
	client, err := statusclient.New(c)
	s.Check(err)
	s.T.Cleanup(client.Close)
	return client
}

// Dial connects to the simulated vendor of a stage in memory.
func (s *Stage) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return s.pipe.dial(ctx, network, address)
}

// Publisher is a new publisher of outcomes.
func (s *Stage) Publisher() *publisher.Publisher {
	s.T.Helper()
	p, err := publisher.New(s.Ctx, s.connection(), ns, s.Config.Log)
	s.Check(err)
	return p
}

// ServeVendor serves another vendor than the simulated one, and returns a client of it.
func (s *Stage) ServeVendor(h http.Handler) *statusclient.Client {
	s.T.Helper()
	c := statusclient.Config{Token: simulator.DefaultToken, Timeout: s.Config.RequestTimeout}
	server := httptest.NewUnstartedServer(h)
	if s.Fake != nil {
		p := newPipe()
		s.Check(server.Listener.Close())
		server.Listener, c.Dial = p, p.dial
	}
	server.Start()
	s.T.Cleanup(server.Close)
	c.BaseURL = server.URL + "/v1"
	return s.ClientWith(c)
}
