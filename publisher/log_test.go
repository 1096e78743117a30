package publisher_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"statusworker/publisher"
	"statusworker/schema"
)

// A stored dead letter is logged as a warning, a processed event at debug level. An outcome that is already stored is
// not logged.
func TestOutcomesAreLogged(t *testing.T) {
	t.Parallel()
	s := newStage(t, remembered)
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	p, err := publisher.New(s.ctx, s.counter, ns, log)
	if err != nil {
		t.Fatal(err)
	}
	done, dead := uuid.NewString(), uuid.NewString()
	for range 2 {
		for _, outcomes := range [][]schema.Outcome{processed(done, generation),
			{failed(dead, generation, schema.NotFound)}} {
			if err := p.Publish(s.ctx, outcomes...); err != nil {
				t.Fatal(err)
			}
		}
	}
	debug, warned := 0, 0
	for _, e := range hook.AllEntries() {
		switch e.Level {
		case logrus.DebugLevel:
			if debug++; e.Data["interaction"] != done || e.Data["destination"] == nil {
				t.Errorf("fields %v, want the interaction and the destination", e.Data)
			}
		case logrus.WarnLevel:
			if warned++; e.Data["interaction"] != dead || e.Data["reason"] != schema.NotFound ||
				e.Data["detail"] == "" {
				t.Errorf("fields %v, want the interaction, the reason and the detail", e.Data)
			}
		}
	}
	if want := len(processed(done, generation)); debug != want || warned != 1 {
		t.Errorf("%d processed events and %d dead letters logged, want %d and 1", debug, warned, want)
	}
}
