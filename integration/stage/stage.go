// Package stage is the set of parts that tests of workers share: a broker with the project's streams, the simulated
// vendor, and workers that a test starts, stops and kills. It also reads the outcomes, and compares the polls that the
// vendor received with the poll intervals.
//
// By default the broker is an embedded NATS server, and everything takes real time. With [Options.InMemory] the broker
// is [fake.Broker], and requests to the vendor use connections in memory: such a stage runs in a [testing/synctest]
// bubble, where waiting takes no time.
package stage

import (
	"context"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/fake"
	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/topology"
	"statusworker/statusclient/simulator"
)

// Short are poll intervals for a stage that takes real time: short enough for a test, and long enough for an embedded
// server to fire its schedules on time.
var Short = consumer.Intervals{
	Audio:      600 * time.Millisecond,
	Chat:       400 * time.Millisecond,
	Transcript: 400 * time.Millisecond,
}

// PendingOnce makes the vendor answer the first poll of an interaction with "processing". The interaction is polled at
// least twice, however slow the machine is.
var PendingOnce = simulator.Fault{Kind: simulator.OtherStatus, Status: "processing"}.On(1, 1)

// Options describe a stage.
type Options struct {
	// Mode is the mode of the streams and workers. If it is empty, the broker has no streams.
	Mode consumer.Mode
	// Worker is the configuration of the workers. Intervals default to [Short], RequestTimeout to 2 s.
	Worker consumer.Config
	// InMemory replaces the embedded server by a [fake.Broker], and TCP by connections in memory. The test must call
	// [New] in a bubble of [testing/synctest].
	InMemory bool
	// Fake are the options of the broker in memory.
	Fake fake.Options
	// PollsMaxBytes is the maximum size of the stream of reservations; 0 is no limit.
	PollsMaxBytes int64
	// URL is the address of a running NATS server. If it is set, New starts none.
	URL string
}

// Stage is a broker, a simulated vendor and workers in one process. It ends with its test.
type Stage struct {
	T      testing.TB
	Mode   consumer.Mode
	Vendor *simulator.Simulator
	// Broker is the broker as tests use it, on a connection of its own.
	Broker broker.Broker
	// Ctx ends after three minutes, or one hour in a bubble.
	Ctx context.Context
	// Config is the configuration of the workers that are created from now on.
	Config consumer.Config

	// Fake is the broker of a stage in memory; otherwise nil.
	Fake *fake.Broker
	// Server is the embedded server; nil in memory, and with [Options.URL].
	Server *embedded.Server
	// NC and JS are the stage's own connection; nil in memory.
	NC *nats.Conn
	JS jetstream.JetStream

	url string

	pollsMaxBytes int64

	pipe *pipe // to the vendor; nil if it listens on TCP

	mu       sync.Mutex
	types    map[string]schema.Type // of the declared interactions
	outcomes []Outcome
	next     uint64 // sequence at which the outcomes continue
}

// New makes a stage.
func New(t testing.TB, o Options) *Stage {
	t.Helper()
	limit := 3 * time.Minute
	if o.InMemory {
		limit = time.Hour
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	s := &Stage{T: t, Ctx: ctx, Mode: o.Mode, Config: o.Worker, types: map[string]schema.Type{}, next: 1, url: o.URL,
		pollsMaxBytes: o.PollsMaxBytes}
	if s.Config.Intervals == (consumer.Intervals{}) {
		s.Config.Intervals = Short
	}
	if s.Config.RequestTimeout == 0 {
		s.Config.RequestTimeout = 2 * time.Second
	}
	if s.Config.Log == nil {
		s.Config.Log = Log()
	}
	if o.InMemory {
		s.Fake = fake.New(o.Fake, adapter.StreamConfigs(s.topology())...)
		t.Cleanup(s.Fake.Close)
		s.Broker = s.Fake
		s.pipe = newPipe()
	} else {
		s.connect()
	}
	vendor := simulator.Config{}
	if s.pipe != nil {
		vendor.Listener = s.pipe
	}
	var err error
	s.Vendor, err = simulator.Start(vendor)
	s.Check(err)
	t.Cleanup(s.Vendor.Close)
	return s
}

// connect starts a server where there is none, connects to it and provisions it.
func (s *Stage) connect() {
	s.T.Helper()
	var err error
	if s.url == "" {
		if testing.Short() {
			s.T.Skip("starts a NATS server")
		}
		s.Server, err = embedded.Start(s.T.TempDir(), 0)
		s.Check(err)
		s.T.Cleanup(s.Server.Stop)
		s.url = s.Server.URL()
	}
	s.JS = s.Connect()
	s.NC = s.JS.Conn()
	s.Broker = adapter.New(s.JS)
	if s.Mode != "" {
		_, err = provisioning.Create(s.Ctx, s.JS, s.topology())
		s.Check(err)
	}
}

// topology is the set of streams and consumers of the stage.
func (s *Stage) topology() topology.Set {
	if s.Mode == "" {
		return topology.Set{}
	}
	set := consumer.Topology(s.Config, consumer.Choices{Mode: s.Mode, PollsMaxBytes: s.pollsMaxBytes})
	return set.Add(publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}))
}

// Connect opens another connection to the server.
func (s *Stage) Connect() jetstream.JetStream {
	s.T.Helper()
	nc, err := nats.Connect(s.url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // the default one writes to stderr
	s.Check(err)
	s.T.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	s.Check(err)
	return js
}

// Check fails the test if there is an error.
func (s *Stage) Check(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

// Log discards what workers log, or writes it to stderr if STATUSWORKER_TEST_LOG is set.
func Log() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	if os.Getenv("STATUSWORKER_TEST_LOG") != "" {
		l.SetOutput(os.Stderr)
		l.SetLevel(logrus.DebugLevel)
	}
	return l
}
