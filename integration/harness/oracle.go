package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

// Expected maps the identifier of each interaction to the kinds of outcomes that it must have. A kind is the part of
// the subject between `interactions.` and the identifier: `processed.cxai`, `failed.not_found`. A kind that is listed
// twice is expected twice.
type Expected map[string][]string

// Add adds expected outcomes of an interaction.
func (e Expected) Add(identifier string, kinds ...string) {
	e[identifier] = append(e[identifier], kinds...)
}

// Outcome is one message of the outcome stream.
type Outcome struct {
	Identifier string
	Kind       string
	Sequence   uint64
	Stored     time.Time
	Header     nats.Header
	Data       []byte
}

// Oracle reads the outcome stream from its beginning, and uses nothing that a worker reports about itself. It continues
// after an outage of the broker.
type Oracle struct {
	js jetstream.JetStream

	mu       sync.Mutex
	outcomes []Outcome // by sequence
	changed  chan struct{}
}

// oraclePrefix is the prefix of the names of the oracle's consumers.
const oraclePrefix = "oracle"

// StartOracle starts an oracle on the outcome stream, which must exist. The oracle stops when the test ends.
func StartOracle(t testing.TB, url string) *Oracle {
	t.Helper()
	js := JetStream(t, url)
	consumer, err := js.OrderedConsumer(
		Context(t, 10*time.Second),
		ns.StreamOutcomes(),
		jetstream.OrderedConsumerConfig{NamePrefix: oraclePrefix},
	)
	Check(t, err)
	o := &Oracle{js: js, changed: make(chan struct{})}
	// A short expiry, so that a consumer that was lost with its broker is replaced within two seconds.
	consuming, err := consumer.Consume(o.add, jetstream.PullExpiry(2*time.Second), jetstream.PullHeartbeat(time.Second))
	Check(t, err)
	t.Cleanup(func() {
		consuming.Stop()
		<-consuming.Closed()
	})
	return o
}

func (o *Oracle) add(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		// Only a bug can cause this.
		panic(fmt.Sprintf("an ordered consumer delivered a message without metadata: %v", err))
	}
	kind, identifier := split(m.Subject())
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.outcomes); n > 0 && meta.Sequence.Stream <= o.outcomes[n-1].Sequence {
		return // delivered again to a new consumer
	}
	o.outcomes = append(o.outcomes, Outcome{
		Identifier: identifier, Kind: kind, Sequence: meta.Sequence.Stream, Stored: meta.Timestamp,
		Header: m.Headers(), Data: m.Data(),
	})
	close(o.changed)
	o.changed = make(chan struct{})
}

// split splits the subject of an outcome.
func split(subject string) (kind, identifier string) {
	subject = strings.TrimPrefix(subject, schema.DefaultNamespace.String()+".")
	i := strings.LastIndexByte(subject, '.')
	return subject[:max(i, 0)], subject[i+1:]
}

// Outcomes returns the outcomes read so far, in stream order.
func (o *Oracle) Outcomes() []Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clip(o.outcomes)
}

// Of returns the outcomes of one interaction that were read so far.
func (o *Oracle) Of(identifier string) []Outcome {
	var of []Outcome
	for _, outcome := range o.Outcomes() {
		if outcome.Identifier == identifier {
			of = append(of, outcome)
		}
	}
	return of
}

// Await waits until all expected outcomes have been read. The error lists some that are missing.
func (o *Oracle) Await(ctx context.Context, want Expected) error {
	missing := make(map[[2]string]int)
	for identifier, kinds := range want {
		for _, kind := range kinds {
			missing[[2]string{identifier, kind}]++
		}
	}
	for seen := 0; ; {
		o.mu.Lock()
		fresh, changed := o.outcomes[seen:], o.changed
		seen = len(o.outcomes)
		o.mu.Unlock()
		for _, outcome := range fresh {
			key := [2]string{outcome.Identifier, outcome.Kind}
			if missing[key]--; missing[key] <= 0 {
				delete(missing, key)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			var some []string
			for key := range missing {
				some = append(some, key[1]+" of "+key[0])
			}
			slices.Sort(some)
			return fmt.Errorf("waiting for outcomes: %w; read: %d, missing: %d: %s",
				context.Cause(ctx), seen, len(missing), strings.Join(some[:min(len(some), 10)], ", "))
		}
	}
}
