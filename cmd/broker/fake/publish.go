package fake

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"

	"statusworker/schema/broker"
)

// maxPayload is the default of max_payload.
const maxPayload = 1 << 20

// result receives the result of a publish.
type result func(broker.Ack, error)

// publish checks and stores a message of a client.
func (s *stream) publish(p broker.Publication, answer result) {
	m, err := newMessage(p)
	if err != nil {
		answer(broker.Ack{}, err)
		return
	}
	before, duplicate := s.known(p.ID)
	switch {
	case duplicate && s.b.o.Replicated:
		answer(broker.Ack{Sequence: before, Duplicate: true}, nil)
		return
	case !s.meets(p.If):
		err = broker.ErrRejected
	default:
		err = s.checkSchedule(p)
	}
	if busy := s.inProgress(p); busy != nil {
		err = busy
	}
	if err != nil || duplicate {
		answer(broker.Ack{Sequence: before, Duplicate: duplicate}, err)
		return
	}
	s.accepted([]broker.Publication{p}, func() { answer(s.keepPublished(p, m)) })
}

// keepPublished stores a message that was accepted.
func (s *stream) keepPublished(p broker.Publication, m *message) (broker.Ack, error) {
	if err := s.put(p.ID, m); err != nil {
		return broker.Ack{}, err
	}
	if p.Schedule.Target != "" {
		s.purge(p.Subject, m.Sequence-1) // a schedule replaces earlier messages
		sc := &schedule{message: m}
		s.schedules[p.Subject] = sc
		s.arm(sc)
	}
	s.serve()
	return broker.Ack{Sequence: m.Sequence}, nil
}

// publishAll checks the messages of a batch, and stores all of them or none.
func (s *stream) publishAll(all []broker.Publication, answer result) {
	messages, err := s.checkAll(all)
	if err != nil {
		answer(broker.Ack{}, err)
		return
	}
	s.accepted(all, func() {
		for i, m := range messages {
			if err := s.put(all[i].ID, m); err != nil {
				answer(broker.Ack{}, err) // only if the storage is full since it was accepted
				return
			}
		}
		s.serve()
		answer(broker.Ack{Sequence: s.last}, nil)
	})
}

// checkAll returns the messages of a batch, or an error if the stream rejects it.
func (s *stream) checkAll(all []broker.Publication) ([]*message, error) {
	switch {
	case !s.AtomicBatches:
		return nil, broker.ErrUnsupported
	case s.DiscardNew:
		return nil, errors.New("batches on a stream that discards new messages are not implemented")
	case s.b.full:
		return nil, broker.ErrFull
	}
	messages, ids := make([]*message, len(all)), map[string]bool{}
	for i, p := range all {
		if p.Schedule.Target != "" || i > 0 && p.If.Subjects != "" || !matchesAny(s.Subjects, p.Subject) {
			return nil, fmt.Errorf("message %d of a batch has a schedule, a condition that is not the first, "+
				"or a subject of another stream", i+1)
		}
		var err error
		if messages[i], err = newMessage(p); err != nil {
			return nil, err
		}
		// Duplicates are checked before the condition, also on a stream without replicas.
		if _, duplicate := s.known(p.ID); duplicate || ids[p.ID] {
			return nil, broker.ErrDuplicate
		}
		ids[p.ID] = p.ID != ""
		if err := s.inProgress(p); err != nil {
			return nil, err
		}
		if !s.meets(p.If) {
			return nil, broker.ErrRejected
		}
	}
	return messages, nil
}

// newMessage returns the message of a publication, or an error if the broker rejects it on every stream.
func newMessage(p broker.Publication) (*message, error) {
	if name := reserved(p.Header); name != "" {
		return nil, fmt.Errorf("header %s is reserved for the broker: use the fields of Publication", name)
	}
	m := &message{Message: broker.Message{
		Subject: p.Subject, Header: maps.Clone(p.WireHeader()), Data: bytes.Clone(p.Data),
	}}
	if m.size() > maxPayload {
		return nil, broker.ErrTooLarge
	}
	return m, nil
}

// put stores a message of a client, which ends a schedule on its subject.
func (s *stream) put(id string, m *message) error {
	if err := s.store(m); err != nil {
		return err
	}
	if id != "" {
		s.ids[id] = published{m.Sequence, m.Time}
	}
	delete(s.schedules, m.Subject)
	return nil
}

// meets reports whether a condition is true.
func (s *stream) meets(c broker.Condition) bool {
	if c.Subjects == "" {
		return true
	}
	if m := s.lastOn(c.Subjects); m != nil {
		return m.Sequence == c.Last
	}
	return c.Last == 0
}

// reserved returns a header that only the broker, or a field of a publication, may set.
func reserved(h broker.Header) string {
	for name := range h {
		if strings.HasPrefix(name, "Nats-") {
			return name
		}
	}
	return ""
}

func (s *stream) checkSchedule(p broker.Publication) error {
	switch target := p.Schedule.Target; {
	case target == "":
		return nil
	case !s.Schedules:
		return errors.New("message schedules is disabled")
	case target == p.Subject || !matchesAny(s.Subjects, target):
		return errors.New("message schedules target is invalid")
	}
	return nil
}

// known returns the sequence of an earlier message with an ID that is within the duplicate window.
func (s *stream) known(id string) (sequence uint64, ok bool) {
	r, ok := s.ids[id]
	if id == "" || !ok || s.b.stamp.Sub(r.at) >= s.Duplicates {
		return 0, false
	}
	return r.sequence, true
}
