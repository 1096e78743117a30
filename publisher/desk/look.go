package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

// standing is what became of a dead letter's interaction since.
type standing string

const (
	// clear: nothing. It may be replayed.
	clear standing = "clear"
	// superseded: it has a newer life, or was processed.
	superseded standing = "superseded"
	// gone: the dead letter is not stored any more.
	gone standing = "gone"
	// ending: something of the life that ended, or an invalid message, is still to be worked off by a worker.
	ending standing = "ending"
	// unclear: somebody else has put something there.
	unclear standing = "unclear"
)

// look looks for a newer life, in the order in which an interaction moves. The text says what was found.
func (d *Desk) look(ctx context.Context, l Letter) (standing, string, error) {
	life, invalid := l.Source.Stored, l.Reason == schema.InvalidMessage

	subject := schema.DeclaredSubjects(l.Identifier)
	if invalid {
		subject = l.Source.Subject
	}
	declared, err := d.last(ctx, d.declared, subject)
	if err != nil {
		return "", "", err
	}
	again := ""
	if declared != nil {
		_, problem := schema.DecodeFrom(declared.Subject, declared.Data)
		if !declared.Time.After(life) || problem != nil && !invalid {
			return ending, "a message on " + declared.Subject + " waits to be taken in", nil
		}
		again = "declared again at " + stamp(declared.Time)
	}

	if d.polls != nil {
		// One read for both places: an interaction goes to and fro between them.
		s, text, err := d.pending(ctx, l, schema.WaitingSubjects(l.Identifier))
		if s != clear || err != nil {
			return s, text, err
		}
	}
	if again != "" {
		return superseded, again, nil
	}
	return d.since(ctx, l)
}

// pending looks at the last reservation or due message on a subject.
func (d *Desk) pending(ctx context.Context, l Letter, subject string) (standing, string, error) {
	m, err := d.last(ctx, d.polls, subject)
	if err != nil || m == nil {
		return clear, "", err
	}
	life, err := time.Parse(time.RFC3339Nano, m.Header.Get(schema.HeaderFirstStored))
	if err != nil {
		life = m.Time // no worker reserved it: it is treated like a declared message
	}
	switch {
	case life.After(l.Source.Stored):
		return superseded, "polled since, declared at " + stamp(life), nil
	case l.Reason == schema.InvalidMessage:
		return clear, "", nil // an invalid message has no reservation: another life's
	case m.Header.Get(schema.HeaderTombstone) == "":
		return ending, "a last poll of it is still to be made", nil
	case subject != schema.PollSubjects(l.Identifier):
		// Behind a tombstone may be a stale copy of the last due message.
		return d.pending(ctx, l, schema.PollSubjects(l.Identifier))
	}
	return clear, "", nil
}

// since looks at the outcomes from the dead letter on.
func (d *Desk) since(ctx context.Context, l Letter) (standing, string, error) {
	all := schema.OutcomeSubjects(l.Identifier)
	m, err := d.last(ctx, d.outcomes, all)
	if err != nil {
		return "", "", err
	}
	if m != nil && m.Sequence == l.Sequence {
		return clear, "", nil // it is the last one
	}
	for from := l.Sequence; ; from = m.Sequence + 1 {
		m, err = d.message(ctx, d.outcomes, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return d.outcomes.GetMsg(ctx, from, jetstream.WithGetMsgSubject(all))
		})
		switch {
		case err != nil:
			return "", "", err
		case from == l.Sequence && (m == nil || m.Sequence != from):
			return gone, "", nil
		case m == nil:
			return clear, "", nil
		case m.Sequence == l.Sequence:
			continue
		}
		if s, text := after(l, m); s != clear {
			return s, text, nil
		}
	}
}

// after judges one outcome that was stored after the dead letter.
func after(l Letter, m *jetstream.RawStreamMsg) (standing, string) {
	var event struct {
		Data struct {
			DeclaredAt time.Time     `json:"declaredAt"`
			Source     schema.Origin `json:"source"`
		} `json:"data"`
	}
	err := json.Unmarshal(m.Data, &event)
	kind, _, _ := schema.SplitSubject(m.Subject)
	dead, invalid := isDeadLetter(m.Subject), schema.Reason(kind) == schema.InvalidMessage
	newer := event.Data.DeclaredAt.After(l.Source.Stored)
	found := fmt.Sprintf("%s at %s", m.Subject, stamp(m.Time))
	switch {
	case err != nil && !dead:
		return unclear, "what is stored as " + found + " is no event of this stage: look at it, and delete it if it should not be there"
	case err != nil:
		return clear, ""
	case dead && invalid && (l.Reason != schema.InvalidMessage || event.Data.Source.Subject != l.Source.Subject):
		return clear, ""
	case newer, !dead && l.Reason != schema.InvalidMessage:
		return superseded, found
	}
	return clear, ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
