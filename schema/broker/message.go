package broker

import (
	"maps"
	"strconv"
	"time"
)

// Header is the header of a message. Names are case-sensitive.
type Header map[string][]string

// Get returns the first value of a name, or an empty string.
func (h Header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set replaces the values of a name by one value.
func (h Header) Set(name, value string) { h[name] = []string{value} }

// The headers of NATS that carry the fields of a [Publication], and those that the broker sets on the message that a
// schedule publishes.
const (
	HeaderID             = "Nats-Msg-Id"
	HeaderExpected       = "Nats-Expected-Last-Subject-Sequence"
	HeaderExpectedOf     = "Nats-Expected-Last-Subject-Sequence-Subject"
	HeaderSchedule       = "Nats-Schedule"
	HeaderScheduleTarget = "Nats-Schedule-Target"
	// HeaderScheduler is the subject on which the schedule of the message was stored.
	HeaderScheduler = "Nats-Scheduler"
	// HeaderScheduleNext is ScheduleNextIsPurge if the broker purges the schedule.
	HeaderScheduleNext  = "Nats-Schedule-Next"
	ScheduleNextIsPurge = "purge"

	// scheduleAt is the format of the schedules, with nanoseconds: nats.go writes only whole seconds.
	scheduleAt = "@at " + time.RFC3339Nano
)

// Message is a message that is stored in a stream.
type Message struct {
	Subject  string
	Header   Header
	Data     []byte
	Sequence uint64
	// Time is when the message was stored, by the clock of the stream's leader.
	Time time.Time
}

// Due returns the time at which the schedule in this message fires. It is zero if the message has no schedule, or one
// in another format.
func (m Message) Due() time.Time {
	t, err := time.Parse(scheduleAt, m.Header.Get(HeaderSchedule))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Publication is a message to be stored. Set ID, If and Schedule instead of their headers.
type Publication struct {
	Subject string
	Header  Header
	Data    []byte
	// ID is the message ID, or empty. The broker drops a publication whose ID was used within the stream's duplicate
	// window.
	ID string
	// If is the condition of the publish.
	If Condition
	// Schedule makes the message a schedule: the broker publishes it on another subject at a set time.
	Schedule Schedule
}

// Condition is the condition of a publish: the last message that is stored on Subjects, which may have wildcards, has
// the sequence Last. Last is 0 if no message may be stored there. If Subjects is empty there is no condition.
type Condition struct {
	Subjects string
	Last     uint64
}

// Schedule makes the broker publish the message on Target at the time At of its own clock. The broker then purges the
// subject on which the schedule is stored. A subject has at most one schedule: a later one replaces it. If Target is
// empty there is no schedule.
type Schedule struct {
	At     time.Time
	Target string
}

// WireHeader returns the header as it is sent and stored: the publication's header, and the headers of ID, If and
// Schedule. If all of these are empty, it returns the publication's own header.
func (p Publication) WireHeader() Header {
	if p.ID == "" && p.If.Subjects == "" && p.Schedule.Target == "" {
		return p.Header
	}
	// The values share one array to save an allocation for each value at every poll. The size is exact, because a map
	// of up to 8 needs one allocation.
	size := len(p.Header)
	if p.ID != "" {
		size++
	}
	if p.If.Subjects != "" {
		size += 2
	}
	if p.Schedule.Target != "" {
		size += 2
	}
	h, values := make(Header, size), make([]string, 0, 5)
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

// Ack is the broker's acknowledgement of a publish.
type Ack struct {
	Sequence uint64
	// Duplicate reports that a message with the same ID was stored before. That message may have been deleted since.
	Duplicate bool
}

// Delivery is a message that a consumer has delivered. Settle it exactly once, with [Broker.Ack], [Broker.AckConfirmed]
// or [Broker.Nak]: a second call would settle a newer delivery of the same message.
type Delivery struct {
	Message
	Stream, Consumer string
	// Count is the number of deliveries of the message so far, including this one, as far as the broker remembers.
	Count uint64
	// Pending is the number of messages that the consumer had not delivered yet when it delivered this one.
	Pending uint64
	// Token identifies the delivery to the broker that made it.
	Token string
}

// Range selects messages of a stream.
type Range struct {
	// Subjects are filters that do not overlap. If empty, all messages match.
	Subjects []string
	// From is the minimum sequence, and Since the earliest time. Set at most one of them; by default the range starts
	// at the first message.
	From  uint64
	Since time.Time
}
