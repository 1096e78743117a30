package topology

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

// rule compares one property of a configuration. Fields that no rule names are the operator's: they break no promise,
// whatever they are (the test of the fields says of each why).
type rule[C any] struct {
	name   string   // as it is shown
	fields []string // of C, that make it up
	show   func(C) string
	// fits tells whether what is there will do; without it, what is shown must be the same.
	fits func(have, want C) bool
	// choice tells whether a worker runs on what is there, though it does not fit; without it, none does.
	choice func(have, want C) bool
	// risk says that such a choice weakens a promise: after a fault of the broker, or in a large fleet.
	risk bool
}

func always[C any](_, _ C) bool { return true }

var streamRules = []rule[jetstream.StreamConfig]{
	{name: "subjects", fields: []string{"Subjects"}, show: func(c jetstream.StreamConfig) string { return show(c.Subjects) }},
	{name: "retention", fields: []string{"Retention"}, show: func(c jetstream.StreamConfig) string { return show(c.Retention) }},
	{name: "discard", fields: []string{"Discard"}, show: func(c jetstream.StreamConfig) string { return show(c.Discard) }},
	{name: "discard new per subject", fields: []string{"DiscardNewPerSubject"}, show: func(c jetstream.StreamConfig) string { return show(c.DiscardNewPerSubject) }},
	{name: "max messages per subject", fields: []string{"MaxMsgsPerSubject"}, show: func(c jetstream.StreamConfig) string { return limit(c.MaxMsgsPerSubject) }},
	{name: "message schedules", fields: []string{"AllowMsgSchedules"}, show: func(c jetstream.StreamConfig) string { return show(c.AllowMsgSchedules) }},
	// A message that asks for an end of its own is acknowledged, and has no outcome. In the bucket that is what it is for.
	{name: "message TTLs", fields: []string{"AllowMsgTTL"}, show: func(c jetstream.StreamConfig) string { return show(c.AllowMsgTTL) },
		fits: func(have, want jetstream.StreamConfig) bool {
			return have.AllowMsgTTL == want.AllowMsgTTL || isBucket(want)
		},
		choice: func(_, want jetstream.StreamConfig) bool { return !takesForeign(want) }, risk: true},
	// A marker is a message: it would be taken in, poll nothing, or keep a worker that died alive.
	{name: "delete marker TTL", fields: []string{"SubjectDeleteMarkerTTL"}, show: func(c jetstream.StreamConfig) string { return show(c.SubjectDeleteMarkerTTL) }},
	// Whoever may publish may empty the stream with it, and store a second message on a subject. The broker switches it on
	// with schedules.
	{name: "roll-ups", fields: []string{"AllowRollup"}, show: func(c jetstream.StreamConfig) string { return show(c.AllowRollup) },
		fits:   func(have, _ jetstream.StreamConfig) bool { return have.AllowMsgSchedules },
		choice: func(_, want jetstream.StreamConfig) bool { return !takesForeign(want) }, risk: true},
	{name: "message counters", fields: []string{"AllowMsgCounter"}, show: func(c jetstream.StreamConfig) string { return show(c.AllowMsgCounter) }},
	{name: "duplicate window", fields: []string{"Duplicates"}, show: func(c jetstream.StreamConfig) string { return show(window(c)) },
		fits: windowFits, choice: func(_, want jetstream.StreamConfig) bool { return want.Retention != jetstream.WorkQueuePolicy }, risk: true},
	{name: "direct gets", fields: []string{"AllowDirect"}, show: func(c jetstream.StreamConfig) string { return show(c.AllowDirect) }},
	{name: "no ack", fields: []string{"NoAck"}, show: func(c jetstream.StreamConfig) string { return show(c.NoAck) }},
	{name: "sealed", fields: []string{"Sealed"}, show: func(c jetstream.StreamConfig) string { return show(c.Sealed) }},
	{name: "mirror or sources", fields: []string{"Mirror", "Sources"}, show: func(c jetstream.StreamConfig) string { return show(c.Mirror != nil || len(c.Sources) > 0) }},
	{name: "subject transform", fields: []string{"SubjectTransform"}, show: func(c jetstream.StreamConfig) string { return show(c.SubjectTransform != nil) }},
	{name: "republish to", fields: []string{"RePublish"}, show: func(c jetstream.StreamConfig) string { return republished(c) }},
	// It acknowledges what is not written yet.
	{name: "persist mode", fields: []string{"PersistMode"}, show: func(c jetstream.StreamConfig) string { return show(c.PersistMode) }},
	// Where messages wait for their outcome, an age would lose them. That of a key-value bucket is how long its values hold.
	{name: "max age", fields: []string{"MaxAge"}, show: func(c jetstream.StreamConfig) string { return age(c.MaxAge) },
		choice: func(_, want jetstream.StreamConfig) bool { return want.MaxAge > 0 && !isBucket(want) }},
	{name: "max messages", fields: []string{"MaxMsgs"}, show: func(c jetstream.StreamConfig) string { return limit(c.MaxMsgs) }, choice: mayBeBounded},
	{name: "max bytes", fields: []string{"MaxBytes"}, show: func(c jetstream.StreamConfig) string { return limit(c.MaxBytes) }, choice: mayBeBounded},
	// What is declared may be bounded: its producer is told. What the stage stores itself must fit.
	{name: "max message size", fields: []string{"MaxMsgSize"}, show: func(c jetstream.StreamConfig) string { return limit(int64(c.MaxMsgSize)) },
		choice: func(have, want jetstream.StreamConfig) bool {
			largest := int32(schema.MaxMessageBytes)
			if isBucket(want) {
				largest = schema.MaxAnnouncementBytes
			}
			return takesForeign(want) || have.MaxMsgSize >= largest
		}},
	{name: "storage", fields: []string{"Storage"}, show: func(c jetstream.StreamConfig) string { return show(c.Storage) }, choice: always[jetstream.StreamConfig], risk: true},
	{name: "replicas", fields: []string{"Replicas"}, show: func(c jetstream.StreamConfig) string { return show(max(c.Replicas, 1)) }, choice: always[jetstream.StreamConfig]},
}

var consumerRules = []rule[jetstream.ConsumerConfig]{
	{name: "filter", fields: []string{"FilterSubject", "FilterSubjects"}, show: func(c jetstream.ConsumerConfig) string { return show(filters(c)) }},
	{name: "deliver policy", fields: []string{"DeliverPolicy", "OptStartSeq", "OptStartTime"}, show: func(c jetstream.ConsumerConfig) string { return deliverPolicy(c) }},
	{name: "ack policy", fields: []string{"AckPolicy"}, show: func(c jetstream.ConsumerConfig) string { return show(c.AckPolicy) }},
	{name: "replay policy", fields: []string{"ReplayPolicy"}, show: func(c jetstream.ConsumerConfig) string { return show(c.ReplayPolicy) }},
	{name: "max deliver", fields: []string{"MaxDeliver"}, show: func(c jetstream.ConsumerConfig) string { return limit(int64(c.MaxDeliver)) }},
	{name: "back-off", fields: []string{"BackOff"}, show: func(c jetstream.ConsumerConfig) string { return show(c.BackOff) }},
	{name: "max ack pending", fields: []string{"MaxAckPending"}, show: func(c jetstream.ConsumerConfig) string { return limit(int64(c.MaxAckPending)) },
		choice: func(_, want jetstream.ConsumerConfig) bool { return want.MaxAckPending > 0 }},
	// A worker waits with one request a lane; the broker refuses those beyond.
	{name: "max waiting", fields: []string{"MaxWaiting"}, show: func(c jetstream.ConsumerConfig) string { return show(cmp.Or(max(c.MaxWaiting, 0), defaultMaxWaiting)) },
		fits:   func(have, _ jetstream.ConsumerConfig) bool { return have.MaxWaiting >= defaultMaxWaiting },
		choice: always[jetstream.ConsumerConfig], risk: true},
	{name: "headers only", fields: []string{"HeadersOnly"}, show: func(c jetstream.ConsumerConfig) string { return show(c.HeadersOnly) }},
	{name: "deliver subject", fields: []string{"DeliverSubject"}, show: func(c jetstream.ConsumerConfig) string { return show(c.DeliverSubject) }},
	{name: "priority policy", fields: []string{"PriorityPolicy", "PriorityGroups"}, show: func(c jetstream.ConsumerConfig) string { return show(c.PriorityPolicy) + show(c.PriorityGroups) }},
	{name: "max request batch", fields: []string{"MaxRequestBatch"}, show: func(c jetstream.ConsumerConfig) string { return limit(int64(c.MaxRequestBatch)) }},
	{name: "max request expires", fields: []string{"MaxRequestExpires"}, show: func(c jetstream.ConsumerConfig) string { return age(c.MaxRequestExpires) }},
	{name: "inactive threshold", fields: []string{"InactiveThreshold"}, show: func(c jetstream.ConsumerConfig) string { return age(c.InactiveThreshold) }},
	// A single server forgets such a consumer when it starts again.
	{name: "memory storage", fields: []string{"MemoryStorage"}, show: func(c jetstream.ConsumerConfig) string { return show(c.MemoryStorage) }, choice: always[jetstream.ConsumerConfig], risk: true},
	// Too short an ack wait delivers what is still being polled; a longer one only slows recovery.
	{name: "ack wait", fields: []string{"AckWait"}, show: func(c jetstream.ConsumerConfig) string { return show(c.AckWait) },
		// The broker derives it from a back-off: saying so twice would not help.
		fits: func(have, want jetstream.ConsumerConfig) bool {
			return have.AckWait == want.AckWait || len(have.BackOff) > 0
		},
		choice: func(have, want jetstream.ConsumerConfig) bool { return have.AckWait >= want.AckWait }},
}

// takesForeign tells of the stream that others than the stage publish to.
func takesForeign(c jetstream.StreamConfig) bool { return c.DiscardNewPerSubject }

func isBucket(c jetstream.StreamConfig) bool { return strings.HasPrefix(c.Name, "KV_") }

func mayBeBounded(_, want jetstream.StreamConfig) bool {
	return want.Discard == jetstream.DiscardNew || want.Retention == jetstream.LimitsPolicy
}

const (
	// MinDuplicates is the shortest window in which the broker takes two messages with one Nats-Msg-Id for the same. It
	// has none that is shorter, and none at all is the default.
	MinDuplicates = 100 * time.Millisecond
	// defaultDuplicates and defaultMaxWaiting are the broker's.
	defaultDuplicates = 2 * time.Minute
	defaultMaxWaiting = 512
)

func window(c jetstream.StreamConfig) time.Duration {
	if c.Duplicates == 0 {
		return defaultDuplicates
	}
	return c.Duplicates
}

// windowFits judges a duplicate window. In a work queue that has one it may be no longer: it swallows what is declared
// again after its outcome. Elsewhere it may be no shorter: it is a second guard against a second copy.
func windowFits(have, want jetstream.StreamConfig) bool {
	switch {
	case want.Retention != jetstream.WorkQueuePolicy:
		longest := window(want)
		if have.MaxAge > 0 { // the broker takes no longer one
			longest = min(longest, have.MaxAge)
		}
		return window(have) >= longest
	case want.Duplicates == 0:
		return true
	}
	return window(have) <= want.Duplicates
}

// republished is where a stream publishes its messages again, if that may be a subject of this stage.
func republished(c jetstream.StreamConfig) string {
	if c.RePublish == nil {
		return "nowhere"
	}
	first, _, _ := strings.Cut(c.RePublish.Destination, ".")
	for _, ours := range []string{schema.SubjectsDeclared, schema.SubjectsWorkers} {
		if root, _, _ := strings.Cut(ours, "."); first == root || strings.ContainsAny(first, "*>{$") {
			return c.RePublish.Destination
		}
	}
	return "nowhere"
}

func deliverPolicy(c jetstream.ConsumerConfig) string {
	switch {
	case c.OptStartSeq > 0:
		return fmt.Sprintf("%s %d", show(c.DeliverPolicy), c.OptStartSeq)
	case c.OptStartTime != nil:
		return show(c.DeliverPolicy) + " " + c.OptStartTime.UTC().Format(time.RFC3339)
	}
	return show(c.DeliverPolicy)
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

func show[T any](v T) string {
	switch v := any(v).(type) {
	case []string:
		return strings.Join(v, " ")
	case time.Duration:
		return schema.Duration(v)
	case []time.Duration:
		if len(v) == 0 {
			return "none"
		}
	}
	return fmt.Sprint(v)
}

func limit(n int64) string {
	if n <= 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func age(d time.Duration) string {
	if d <= 0 {
		return "unlimited"
	}
	return schema.Duration(d)
}

func (r rule[C]) satisfied(have, want C) bool {
	return r.show(have) == r.show(want) || r.fits != nil && r.fits(have, want)
}

// differences applies all rules.
func differences[C any](object string, rules []rule[C], have, want C) []Difference {
	var ds []Difference
	for _, r := range rules {
		if !r.satisfied(have, want) {
			choice := r.choice != nil && r.choice(have, want)
			ds = append(ds, Difference{Object: object, Field: r.name, Have: r.show(have), Want: r.show(want), Choice: choice, Risk: choice && r.risk})
		}
	}
	return ds
}

// over lays what does not fit over what there is: the rest is the operator's.
func over[C any](rules []rule[C], have, want C) C {
	to, from := reflect.ValueOf(&have).Elem(), reflect.ValueOf(want)
	for _, r := range rules {
		if r.satisfied(have, want) {
			continue
		}
		for _, f := range r.fields {
			to.FieldByName(f).Set(from.FieldByName(f))
		}
	}
	return have
}
