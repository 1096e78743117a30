package interaction

import (
	"context"
	"encoding/json"
	"fmt"

	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// event is what is read from the data of an outcome.
type event struct {
	Type    schema.Type           `json:"type"`
	Detail  string                `json:"detail"`
	Polls   uint64                `json:"polls"`
	History []schema.StatusChange `json:"history"`
}

// readEvent reads an outcome. It is empty if the message is not an event: any program with the permission may have
// published it.
func readEvent(message []byte) event {
	var e struct {
		Data event `json:"data"`
	}
	if json.Unmarshal(message, &e) != nil {
		return event{}
	}
	history := e.Data.History
	e.Data.Type, e.Data.History = plain(e.Data.Type), nil
	for n, c := range history {
		if n < schema.MaxHistory && c.Status.Check() == nil {
			e.Data.History = append(e.Data.History, c)
		}
	}
	return e.Data
}

// outcome describes a stored outcome.
func outcome(p lifecycle.Place, o lifecycle.Outcome, message []byte) Outcome {
	e := readEvent(message)
	out := Outcome{
		Subject: plain(o.Subject), Sequence: o.Sequence, Stored: o.Stored.UTC(), Destination: plain(o.Destination),
		Reason: plain(o.Reason), DeclaredAt: timeOf(o.Generation), Current: p.Ends(o), Polls: e.Polls,
	}
	if o.Reason != "" {
		out.Detail, out.Advice = plain(e.Detail), o.Reason.Advice()
	}
	return out
}

// plain replaces what is not printable in a text that any program may have published.
func plain[S ~string](text S) S { return S(schema.Printable(string(text))) }

// alive reads the workers that are alive.
func (f *Finder) alive(ctx context.Context) (*Workers, error) {
	all, err := f.workers(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the workers: %w", err)
	}
	w := &Workers{Alive: len(all)}
	for _, a := range all {
		if a.State != schema.Paused {
			continue
		}
		w.Paused++
		if a.Until != nil && (w.Until == nil || a.Until.Before(*w.Until)) {
			w.Cause, w.Until = a.Cause, a.Until
		}
	}
	if w.Paused < w.Alive {
		w.Cause, w.Until = "", nil
	}
	if len(all) == 1 {
		w.Worker = all[0].Host
	}
	return w, nil
}
