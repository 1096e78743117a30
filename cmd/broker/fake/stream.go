package fake

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"statusworker/schema/broker"
)

// message is a stored message.
type message struct {
	broker.Message
	// at is when it was stored, and removed when it was removed, by this process's clock.
	at, removed time.Time
}

func (m *message) copy() broker.Message {
	c := m.Message
	c.Header, c.Data = maps.Clone(c.Header), bytes.Clone(c.Data)
	return c
}

func (m *message) size() (n uint64) {
	const record = 22 // about what a file store adds
	for name, values := range m.Header {
		n += uint64(len(name) + len(strings.Join(values, "")) + 4)
	}
	return n + uint64(len(m.Subject)+len(m.Data)) + record
}

type stream struct {
	broker.StreamConfig
	b        *Broker
	messages []*message // by sequence
	// ends are the messages by the last token of their subjects. It is an interaction's identifier in large streams.
	ends map[string][]*message
	// gone are the messages that were removed within MaxStale.
	gone      []*message
	last      uint64
	bytes     uint64
	ids       map[string]published
	schedules map[string]*schedule // by the subject on which it is stored
	firing    map[string]int       // how many of a subject are being stored
	consumers []*consumer
	commits   []*commit // in the order in which they were accepted
}

// published is a publish with an ID.
type published struct {
	sequence uint64
	at       time.Time
}

// defaultDuplicates is the duplicate window of a stream without one in its configuration.
const defaultDuplicates = 2 * time.Minute

func newStream(b *Broker, c broker.StreamConfig) *stream {
	if c.Duplicates <= 0 {
		c.Duplicates = defaultDuplicates
		if c.MaxAge > 0 {
			c.Duplicates = min(c.Duplicates, c.MaxAge)
		}
	}
	s := &stream{
		StreamConfig: c, b: b,
		ends: map[string][]*message{}, ids: map[string]published{}, schedules: map[string]*schedule{},
		firing: map[string]int{},
	}
	for _, of := range c.Consumers {
		s.consumers = append(s.consumers, newConsumer(s, of))
	}
	return s
}

// store stores a message, if the limits allow it.
func (s *stream) store(m *message) error {
	if s.b.full {
		return broker.ErrFull
	}
	excess, err := s.limit(m)
	if err != nil {
		return err
	}
	s.last++
	m.Sequence, m.Time, m.at = s.last, s.b.stamp, time.Now()
	s.messages = append(s.messages, m)
	end := lastToken(m.Subject)
	s.ends[end] = append(s.ends[end], m)
	s.bytes += m.size()
	for _, c := range s.consumers {
		c.count(m, 1)
	}
	s.changed(m, false)
	for _, sequence := range excess {
		s.remove(sequence)
	}
	for s.exceeds(len(s.messages), s.bytes) && len(s.messages) > 1 {
		s.remove(s.messages[0].Sequence)
	}
	if s.MaxAge > 0 {
		s.b.at(m.Time.Add(s.MaxAge), func() { s.remove(m.Sequence) })
	}
	return nil
}

// limit returns the messages on the subject of m that it replaces, or an error if the stream rejects m.
func (s *stream) limit(m *message) (excess []uint64, err error) {
	var same []uint64 // sequences on the subject
	if s.MaxPerSubject > 0 {
		for _, old := range s.ends[lastToken(m.Subject)] {
			if old.Subject == m.Subject {
				same = append(same, old.Sequence)
			}
		}
	}
	switch replaces := s.MaxPerSubject > 0 && int64(len(same)) >= s.MaxPerSubject; {
	case replaces && s.DiscardNew && s.DiscardNewPerSubject:
		return nil, broker.ErrMaxPerSubject
	case replaces:
		return same[:len(same)+1-int(s.MaxPerSubject)], nil
	case s.DiscardNew && s.exceeds(len(s.messages)+1, s.bytes+m.size()):
		return nil, broker.ErrFull
	}
	return nil, nil
}

// exceeds reports whether a number of messages or bytes is over the limit.
func (s *stream) exceeds(messages int, bytes uint64) bool {
	return s.MaxMsgs > 0 && int64(messages) > s.MaxMsgs || s.MaxBytes > 0 && bytes > uint64(s.MaxBytes)
}

// remove removes a message, and reports whether it existed.
func (s *stream) remove(sequence uint64) bool {
	i, ok := slices.BinarySearchFunc(s.messages, sequence, sequenceOf)
	if !ok {
		return false
	}
	m := s.messages[i]
	s.messages = slices.Delete(s.messages, i, i+1)
	end := lastToken(m.Subject)
	if s.ends[end] = slices.DeleteFunc(s.ends[end], func(o *message) bool { return o == m }); len(s.ends[end]) == 0 {
		delete(s.ends, end)
	}
	s.bytes -= m.size()
	s.keep(m)
	if sc := s.schedules[m.Subject]; sc != nil && sc.message == m {
		delete(s.schedules, m.Subject)
	}
	for _, c := range s.consumers {
		c.drop(sequence)
		c.count(m, -1)
	}
	s.changed(m, true)
	return true
}

// changed reports that a message was stored or removed.
func (s *stream) changed(m *message, removed bool) {
	if s.b.o.OnChange != nil {
		s.b.o.OnChange(Change{Stream: s.Name, Message: m.Message, Removed: removed})
	}
}

// purge removes the messages on a subject, up to a sequence.
func (s *stream) purge(subject string, upTo uint64) {
	for _, m := range slices.Clone(s.ends[lastToken(subject)]) {
		if m.Subject == subject && m.Sequence <= upTo {
			s.remove(m.Sequence)
		}
	}
}

func (s *stream) lastOn(filter string) *message {
	among := s.messages
	if end := lastToken(filter); end != "*" && end != ">" {
		among = s.ends[end]
	}
	for _, m := range slices.Backward(among) {
		if matches(filter, m.Subject) {
			return m
		}
	}
	return nil
}

// nextOn returns the first message from a sequence on that one of the filters matches, or nil.
func (s *stream) nextOn(filters []string, from uint64) *message {
	i, _ := slices.BinarySearchFunc(s.messages, from, sequenceOf)
	for _, m := range s.messages[i:] {
		if matchesAny(filters, m.Subject) {
			return m
		}
	}
	return nil
}

func (s *stream) serve() {
	for _, c := range s.consumers {
		c.serve()
	}
}

// begin starts a new leader of the stream. Schedules that fired without storing their message fire again. It knows the
// IDs of stored messages only.
func (s *stream) begin() {
	for len(s.commits) > 0 { // a new leader stores what was accepted before it answers
		s.commitFirst()
	}
	clear(s.ids)
	for _, m := range s.messages {
		if id := m.Header.Get(broker.HeaderID); id != "" {
			s.ids[id] = published{m.Sequence, m.Time}
		}
	}
	pending := slices.SortedFunc(maps.Values(s.schedules), func(a, b *schedule) int {
		return sequenceOf(a.message, b.Sequence)
	})
	for _, sc := range pending {
		if sc.fired {
			s.purge(sc.Subject, sc.Sequence)
			continue
		}
		s.arm(sc)
	}
}
