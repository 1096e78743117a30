package broker

import (
	"maps"
	"strconv"
	"time"
)

// Header is the header of a message. Names are case-sensitive.
type Header map[string][]string

// Get gives the first value under exactly that name, or nothing.
func (h Header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set gives a name one value.
func (h Header) Set(name, value string) { h[name] = []string{value} }

// The headers by which the broker knows what a [Publication] asks for, and what it writes on a message that a schedule
// made.
const (
	HeaderID             = "Nats-Msg-Id"
	HeaderExpected       = "Nats-Expected-Last-Subject-Sequence"
	HeaderExpectedOf     = "Nats-Expected-Last-Subject-Sequence-Subject"
	HeaderSchedule       = "Nats-Schedule"
	HeaderScheduleTarget = "Nats-Schedule-Target"
	// HeaderScheduler is on a message that a schedule made: the subject on which the schedule was stored.
	HeaderScheduler = "Nats-Scheduler"
	// HeaderScheduleNext is beside it, and says that the schedule is purged.
	HeaderScheduleNext  = "Nats-Schedule-Next"
	ScheduleNextIsPurge = "purge"

	// scheduleAt is the only kind of schedule that is used. nats.go writes it in whole seconds, which is too coarse
	// here.
	scheduleAt = "@at " + time.RFC3339Nano
)

// Message is a message that a stream has stored.
type Message struct {
	Subject  string
	Header   Header
	Data     []byte
	Sequence uint64
	// Time is when it was stored, by the clock of the stream's leader.
	Time time.Time
}

// Due is when the schedule that is stored as this message fires. It is zero where the message is none, or none that is
// understood.
func (m Message) Due() time.Time {
	t, err := time.Parse(scheduleAt, m.Header.Get(HeaderSchedule))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Publication is a message to be stored. What is asked of the broker stands in fields, and not in the header.
type Publication struct {
	Subject string
	Header  Header
	Data    []byte
	// ID makes the broker drop another publication with the same ID within the stream's duplicate window; empty is
	// none.
	ID string
	// If is the condition on which it is stored.
	If Condition
	// Schedule makes it a schedule: the message appears on another subject at some time.
	Schedule Schedule
}

// Condition is the condition of a publish: the last message that is stored on Subjects, which may have wildcards, has
// the sequence Last; 0 says that there is none. Without Subjects there is no condition.
type Condition struct {
	Subjects string
	Last     uint64
}

// Schedule makes the broker publish the message on Target at a time of its own clock, and purge the subject on which
// it was stored then. A subject has one schedule at most: a later one replaces it. Without Target there is no schedule.
type Schedule struct {
	At     time.Time
	Target string
}

// WireHeader is the header as it is sent and stored: that of the publication, and what the fields ask for. It is the
// publication's own where they ask for nothing.
func (p Publication) WireHeader() Header {
	if p.ID == "" && p.If.Subjects == "" && p.Schedule.Target == "" {
		return p.Header
	}
	// One array holds the values that are added: a slice each would be an allocation each, at every poll.
	h, values := make(Header, len(p.Header)+5), make([]string, 0, 5)
	maps.Copy(h, p.Header)
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if p.ID != "" {
		set(HeaderID, p.ID)
	}
	if p.If.Subjects != "" {
		set(HeaderExpected, strconv.FormatUint(p.If.Last, 10))
		set(HeaderExpectedOf, p.If.Subjects)
	}
	if p.Schedule.Target != "" {
		set(HeaderSchedule, p.Schedule.At.UTC().Format(scheduleAt))
		set(HeaderScheduleTarget, p.Schedule.Target)
	}
	return h
}

// Ack says that a message is stored.
type Ack struct {
	Sequence uint64
	// Duplicate says that it was stored before, under the same ID. It may have been deleted since.
	Duplicate bool
}

// Delivery is a message that a consumer has handed out. It is settled by [Broker.Ack], [Broker.AckConfirmed] or
// [Broker.Nak], once: a second time would settle a newer delivery of the same message.
type Delivery struct {
	Message
	Stream, Consumer string
	// Count is how often the message was delivered, this time included, as far as the broker remembers.
	Count uint64
	// Pending is how many messages the consumer had never delivered when it delivered this one.
	Pending uint64
	// Token names the delivery to the broker that made it.
	Token string
}

// Range is what is to be read of a stream.
type Range struct {
	// Subjects are filters that do not overlap. None is all.
	Subjects []string
	// From is the least sequence, and Since the earliest time; 0 is the beginning. No more than one of them is given.
	From  uint64
	Since time.Time
}
