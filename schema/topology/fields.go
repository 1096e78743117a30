package topology

import (
	"cmp"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

type (
	streamConfig   = jetstream.StreamConfig
	consumerConfig = jetstream.ConsumerConfig
)

// rule compares one property of a configuration. The operator may set the fields that no rule names: they weaken no
// guarantee. fields_test.go has the reason for each.
type rule[C any] struct {
	name   string   // shown to users
	fields []string // the fields of C that make up the property
	// shown returns the property as text. The default is the text of the first field.
	shown func(C) string
	// fits reports whether the existing value is sufficient although its text differs. The default is no.
	fits func(have, want C) bool
	// choice reports whether a worker runs with an existing value that does not fit. The default is no.
	choice func(have, want C) bool
	// risk reports that such a choice weakens a guarantee: after a fault of the broker, or in a large fleet.
	risk bool
	// fixed reports that the broker cannot change the property of an existing consumer.
	fixed bool
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
	// A declared message with a TTL can expire without an outcome. In the bucket, TTLs are intended.
	{name: "message TTLs", fields: []string{"AllowMsgTTL"},
		fits:   func(_, want streamConfig) bool { return isBucket(want) },
		choice: isPrivate, risk: true},
	// A delete marker is a message: it would be taken in, be polled, or keep a dead worker alive.
	{name: "delete marker TTL", fields: []string{"SubjectDeleteMarkerTTL"}},
	// With a roll-up, every publisher can purge the stream and store a second message on a subject. The broker enables
	// roll-ups together with schedules.
	{name: "roll-ups", fields: []string{"AllowRollup"},
		fits:   func(have, _ streamConfig) bool { return have.AllowMsgSchedules },
		choice: isPrivate, risk: true},
	{name: "message counters", fields: []string{"AllowMsgCounter"}},
	// Without atomic batches, processed events are single publishes. In other streams, batches are harmless: their
	// messages are subject to the same conditions as single ones.
	{name: "atomic batches", fields: []string{"AllowAtomicPublish"},
		fits:   func(have, want streamConfig) bool { return !hasOutcomes(want) || apiLevel(have) < atomicBatchLevel },
		choice: always[streamConfig]},
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
	// Other modes than the default acknowledge messages that are not written yet.
	{name: "persist mode", fields: []string{"PersistMode"}},
	// A maximum age would delete messages that wait for their outcome. That of the bucket is how long an announcement
	// is valid.
	{name: "max age", fields: []string{"MaxAge"},
		shown:  func(c streamConfig) string { return age(c.MaxAge) },
		choice: func(_, want streamConfig) bool { return want.MaxAge > 0 && !isBucket(want) }},
	{name: "max messages", fields: []string{"MaxMsgs"},
		shown: func(c streamConfig) string { return limit(c.MaxMsgs) }, choice: mayBeBounded},
	{name: "max bytes", fields: []string{"MaxBytes"},
		shown: func(c streamConfig) string { return limit(c.MaxBytes) }, choice: mayHaveSize},
	// A producer gets an error for a declared message that is too large. The messages of workers must always fit.
	{name: "max message size", fields: []string{"MaxMsgSize"},
		shown: func(c streamConfig) string { return limit(int64(c.MaxMsgSize)) },
		choice: func(have, want streamConfig) bool {
			largest := int32(schema.MaxMessageBytes)
			if isBucket(want) {
				largest = schema.MaxAnnouncementBytes
			}
			return acceptsProducers(want) || have.MaxMsgSize >= largest
		}},
	{name: "storage", fields: []string{"Storage"}, choice: always[streamConfig], risk: true},
	{name: "replicas", fields: []string{"Replicas"},
		shown: func(c streamConfig) string { return text(max(c.Replicas, 1)) }, choice: always[streamConfig]},
}

var consumerRules = []rule[consumerConfig]{
	{name: "filter", fields: []string{"FilterSubject", "FilterSubjects"},
		shown: func(c consumerConfig) string { return text(filters(c)) }},
	{name: "deliver policy", fields: []string{"DeliverPolicy", "OptStartSeq", "OptStartTime"}, shown: deliverPolicy,
		fixed: true},
	{name: "ack policy", fields: []string{"AckPolicy"}, fixed: true},
	{name: "replay policy", fields: []string{"ReplayPolicy"}, fixed: true},
	{
		name:   "max deliver",
		fields: []string{"MaxDeliver"},
		shown:  func(c consumerConfig) string { return limit(int64(c.MaxDeliver)) },
	},
	{name: "back-off", fields: []string{"BackOff"}},
	{name: "max ack pending", fields: []string{"MaxAckPending"},
		shown:  func(c consumerConfig) string { return limit(int64(c.MaxAckPending)) },
		choice: func(_, want consumerConfig) bool { return want.MaxAckPending > 0 }},
	// Each worker has one waiting pull request per lane; the broker rejects requests beyond the limit.
	{name: "max waiting", fields: []string{"MaxWaiting"},
		shown:  func(c consumerConfig) string { return text(cmp.Or(max(c.MaxWaiting, 0), defaultMaxWaiting)) },
		fits:   func(have, _ consumerConfig) bool { return have.MaxWaiting >= defaultMaxWaiting },
		choice: always[consumerConfig], risk: true, fixed: true},
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
	// A single server loses such a consumer when it restarts. If two servers of three lose it at once, it gets a leader
	// only when all three are running.
	{name: "memory storage", fields: []string{"MemoryStorage"},
		choice: always[consumerConfig], risk: true, fixed: true},
	// Too short an ack wait redelivers messages that are still being polled; a longer one only slows recovery.
	{name: "ack wait", fields: []string{"AckWait"},
		// The broker derives the ack wait from a back-off. A back-off is reported as a difference itself.
		fits:   func(have, _ consumerConfig) bool { return len(have.BackOff) > 0 },
		choice: func(have, want consumerConfig) bool { return have.AckWait >= want.AckWait }},
}

// acceptsProducers reports whether producers publish to the stream.
func acceptsProducers(c streamConfig) bool { return c.DiscardNewPerSubject }

// isPrivate reports whether only statusworker publishes to the stream.
func isPrivate(_, want streamConfig) bool { return !acceptsProducers(want) }

func isBucket(c streamConfig) bool { return strings.HasPrefix(c.Name, "KV_") }

func hasOutcomes(c streamConfig) bool { return c.Retention == jetstream.LimitsPolicy && !isBucket(c) }

// atomicBatchLevel is the first API level of JetStream with atomic batches, that of nats-server 2.12.
const atomicBatchLevel = 2

// apiLevel returns the API level of the server that reported an existing stream. Before nats-server 2.11 it is 0.
func apiLevel(have streamConfig) int {
	level, err := strconv.Atoi(have.Metadata["_nats.level"])
	if err != nil {
		return 0
	}
	return level
}

func mayBeBounded(_, want streamConfig) bool {
	return want.Discard == jetstream.DiscardNew || want.Retention == jetstream.LimitsPolicy
}

// mayHaveSize reports whether an existing maximum size is acceptable. That of the stream with schedules has a least
// value; an account may require a maximum size.
func mayHaveSize(have, want streamConfig) bool {
	return mayBeBounded(have, want) || want.AllowMsgSchedules && (have.MaxBytes <= 0 || have.MaxBytes >= MinPollsBytes)
}

const (
	// MinPollsBytes is the smallest maximum size of the stream with schedules.
	MinPollsBytes = 64 << 20
	// MinDuplicates is the shortest duplicate window that the broker accepts. For 0 it uses its default.
	MinDuplicates = 100 * time.Millisecond
	// defaultDuplicates and defaultMaxWaiting are the broker's defaults.
	defaultDuplicates = 2 * time.Minute
	defaultMaxWaiting = 512
)

func window(c streamConfig) time.Duration {
	if c.Duplicates == 0 {
		return defaultDuplicates
	}
	return c.Duplicates
}

// windowFits reports whether an existing duplicate window is sufficient. In a work queue with a window it must not be
// longer: it would drop an interaction that is declared again after its outcome. In other streams it must not be
// shorter: it is a second protection against duplicates.
func windowFits(have, want streamConfig) bool {
	switch {
	case want.Retention != jetstream.WorkQueuePolicy:
		longest := window(want)
		if have.MaxAge > 0 { // the broker rejects a longer duplicate window
			longest = min(longest, have.MaxAge)
		}
		return window(have) >= longest
	case want.Duplicates == 0:
		return true
	}
	return window(have) <= want.Duplicates
}

// republished returns where a stream republishes its messages, if that may be a subject of statusworker.
func republished(c streamConfig) string {
	if c.RePublish == nil {
		return "nowhere"
	}
	first, _, _ := strings.Cut(c.RePublish.Destination, ".")
	if n, ok := schema.NamespaceOf(c.Name); !ok || first == n.String() || strings.ContainsAny(first, "*>{$") {
		return c.RePublish.Destination
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

// text returns a value as it is shown.
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

// differences compares two configurations by all rules.
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
			Fixed:  r.fixed,
		})
	}
	return ds
}

// merge sets the properties of have that do not fit. It keeps all others.
func merge[C any](rules []rule[C], have, want C) C {
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
