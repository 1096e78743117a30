package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema/lifecycle"
)

// watch reads the outcomes stream until ctx ends, also after an outage of the broker, or when the stream was restored.
func (o *oracle) watch(ctx context.Context, js jetstream.JetStream) {
	for ctx.Err() == nil {
		err := o.watchOnce(ctx, js)
		o.mu.Lock()
		o.unread = err
		o.mu.Unlock()
		wait(ctx, 250*time.Millisecond)
	}
}

func (o *oracle) watchOnce(ctx context.Context, js jetstream.JetStream) error {
	o.mu.Lock()
	from := o.last + 1
	o.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := js.OrderedConsumer(bounded, ns.StreamOutcomes(), jetstream.OrderedConsumerConfig{
		// A new name, because the consumer of an earlier call may still exist.
		NamePrefix: "oracle-" + nuid.Next(), InactiveThreshold: 30 * time.Second, MaxResetAttempts: 1,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
	})
	if err != nil {
		return err
	}
	messages, err := c.Messages(jetstream.PullExpiry(2*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		_, id, _ := ns.SplitSubject(m.Subject())
		o.stored(id, lifecycle.ReadOutcome(ns, m.Subject(), meta.Sequence.Stream, meta.Timestamp, m.Data()))
	}
}

// caughtUp waits until all outcomes that are stored now have been read.
func (o *oracle) caughtUp(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the outcomes were not read within a minute"))
	defer cancel()
	var last uint64
	err := harness.Eventually(ctx, "the last outcome", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, ns.StreamOutcomes())
		if err != nil {
			return err
		}
		// The last message, and not the last sequence: a replay deletes dead letters.
		m, err := stream.GetLastMsgForSubject(ctx, ">")
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err == nil {
			last = m.Sequence
		}
		return err
	})
	for err == nil {
		o.mu.Lock()
		read, changed := o.last, o.changed
		o.mu.Unlock()
		if read >= last {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			o.mu.Lock()
			err = fmt.Errorf("reading outcomes up to %d, now at %d: %w (%w)", last, read, context.Cause(ctx), o.unread)
			o.mu.Unlock()
		}
	}
	return err
}

// places are the streams in which messages of an interaction are stored.
type places struct{ declared, hold, due bool }

func (p places) String() string {
	var all []string
	for _, place := range []struct {
		name   string
		stored bool
	}{{"declared message", p.declared}, {"reservation", p.hold}, {"due message", p.due}} {
		if place.stored {
			all = append(all, place.name)
		}
	}
	return strings.Join(all, ", ")
}

// listed returns what is stored for interactions that wait, in the order in which an interaction moves, so that none is
// missed.
func listed(ctx context.Context, js jetstream.JetStream) (map[string]places, error) {
	all := map[string]places{}
	for _, name := range []string{ns.StreamDeclared(), ns.StreamPolls()} {
		err := harness.Eventually(ctx, "the subjects of "+name, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			stream, err := js.Stream(ctx, name)
			if errors.Is(err, jetstream.ErrStreamNotFound) && name == ns.StreamPolls() {
				return nil // with delayed naks there is none
			}
			if err != nil {
				return err
			}
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
			if err != nil {
				return err
			}
			for subject := range info.State.Subjects {
				_, id, _ := ns.SplitSubject(subject)
				p := all[id]
				p.declared = p.declared || name == ns.StreamDeclared()
				p.due = p.due || ns.IsPollSubject(subject)
				p.hold = p.hold || name == ns.StreamPolls() && !ns.IsPollSubject(subject)
				all[id] = p
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// present checks I4: every interaction that waits is stored. It returns what is stored.
func (o *oracle) present(ctx context.Context, js jetstream.JetStream) (map[string]places, error) {
	missing, all, err := o.missing(ctx, js)
	if err != nil || len(missing) == 0 {
		return all, err
	}
	// A leader that has just been replaced may answer once.
	wait(ctx, time.Second)
	again, _, err := o.missing(ctx, js)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range missing {
		if slices.Contains(again, id) && o.interactions[id].waits() {
			o.interactions[id].lost = true
			o.violated("I4", id, "it has no outcome, and nothing is stored from which it would be polled")
		}
	}
	return all, nil
}

// missing returns the interactions that wait, but are not stored.
func (o *oracle) missing(ctx context.Context, js jetstream.JetStream) ([]string, map[string]places, error) {
	var waiting []string
	o.mu.Lock()
	for id, l := range o.interactions {
		if l.waits() && l.replaying == 0 && !l.lost {
			waiting = append(waiting, id)
		}
	}
	o.mu.Unlock()
	all, err := listed(ctx, js)
	if err == nil {
		err = o.caughtUp(ctx, js)
	}
	if err != nil {
		return nil, nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(waiting, func(id string) bool {
		_, stored := all[id]
		return stored || !o.interactions[id].waits() || o.interactions[id].replaying > 0
	}), all, nil
}

const (
	// promptly is how long after its time something that is due is polled: docs/reliability.md, I5.
	promptly = 5*time.Second + 700*time.Millisecond
	// Messages that were delivered to a worker that died are delivered again after the AckWait of their consumer.
	intakeWait, laneWait = 15 * time.Second, 10 * time.Second
)

// promised is how long after faults an interaction is polled at the latest.
func (o *oracle) promised(l *interaction, p places) time.Duration {
	at := o.run.settings
	interval := at.intervals.Of(l.plan.typ)
	wait := interval
	switch {
	case p.declared && at.mode == consumer.Nak:
		wait = max(intakeWait, 2*interval+at.timeout+5*time.Second)
	case p.declared: // it may wait for a tombstone
		wait = intakeWait + 2*interval
	case p.due:
		wait = max(laneWait, interval)
	}
	return wait + promptly
}

// calm checks I4, and I5 of everything that waits. No fault is active. Polls may be delayed by a pause of the workers
// because the vendor has failed. If the broker could not store messages, reservations may be stuck, which workers find
// after minutes: then I5 of reservations is not checked here, but at the end.
func (o *oracle) calm(ctx context.Context, js jetstream.JetStream, pause time.Duration, filled bool) error {
	began := time.Now()
	all, err := o.present(ctx, js)
	if err != nil {
		return err
	}
	pending := map[string]time.Time{}
	o.mu.Lock()
	for id, p := range all {
		l := o.interactions[id]
		if l != nil && l.waits() && (!filled || !p.hold) {
			pending[id] = began.Add(o.promised(l, p) + pause)
		}
	}
	o.mu.Unlock()
	for len(pending) > 0 {
		if !wait(ctx, 100*time.Millisecond) {
			return context.Cause(ctx)
		}
		o.mu.Lock()
		now := time.Now()
		maps.DeleteFunc(pending, func(id string, promised time.Time) bool {
			l := o.interactions[id]
			if at := l.next(began); !at.IsZero() && at.Before(promised) {
				o.stuck = max(o.stuck, at.Sub(began))
				return true
			}
			if l.waits() && now.After(promised) {
				o.violated("I5", id, "not polled %s after the faults ended (%s; a pause of %s was allowed)",
					now.Sub(began), all[id], pause)
				return true
			}
			return !l.waits()
		})
		o.mu.Unlock()
	}
	return nil
}

// next returns when the interaction was first polled, or its outcome read, after a time; zero if it was not.
func (l *interaction) next(after time.Time) time.Time {
	for _, p := range l.polls {
		if p.at.After(after) {
			return p.at
		}
	}
	for _, s := range l.outcomes {
		if s.read.After(after) {
			return s.read
		}
	}
	return time.Time{}
}
