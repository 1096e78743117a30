package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

// Expected says what shall become of each interaction: its identifier, and the kinds of its outcomes. A kind is the
// subject between `interactions.` and the identifier: `processed.cxai`, `failed.not_found`. A kind that is listed twice
// is expected twice.
type Expected map[string][]string

// Add expects more of an interaction.
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

// Oracle reads the outcome stream, from its beginning, and knows nothing else: what a worker says of itself does not
// reach it. It goes on reading while the broker comes and goes.
type Oracle struct {
	js jetstream.JetStream

	mu       sync.Mutex
	outcomes []Outcome // by sequence
	changed  chan struct{}
}

// oraclePrefix begins the names of the oracle's consumers.
const oraclePrefix = "oracle"

// Watch starts an oracle on the outcome stream, which must exist. It ends with the test.
func Watch(t testing.TB, url string) *Oracle {
	t.Helper()
	js := JetStream(t, url)
	consumer, err := js.OrderedConsumer(
		Context(t, 10*time.Second),
		schema.StreamOutcomes,
		jetstream.OrderedConsumerConfig{NamePrefix: oraclePrefix},
	)
	Check(t, err)
	o := &Oracle{js: js, changed: make(chan struct{})}
	// A short expiry, so that a consumer that went with its broker is missed, and made anew, within a second or two.
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
		panic(
			fmt.Sprintf("an ordered consumer delivered a message without metadata: %v", err),
		) // a fault of this program
	}
	kind, identifier := split(m.Subject())
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.outcomes); n > 0 && meta.Sequence.Stream <= o.outcomes[n-1].Sequence {
		return // read again after the consumer was made anew
	}
	o.outcomes = append(o.outcomes, Outcome{
		Identifier: identifier, Kind: kind, Sequence: meta.Sequence.Stream, Stored: meta.Timestamp,
		Header: m.Headers(), Data: m.Data(),
	})
	close(o.changed)
	o.changed = make(chan struct{})
}

// split takes the subject of an outcome apart.
func split(subject string) (kind, identifier string) {
	subject = strings.TrimPrefix(subject, schema.DefaultNamespace.String()+".")
	i := strings.LastIndexByte(subject, '.')
	return subject[:max(i, 0)], subject[i+1:]
}

// Outcomes gives what has been read so far, in the order of the stream.
func (o *Oracle) Outcomes() []Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clip(o.outcomes)
}

// Of gives the outcomes of one interaction that have been read so far.
func (o *Oracle) Of(identifier string) []Outcome {
	var of []Outcome
	for _, outcome := range o.Outcomes() {
		if outcome.Identifier == identifier {
			of = append(of, outcome)
		}
	}
	return of
}

// Await waits until everything expected has come. The error names some of what is missing.
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
			return fmt.Errorf("waiting for outcomes: %w; %d have come, %d are missing: %s",
				context.Cause(ctx), seen, len(missing), strings.Join(some[:min(len(some), 10)], ", "))
		}
	}
}

// Report is what became of a set of interactions.
type Report struct {
	// Outcomes counts all outcomes of the interactions that were asked about.
	Outcomes int
	// Duplicates lists kinds of outcomes that came oftener than expected, Lost those that were expected and did not
	// come, Unexpected those that were not expected at all, of whatever interaction.
	Duplicates, Lost, Unexpected []string
}

// Err is nil when everything came exactly as expected.
func (r Report) Err() error {
	var errs []error
	for _, list := range []struct {
		what  string
		which []string
	}{{"duplicates", r.Duplicates}, {"lost", r.Lost}, {"unexpected", r.Unexpected}} {
		if n := len(list.which); n > 0 {
			errs = append(errs, fmt.Errorf("%s: %d: %s", list.what, n, strings.Join(list.which[:min(n, 10)], ", ")))
		}
	}
	return errors.Join(errs...)
}

// Report reads the outcome stream to its present end and compares. To be sure that nothing comes later, call
// [AwaitDrained] first.
func (o *Oracle) Report(ctx context.Context, want Expected) (Report, error) {
	if err := o.catchUp(ctx); err != nil {
		return Report{}, err
	}
	got := make(map[string]map[string]int)
	for _, outcome := range o.Outcomes() {
		if got[outcome.Identifier] == nil {
			got[outcome.Identifier] = make(map[string]int)
		}
		got[outcome.Identifier][outcome.Kind]++
	}
	var r Report
	for _, identifier := range slices.Sorted(maps.Keys(want)) {
		expected := make(map[string]int)
		for _, kind := range want[identifier] {
			expected[kind]++
		}
		for _, kind := range slices.Sorted(maps.Keys(expected)) {
			n := got[identifier][kind]
			for range expected[kind] - n {
				r.Lost = append(r.Lost, kind+" of "+identifier)
			}
			for range n - expected[kind] {
				r.Duplicates = append(r.Duplicates, kind+" of "+identifier)
			}
		}
		for _, n := range got[identifier] {
			r.Outcomes += n
		}
	}
	for _, identifier := range slices.Sorted(maps.Keys(got)) {
		for _, kind := range slices.Sorted(maps.Keys(got[identifier])) {
			if !slices.Contains(want[identifier], kind) {
				r.Unexpected = append(
					r.Unexpected,
					fmt.Sprintf("%s of %s (%d)", kind, identifier, got[identifier][kind]),
				)
			}
		}
	}
	return r, nil
}

// catchUp waits until all that is stored now has been read.
func (o *Oracle) catchUp(ctx context.Context) error {
	var last uint64
	err := Eventually(ctx, "the state of "+schema.StreamOutcomes, func(ctx context.Context) error {
		return try(ctx, 2*time.Second, func(ctx context.Context) error {
			stream, err := o.js.Stream(ctx, schema.StreamOutcomes)
			if err != nil {
				return err
			}
			if state := stream.CachedInfo().State; state.Msgs > 0 {
				last = state.LastSeq
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for {
		o.mu.Lock()
		var read uint64
		if n := len(o.outcomes); n > 0 {
			read = o.outcomes[n-1].Sequence
		}
		changed := o.changed
		o.mu.Unlock()
		if read >= last {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf(
				"reading %s up to sequence %d, now at %d: %w",
				schema.StreamOutcomes,
				last,
				read,
				context.Cause(ctx),
			)
		}
	}
}

// AwaitDrained waits until nothing is left in the streams of declared messages and of polls: no declared message, no
// reservation, no due message, no tombstone. Nothing can happen after that unless something is declared. A stream that
// does not exist counts as empty.
func AwaitDrained(ctx context.Context, js jetstream.JetStream) error {
	return Eventually(ctx, "empty streams of declared messages and polls", func(ctx context.Context) error {
		left, err := Left(ctx, js)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf(
				"%d subjects still hold a message: %s",
				len(left),
				strings.Join(left[:min(len(left), 10)], ", "),
			)
		}
		return nil
	})
}

// Left lists the subjects, in order, on which the streams of declared messages and of polls still hold a message.
func Left(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	var left []string
	for _, name := range []string{schema.StreamDeclared, schema.StreamPolls} {
		err := try(ctx, 2*time.Second, func(ctx context.Context) error {
			stream, err := js.Stream(ctx, name)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			if stream.CachedInfo().State.Msgs == 0 {
				return nil
			}
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
			if err != nil {
				return err
			}
			left = append(left, slices.Sorted(maps.Keys(info.State.Subjects))...)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("looking into %s: %w", name, err)
		}
	}
	return left, nil
}

// Figures are what a scenario shows, as one line.
type Figures struct {
	Scenario            string
	Interactions, Polls int
	// MinGap is the least time between two polls of one interaction, Guidance what it must not be below.
	MinGap, Guidance           time.Duration
	Outcomes, Duplicates, Lost int
}

// String is `scenario=... interactions=... polls=... least_gap=... guidance=... outcomes=... duplicates=... lost=...`.
func (f Figures) String() string {
	return fmt.Sprintf(
		"scenario=%s interactions=%d polls=%d least_gap=%.3fs guidance=%.3fs outcomes=%d duplicates=%d lost=%d",
		f.Scenario,
		f.Interactions,
		f.Polls,
		f.MinGap.Truncate(time.Millisecond).Seconds(),
		f.Guidance.Seconds(),
		f.Outcomes,
		f.Duplicates,
		f.Lost,
	)
}

// Print prints the line, and appends it to the file that [EnvFigures] names.
func (f Figures) Print(t testing.TB) {
	t.Helper()
	fmt.Println(f)
	path := os.Getenv(EnvFigures)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Errorf("appending to the file that %s names: %v", EnvFigures, err)
		return
	}
	_, err = fmt.Fprintln(file, f) // one write: lines of several test processes do not mix
	if err := errors.Join(err, file.Close()); err != nil {
		t.Errorf("appending to the file that %s names: %v", EnvFigures, err)
	}
}
