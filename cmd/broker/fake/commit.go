package fake

import (
	"context"
	"time"

	"statusworker/schema/broker"
)

// The leader of a replicated stream checks the condition of a publish against what it has stored, and then proposes the
// message (checkMsgHeadersPreClusteredProposal). Until the message is stored, it rejects other conditions with the same
// filter (expectedPerSubjectInProcess) and other publishes with the same ID. It compares filters as text: a publish
// with another filter is accepted, even if both filters match the message that is not stored yet. What is accepted is
// stored in this order.

// commit is publishes that were accepted together, and are not stored yet.
type commit struct {
	all   []broker.Publication
	at    time.Time
	store func()
}

// accepted stores publishes that the stream has accepted: after the time that the current fault says, and after those
// that were accepted before.
func (s *stream) accepted(all []broker.Publication, store func()) {
	if s.b.commit == 0 && len(s.commits) == 0 {
		store()
		return
	}
	c := &commit{all: all, at: s.b.stamp.Add(s.b.commit), store: store}
	if n := len(s.commits); n > 0 {
		c.at = later(c.at, s.commits[n-1].at)
	}
	s.commits = append(s.commits, c)
	s.b.at(c.at, func() {
		if len(s.commits) > 0 && s.commits[0] == c { // a new leader may have stored it
			s.commitFirst()
		}
	})
}

// commitFirst stores what was accepted first.
func (s *stream) commitFirst() {
	c := s.commits[0]
	s.commits = s.commits[1:]
	c.store()
}

// inProgress returns an error if a publish is in progress that excludes p.
func (s *stream) inProgress(p broker.Publication) error {
	for _, c := range s.commits {
		for _, other := range c.all {
			switch {
			case p.ID != "" && other.ID == p.ID:
				return broker.ErrDuplicate
			case p.If.Subjects != "" && other.If.Subjects == p.If.Subjects:
				return broker.ErrRejected
			}
		}
	}
	return nil
}

// PublishThen publishes messages, several in a batch. It passes the result to then with the lock held: before it
// returns, unless [Fault].Commit applies, but also after ctx has ended.
func (b *Broker) PublishThen(ctx context.Context, all []broker.Publication, then func(broker.Ack, error)) error {
	_, err := b.publish(ctx, all, then)
	return err
}
