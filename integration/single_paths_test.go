package integration

import (
	"encoding/json"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
)

func TestSingleAllTypesAndRoutes(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		s := newScenario(t, setting{
			name: "types-and-routes/" + string(mode), url: harness.StartServer(t).URL, mode: mode,
		})
		for _, after := range []time.Duration{0, 1500 * time.Millisecond, 4 * time.Second} {
			s.declareAll(processed(after))
		}
		s.start()
		s.finish()
		s.endedOnce()
		for _, o := range s.oracle.Outcomes() {
			var event struct {
				Subject, Type string
				Data          struct {
					Declaration struct{ InteractionIdentifier string }
					Answer      struct{ Status string }
				}
			}
			harness.Check(t, json.Unmarshal(o.Data, &event))
			d := event.Data
			if event.Subject != o.Identifier || event.Type != schema.EventProcessed ||
				d.Declaration.InteractionIdentifier != o.Identifier ||
				d.Answer.Status != "processed" {
				t.Errorf("outcome %s of %s: %s", o.Kind, o.Identifier, o.Data)
			}
		}
	})
}

// endedOnce checks that no interaction was polled after the vendor had returned its final status. Such a poll is
// allowed, but without a fault it is a wasted request.
func (s *scenario) endedOnce() {
	s.t.Helper()
	ended := make(map[string]bool)
	for _, p := range s.vendor.Polls() {
		if ended[p.Identifier] {
			s.t.Errorf("poll %d of %s after its final status", p.Number, p.Identifier)
		}
		_, status, ok := s.vendor.ReachedAt(p.Identifier)
		ended[p.Identifier] = ended[p.Identifier] || ok && p.Status == status
	}
	if len(ended) == 0 {
		s.t.Error("nothing was polled")
	}
}

func TestSingleEveryFailureReason(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		s := newScenario(t, setting{
			name: "failure-reasons/" + string(mode), url: harness.StartServer(t).URL, mode: mode,
		})
		all := make(map[schema.Reason]bool)
		for _, typ := range schema.Types() {
			s.declareAll(failing(typ, 1500*time.Millisecond))
		}
		s.start()
		s.finish()
		s.endedOnce()
		for _, o := range s.oracle.Outcomes() {
			var event struct {
				Type string
				Data struct {
					Reason   schema.Reason
					Detail   string
					Observed time.Time `json:"observedAt"`
					Declared time.Time `json:"declaredAt"`
				}
			}
			harness.Check(t, json.Unmarshal(o.Data, &event))
			d := event.Data
			all[d.Reason] = true
			if event.Type != schema.EventFailed || o.Kind != "failed."+string(d.Reason) || d.Detail == "" {
				t.Errorf("outcome %s of %s: %s", o.Kind, o.Identifier, o.Data)
			}
			minAge := map[schema.Reason]time.Duration{
				schema.DeadlineExceeded: scaledDeadline,
				schema.NotFound:         scaledGrace,
			}[d.Reason]
			if age := d.Observed.Sub(d.Declared); age < minAge {
				t.Errorf("%s at the age of %v, want at least %v", d.Reason, age, minAge)
			}
		}
		for _, reason := range schema.Reasons() {
			if !all[reason] && reason != schema.InternalError { // no vendor can cause that
				t.Errorf("no dead letter with reason %s", reason)
			}
		}
	})
}
