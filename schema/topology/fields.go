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

type (
	streamConfig   = jetstream.StreamConfig
	consumerConfig = jetstream.ConsumerConfig
)

// rule compares one property of a configuration. Fields that no rule names are the operator's: they break no promise,
// whatever they are (the test of the fields says of each why).
type rule[C any] struct {
	name   string   // as it is shown
	fields []string // of C, that make it up
	// shown is the property as text; without it, that of the first field.
	shown func(C) string
	// fits tells whether what is there will do though it is shown otherwise; without it, nothing else will.
	fits func(have, want C) bool
	// choice tells whether a worker runs on what is there, though it does not fit; without it, none does.
	choice func(have, want C) bool
	// risk says that such a choice weakens a promise: after a fault of the broker, or in a large fleet.
	risk bool
}

func always[C any](_, _ C) bool { return true }

var streamRules = []rule[streamConfig]{
	{name: "subjects", fields: []string{"Subjects"}},
	{name: "retention", fields: []string{"Retention"}},
	{name: "discard", fields: []string{"Discard"}},
	{name: "discard new per subject", fields: []string{"DiscardNewPerSubject"}},
	{name: "max messages per subject", fields: []string{"MaxMsgsPerSubject"},
		shown: func(c streamConfig) string { return limit(c.MaxMsgsPerSubject) }},
	{name: "message schedules", fields: []string{"AllowMsgSchedules"}},
	// A message that asks for an end of its own is acknowledged, and has no outcome. In the bucket that is what it is
	// for.
	{name: "message TTLs", fields: []string{"AllowMsgTTL"},
		fits:   func(_, want streamConfig) bool { return isBucket(want) },
		choice: byTheStageAlone, risk: true},
	// A marker is a message: it would be taken in, poll nothing, or keep a worker that died alive.
	{name: "delete marker TTL", fields: []string{"SubjectDeleteMarkerTTL"}},
	// Whoever may publish may empty the stream with it, and store a second message on a subject. The broker switches it
	// on with schedules.
	{name: "roll-ups", fields: []string{"AllowRollup"},
		fits:   func(have, _ streamConfig) bool { return have.AllowMsgSchedules },
		choice: byTheStageAlone, risk: true},
	{name: "message counters", fields: []string{"AllowMsgCounter"}},
	{name: "duplicate window", fields: []string{"Duplicates"},
		shown:  func(c streamConfig) string { return text(window(c)) },
		fits:   windowFits,
		choice: func(_, want streamConfig) bool { return want.Retention != jetstream.WorkQueuePolicy }, risk: true},
	{name: "direct gets", fields: []string{"AllowDirect"}},
	{name: "no ack", fields: []string{"NoAck"}},
	{name: "sealed", fields: []string{"Sealed"}},
	{name: "mirror or sources", fields: []string{"Mirror", "Sources"},
		shown: func(c streamConfig) string { return text(c.Mirror != nil || len(c.Sources) > 0) }},
	{name: "subject transform", fields: []string{"SubjectTransform"},
		shown: func(c streamConfig) string { return text(c.SubjectTransform != nil) }},
	{name: "republish to", fields: []string{"RePublish"}, shown: republished},
	// Another one than the default acknowledges what is not written yet.
	{name: "persist mode", fields: []string{"PersistMode"}},
	// Where messages wait for their outcome, an age would lose them. That of a key-value bucket is how long its values
	// hold.
	{name: "max age", fields: []string{"MaxAge"},
		shown:  func(c streamConfig) string { return age(c.MaxAge) },
		choice: func(_, want streamConfig) bool { return want.MaxAge > 0 && !isBucket(want) }},
	{name: "max messages", fields: []string{"MaxMsgs"},
		shown: func(c streamConfig) string { return limit(c.MaxMsgs) }, choice: mayBeBounded},
	{name: "max bytes", fields: []string{"MaxBytes"},
		shown: func(c streamConfig) string { return limit(c.MaxBytes) }, choice: mayBeBounded},
	// What is declared may be bounded: its producer is told. What the stage stores itself must fit.
	{name: "max message size", fields: []string{"MaxMsgSize"},
		shown: func(c streamConfig) string { return limit(int64(c.MaxMsgSize)) },
		choice: func(have, want streamConfig) bool {
			largest := int32(schema.MaxMessageBytes)
			if isBucket(want) {
				largest = schema.MaxAnnouncementBytes
			}
			return takesForeign(want) || have.MaxMsgSize >= largest
		}},
	{name: "storage", fields: []string{"Storage"}, choice: always[streamConfig], risk: true},
	{name: "replicas", fields: []string{"Replicas"},
		shown: func(c streamConfig) string { return text(max(c.Replicas, 1)) }, choice: always[streamConfig]},
}

var consumerRules = []rule[consumerConfig]{
	{name: "filter", fields: []string{"FilterSubject", "FilterSubjects"},
		shown: func(c consumerConfig) string { return text(filters(c)) }},
	{name: "deliver policy", fields: []string{"DeliverPolicy", "OptStartSeq", "OptStartTime"}, shown: deliverPolicy},
	{name: "ack policy", fields: []string{"AckPolicy"}},
	{name: "replay policy", fields: []string{"ReplayPolicy"}},
	{
		name:   "max deliver",
		fields: []string{"MaxDeliver"},
		shown:  func(c consumerConfig) string { return limit(int64(c.MaxDeliver)) },
	},
	{name: "back-off", fields: []string{"BackOff"}},
	{name: "max ack pending", fields: []string{"MaxAckPending"},
		shown:  func(c consumerConfig) string { return limit(int64(c.MaxAckPending)) },
		choice: func(_, want consumerConfig) bool { return want.MaxAckPending > 0 }},
	// A worker waits with one request a lane; the broker refuses those beyond.
	{name: "max waiting", fields: []string{"MaxWaiting"},
		shown:  func(c consumerConfig) string { return text(cmp.Or(max(c.MaxWaiting, 0), defaultMaxWaiting)) },
		fits:   func(have, _ consumerConfig) bool { return have.MaxWaiting >= defaultMaxWaiting },
		choice: always[consumerConfig], risk: true},
	{name: "headers only", fields: []string{"HeadersOnly"}},
	{name: "deliver subject", fields: []string{"DeliverSubject"}},
	{name: "priority policy", fields: []string{"PriorityPolicy", "PriorityGroups"},
		shown: func(c consumerConfig) string { return text(c.PriorityPolicy) + text(c.PriorityGroups) }},
	{name: "max request batch", fields: []string{"MaxRequestBatch"},
		shown: func(c consumerConfig) string { return limit(int64(c.MaxRequestBatch)) }},
	{name: "max request expires", fields: []string{"MaxRequestExpires"},
		shown: func(c consumerConfig) string { return age(c.MaxRequestExpires) }},
	{name: "inactive threshold", fields: []string{"InactiveThreshold"},
		shown: func(c consumerConfig) string { return age(c.InactiveThreshold) }},
	// A single server forgets such a consumer when it starts again.
	{name: "memory storage", fields: []string{"MemoryStorage"}, choice: always[consumerConfig], risk: true},
	// Too short an ack wait delivers what is still being polled; a longer one only slows recovery.
	{name: "ack wait", fields: []string{"AckWait"},
		// The broker derives it from a back-off: saying so twice would not help.
		fits:   func(have, _ consumerConfig) bool { return len(have.BackOff) > 0 },
		choice: func(have, want consumerConfig) bool { return have.AckWait >= want.AckWait }},
}

// takesForeign tells of the stream that others than the stage publish to.
func takesForeign(c streamConfig) bool { return c.DiscardNewPerSubject }

// byTheStageAlone tells of the others.
func byTheStageAlone(_, want streamConfig) bool { return !takesForeign(want) }

func isBucket(c streamConfig) bool { return strings.HasPrefix(c.Name, "KV_") }

func mayBeBounded(_, want streamConfig) bool {
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

func window(c streamConfig) time.Duration {
	if c.Duplicates == 0 {
		return defaultDuplicates
	}
	return c.Duplicates
}

// windowFits judges a duplicate window. In a work queue that has one it may be no longer: it swallows what is declared
// again after its outcome. Elsewhere it may be no shorter: it is a second guard against a second copy.
func windowFits(have, want streamConfig) bool {
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
func republished(c streamConfig) string {
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

func deliverPolicy(c consumerConfig) string {
	switch {
	case c.OptStartSeq > 0:
		return fmt.Sprintf("%s %d", text(c.DeliverPolicy), c.OptStartSeq)
	case c.OptStartTime != nil:
		return text(c.DeliverPolicy) + " " + c.OptStartTime.UTC().Format(time.RFC3339)
	}
	return text(c.DeliverPolicy)
}

func filters(c consumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

// text is a value as it is shown.
func text(v any) string {
	switch v := v.(type) {
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

func (r rule[C]) show(c C) string {
	if r.shown != nil {
		return r.shown(c)
	}
	return text(reflect.ValueOf(c).FieldByName(r.fields[0]).Interface())
}

func (r rule[C]) satisfied(have, want C) bool {
	return r.show(have) == r.show(want) || r.fits != nil && r.fits(have, want)
}

// differences applies all rules.
func differences[C any](object string, rules []rule[C], have, want C) []Difference {
	var ds []Difference
	for _, r := range rules {
		if r.satisfied(have, want) {
			continue
		}
		choice := r.choice != nil && r.choice(have, want)
		ds = append(ds, Difference{
			Object: object,
			Field:  r.name,
			Have:   r.show(have),
			Want:   r.show(want),
			Choice: choice,
			Risk:   choice && r.risk,
		})
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
