package demo

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// landing is a message of the outcome stream.
type landing struct {
	names      schema.Namespace
	subject    string
	identifier string
	reason     schema.Reason
	detail     string
}

// kind returns the destination or reason in the subject.
func (l landing) kind() string {
	kind, _, _ := l.names.SplitSubject(l.subject)
	return kind
}

// state is the progress of a part.
type state struct {
	part
	declared bool
	polls    int
	// answer is the vendor's last answer: a status, or a fault.
	answer string
	faulty bool
	kinds  []string
	ended  time.Time // when its last outcome was stored
}

// watcher records the polls at the vendor and the messages of the outcome stream.
type watcher struct {
	names schema.Namespace
	now   func() time.Time
	began time.Time
	// complete is closed when every expected outcome is stored.
	complete chan struct{}

	mu       sync.Mutex
	states   []state
	of       map[string]int
	open     map[string]bool // subjects of outcomes that are still expected
	expected int
	polls    int
	all      []landing
	changed  chan struct{}
}

func newWatcher(n schema.Namespace, cast []part, now func() time.Time) *watcher {
	w := &watcher{
		names: n, now: now, began: now(), complete: make(chan struct{}), changed: make(chan struct{}),
		of: map[string]int{}, open: map[string]bool{},
	}
	for i, one := range cast {
		w.states = append(w.states, state{part: one})
		w.of[one.identifier] = i
		for _, subject := range one.want {
			w.open[subject] = true
		}
	}
	w.expected = len(w.open)
	return w
}

func (w *watcher) elapsed() time.Duration { return w.now().Sub(w.began) }

func (w *watcher) declared(identifier string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states[w.of[identifier]].declared = true
}

// polled is the vendor's hook.
func (w *watcher) polled(p simulator.Poll) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls++
	i, ok := w.of[p.Identifier]
	if !ok {
		return
	}
	s := &w.states[i]
	s.polls++
	s.answer, s.faulty = string(p.Status), p.Status == ""
	switch {
	case !s.faulty:
	case p.StatusCode == http.StatusOK || p.StatusCode == 0:
		s.answer = p.Fault
	default:
		s.answer = strconv.Itoa(p.StatusCode) + " " + strings.ToLower(http.StatusText(p.StatusCode))
	}
}

// landed is the handler of the outcome stream.
func (w *watcher) landed(m jetstream.Msg) {
	var event struct {
		Data struct {
			Identifier string        `json:"interactionIdentifier"`
			Reason     schema.Reason `json:"reason"`
			Detail     string        `json:"detail"`
		} `json:"data"`
	}
	l := landing{names: w.names, subject: m.Subject()}
	if err := json.Unmarshal(m.Data(), &event); err != nil {
		l.detail = "not an event: " + err.Error()
	} else {
		l.identifier, l.reason, l.detail = event.Data.Identifier, event.Data.Reason, event.Data.Detail
	}
	w.land(l)
}

func (w *watcher) land(l landing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, l)
	if i, ok := w.of[l.identifier]; ok {
		s := &w.states[i]
		s.kinds = append(s.kinds, l.kind())
		if len(s.kinds) >= len(s.want) {
			s.ended = w.now()
		}
	}
	if w.open[l.subject] {
		delete(w.open, l.subject)
		if len(w.open) == 0 {
			close(w.complete)
		}
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// landings returns all messages of the outcome stream.
func (w *watcher) landings() []landing {
	all, _ := w.since(0)
	return all
}

// since returns the messages after the first n, and a channel that is closed at the next message.
func (w *watcher) since(n int) ([]landing, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]landing(nil), w.all[n:]...), w.changed
}

// view is a snapshot of a watcher.
type view struct {
	elapsed          time.Duration
	now              time.Time
	states           []state
	expected, landed int
	polls, declared  int
}

func (w *watcher) view() view {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := view{
		elapsed: w.now().Sub(w.began), now: w.now(), states: append([]state(nil), w.states...),
		expected: w.expected, landed: w.expected - len(w.open), polls: w.polls,
	}
	for _, s := range v.states {
		if s.declared {
			v.declared++
		}
	}
	return v
}
