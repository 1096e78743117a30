package connect

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/sirupsen/logrus"
)

// records are the entries of a log. A test waits for them.
type records struct {
	mu      sync.Mutex
	entries []*logrus.Entry
	changed chan struct{}
}

// newLog returns a logger, and its entries above debug.
func newLog() (*logrus.Logger, *records) {
	r := &records{changed: make(chan struct{})}
	log := logrus.New()
	log.SetOutput(nowhere{})
	log.AddHook(r)
	return log, r
}

type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// Levels implements [logrus.Hook].
func (r *records) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements [logrus.Hook].
func (r *records) Fire(e *logrus.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, e)
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

func (r *records) all() []*logrus.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

func (r *records) messages() (all []string) {
	for _, e := range r.all() {
		all = append(all, e.Message)
	}
	return all
}

func (r *records) count(message string) (n int) {
	for _, m := range r.messages() {
		if m == message {
			n++
		}
	}
	return n
}

// until waits for entries that satisfy a condition.
func (r *records) until(t *testing.T, is func(all []*logrus.Entry) bool) {
	t.Helper()
	end := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		entries, changed := slices.Clone(r.entries), r.changed
		r.mu.Unlock()
		if is(entries) {
			return
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("the entry is missing in %q", r.messages())
		}
	}
}

// newServer starts a server on a free port.
func newServer(t *testing.T, options server.Options) *server.Server {
	t.Helper()
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s
}
