package publisher_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"statusworker/publisher"
	"statusworker/schema"
)

// What is stored is logged: a dead letter as a warning, a processed event for who debugs, and what was stored before
// not again.
func TestOutcomesAreLogged(t *testing.T) {
	t.Parallel()
	s := newStage(t, longWindow)
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	p, err := publisher.New(s.ctx, s.counter, log)
	if err != nil {
		t.Fatal(err)
	}
	done, dead := uuid.NewString(), uuid.NewString()
	for range 2 {
		for _, outcomes := range [][]schema.Outcome{processed(done, life), {failed(dead, life, schema.NotFound)}} {
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
				t.Errorf("logged %v, want the interaction and the destination", e.Data)
			}
		case logrus.WarnLevel:
			if warned++; e.Data["interaction"] != dead || e.Data["reason"] != schema.NotFound ||
				e.Data["detail"] == "" {
				t.Errorf("logged %v, want the interaction, the reason and the detail", e.Data)
			}
		}
	}
	if want := len(processed(done, life)); debug != want || warned != 1 {
		t.Errorf("%d processed events and %d dead letters are logged, want %d and 1", debug, warned, want)
	}
}
