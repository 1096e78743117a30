package consumer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/fake"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// A problem that only an operator can solve is logged once, with what to do. A worker tries again unless its user must
// not publish: the server logs each attempt.
func TestAnchorProblems(t *testing.T) {
	const many = 1000
	for name, c := range map[string]struct {
		subjects []string
		err      error
		tried    int
		warnings int
		advice   bool
	}{
		"stored":      {[]string{schema.SubjectAnchor}, nil, 0, 0, false},
		"no subject":  {[]string{schema.SubjectsHold}, nil, 0, 1, true},
		"denied":      {[]string{schema.SubjectAnchor}, broker.ErrDenied, 1, 1, true},
		"full":        {[]string{schema.SubjectAnchor}, broker.ErrFull, 5, 1, false},
		"by a worker": {[]string{schema.SubjectAnchor}, broker.ErrRefused, 5, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				set := Topology(Config{}, Choices{Mode: Schedule})
				set.Streams[1].Subjects = c.subjects
				b := fake.New(fake.Options{}, adapter.Described(set)...)
				defer b.Close()
				b.Inject(fake.Fault{Op: fake.Publish, Object: schema.SubjectAnchor, Err: c.err, Times: many})
				if c.err == nil {
					b.Uninject()
				}
				log, hook := captureLog()
				w := &Worker{broker: b, log: log}
				w.warnings.now = time.Now
				a := anchor{w: w}
				for range 5 {
					a.keep(t.Context())
				}
				if left := b.Uninject(); c.err != nil && many-left != c.tried {
					t.Errorf("tried %d times, want %d", many-left, c.tried)
				}
				warnings := 0
				for _, e := range hook.AllEntries() {
					if e.Level != logrus.WarnLevel {
						continue
					}
					warnings++
					if _, advice := e.Data["advice"]; advice != c.advice {
						t.Errorf("warning %+v, want advice %t", e.Data, c.advice)
					}
				}
				if warnings != c.warnings {
					t.Errorf("%d warnings, want %d: %v", warnings, c.warnings, hook.AllEntries())
				}
			})
		})
	}
}
