package explore

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// World is what a history begins with.
type World struct {
	Mode    consumer.Mode
	Workers int
	// Jitter is that of each worker, for all its reservations.
	Jitter []float64
	// Ahead is how far the clock of each worker is ahead.
	Ahead []time.Duration
	// Way is how long every second poll of an interaction is on its way to the vendor.
	Way          time.Duration
	Broker       fake.Options
	Config       consumer.Config
	Interactions []Interaction
	// Faults is when the last faults happen, Rest how long healthy workers then run at most.
	Faults, Rest time.Duration
	// Early ends the faults when every interaction has ended.
	Early bool
	// Break replaces the broker of each worker by a broken one, to test the checks.
	Break func(broker.Broker) broker.Broker
}

// Interaction is an interaction, and what the vendor makes of it.
type Interaction struct {
	ID       string
	Type     schema.Type
	Declared time.Duration
	// Invalid means that the declared message is not valid: its identifier is not a GUID.
	Invalid bool
	// Ends is the final status, After a time; StatusProcessing never ends. Unknown means that the vendor does not
	// know the interaction.
	Ends    schema.Status
	After   time.Duration
	Unknown bool
}

// identifiers is the beginning of all identifiers.
const identifiers = "00000000-0000-4000-8000-"

func identifier(n int) string { return fmt.Sprintf("%s%012d", identifiers, n) }

// short shortens subjects, filters and streams for a history.
func short(s string) string {
	s = strings.ReplaceAll(s, identifiers+"0000000000", "i")
	s = strings.ReplaceAll(s, "INTERACTIONS_", "")
	return strings.ReplaceAll(s, "interactions.", "")
}

// script is the vendor's script of an interaction.
func (i Interaction) script() simulator.Script {
	if i.Ends.Final() {
		return simulator.Script{Steps: []simulator.Step{
			{Status: schema.StatusProcessing}, {Status: i.Ends, After: i.After},
		}}
	}
	return simulator.Never()
}

// never reports whether the interaction waits until its deadline.
func (i Interaction) never() bool { return !i.Unknown && !i.Invalid && !i.Ends.Final() }

// grace is the grace period of refusals: short, so that it ends within a history.
const grace = 12 * time.Second

// config is the configuration of all workers.
func config() consumer.Config {
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.PanicLevel)
	return consumer.Config{
		Intervals:     consumer.Intervals{Audio: 8 * time.Second, Chat: 5 * time.Second, Transcript: 5 * time.Second},
		NotFoundGrace: grace, Concurrency: 16, Log: log,
	}
}

// RandomWorld is the world of a seed.
func RandomWorld(seed uint64, mode consumer.Mode, interactions int) World {
	r := rand.New(rand.NewPCG(seed, 1))
	w := World{Mode: mode, Workers: 2 + r.IntN(2), Config: config(), Faults: 60 * time.Second, Rest: 6 * time.Minute}
	for range w.Workers {
		w.Jitter = append(w.Jitter, float64(r.IntN(5))/5)
	}
	choose := func(of ...time.Duration) time.Duration { return of[r.IntN(len(of))] }
	w.Broker = fake.Options{
		FiresLate:   choose(0, 140*time.Millisecond, 280*time.Millisecond),
		FiringTakes: choose(0, 0, 3*time.Millisecond, 40*time.Millisecond),
		FiredSeen:   choose(0, 0, 30*time.Millisecond, 300*time.Millisecond),
		AckedSeen:   choose(0, 0, 30*time.Millisecond, 200*time.Millisecond),
		Replicated:  r.IntN(2) == 0,
	}
	if r.IntN(4) == 0 {
		w.Config.Deadline = 75 * time.Second
	}
	unknown := 0
	for n := range interactions {
		i := Interaction{
			ID: identifier(n + 1), Type: schema.Types()[r.IntN(3)], Ends: schema.StatusProcessed,
			Declared: time.Duration(r.IntN(20000)) * time.Millisecond,
			After:    time.Duration(1+r.IntN(35)) * time.Second,
		}
		switch k := r.IntN(10); {
		case k == 0 && unknown < 2:
			unknown++
			i.Unknown = true
		case k == 1:
			i.Ends = schema.StatusProcessing
		case k < 5:
			i.Ends = []schema.Status{schema.StatusProcessingFailed, schema.StatusFileUploadFailed}[r.IntN(2)]
		}
		w.Interactions = append(w.Interactions, i)
	}
	for range w.Workers {
		w.Ahead = append(w.Ahead, choose(0, 0, 17*time.Second, -time.Hour))
	}
	w.Way = choose(0, 0, usualWay)
	if r.IntN(4) == 0 {
		w.Config.Concurrency = 4 // fewer slots than interactions
	}
	if i := &w.Interactions[r.IntN(interactions)]; r.IntN(4) == 0 {
		*i = Interaction{ID: i.ID[:len(i.ID)-1] + "z", Type: i.Type, Declared: i.Declared, Invalid: true}
	}
	return w
}
