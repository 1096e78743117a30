package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// Outcome is a stored outcome.
type Outcome struct {
	Subject     string        `json:"-"`
	Header      broker.Header `json:"-"`
	Traceparent string        `json:"traceparent"`
	Data        OutcomeData   `json:"data"`
}

// OutcomeData is what an outcome says.
type OutcomeData struct {
	Identifier    string          `json:"interactionIdentifier"`
	Reason        schema.Reason   `json:"reason"`
	Detail        string          `json:"detail"`
	Answer        json.RawMessage `json:"answer"`
	AnswerPayload []byte          `json:"answerPayload"`
	AnswerSize    int             `json:"answerSize"`
	Payload       []byte          `json:"payload"`
	Declaration   json.RawMessage `json:"declaration"`
	Polls         uint64          `json:"polls"`

	History []schema.StatusChange `json:"history"`
}

// Outcomes are the outcomes that were stored so far, in order. An unreachable broker has no new ones.
func (s *Stage) Outcomes() []Outcome {
	s.T.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		m, err := s.Broker.Next(s.Ctx, ns.StreamOutcomes(), ">", s.next)
		switch {
		case errors.Is(err, broker.ErrNotFound), errors.Is(err, broker.ErrNoAnswer):
			return slices.Clone(s.outcomes)
		case err != nil:
			s.T.Fatal(err)
		}
		o := Outcome{Subject: m.Subject, Header: m.Header}
		if err := json.Unmarshal(m.Data, &o); err != nil {
			s.T.Errorf("outcome on %s: %v", m.Subject, err)
		}
		s.outcomes, s.next = append(s.outcomes, o), m.Sequence+1
	}
}

// WaitOutcomes returns the outcomes when n of them or more are stored.
func (s *Stage) WaitOutcomes(n int) (all []Outcome) {
	s.T.Helper()
	enough := func() bool { all = s.Outcomes(); return len(all) >= n }
	if !s.eventually(enough) {
		s.T.Fatalf("%d of %d outcomes: %+v%s", len(all), n, all, s.stored())
	}
	return all
}

// CountOutcomes returns the number of outcomes on each subject when n of them or more are stored.
func (s *Stage) CountOutcomes(n int) map[string]int {
	s.T.Helper()
	counts := map[string]int{}
	for _, o := range s.WaitOutcomes(n) {
		counts[o.Subject]++
	}
	return counts
}

// WantOutcomes waits for as many outcomes as there are subjects. It fails the test if a subject does not have exactly
// one.
func (s *Stage) WantOutcomes(subjects ...string) []Outcome {
	s.T.Helper()
	all := s.WaitOutcomes(len(subjects))
	counts := map[string]int{}
	for _, o := range all {
		counts[o.Subject]++
	}
	for _, subject := range subjects {
		if counts[subject] != 1 {
			s.T.Errorf("%s has %d outcomes, want 1", subject, counts[subject])
		}
	}
	if len(all) != len(subjects) {
		s.T.Errorf("%d outcomes, want %d: %v", len(all), len(subjects), counts)
	}
	return all
}

// Until returns when done is true. It fails the test if that takes too long.
func (s *Stage) Until(what string, done func() bool) {
	s.T.Helper()
	if !s.eventually(done) {
		s.T.Fatalf("timeout while waiting for %s%s", what, s.stored())
	}
}

// eventually reports whether done becomes true before the stage's context ends.
func (s *Stage) eventually(done func() bool) bool {
	every := 20 * time.Millisecond
	if s.Fake != nil { // each tick takes processor time, and no other time
		every = 50 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-s.Ctx.Done():
			return false
		}
	}
	return true
}

// stored lists what the streams hold in which interactions wait, for a test that has failed.
func (s *Stage) stored() string {
	if s.Mode == "" {
		return ""
	}
	var b strings.Builder
	for _, name := range s.Mode.Streams(ns) {
		subjects, err := s.Broker.Subjects(s.T.Context(), name, ">")
		fmt.Fprintf(&b, "\n%s: %v", name, subjects)
		if err != nil {
			fmt.Fprintf(&b, " %v", err)
		}
	}
	return b.String()
}
