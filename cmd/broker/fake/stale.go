package fake

import (
	"slices"
	"time"
)

// MaxStale is the maximum age of the state from which a read answers with [Fault].Stale.
//
// In a replicated stream, only a server that considers itself the leader answers reads (jsMsgGetRequest). The answers
// of a new leader are not stale: it answers when it has applied its log, including the first entry of its own term
// (switchToLeader sets aflr, and Processed then sets leaderState).
//
// The replaced leader considers itself the leader until it receives a message with a later term, or has heard from no
// majority for ten seconds, which it checks every ten seconds (runAsLeader, lostQuorum). Meanwhile it answers from what
// was stored when it lost the other servers. A client that is connected to it gets these answers, although the messages
// that the client receives may come from new leaders of other streams and consumers. A server that was stopped does the
// same in the moment after it continues.
//
// The log of a replaced leader is a prefix of the new one. What is read was stored, but what was stored since is
// missing, and what was removed since is present. It cannot store anything, so an acknowledged publish proves that its
// condition was true. A rejection proves nothing: a replaced leader may reject a publish because of its old state.
const MaxStale = 30 * time.Second

// before returns a copy of the stream as it was some time ago.
func (s *stream) before(ago time.Duration) *stream {
	at := time.Now().Add(-ago)
	old := &stream{StreamConfig: s.StreamConfig, b: s.b, ends: map[string][]*message{}}
	for _, m := range slices.Concat(s.messages, s.gone) {
		if !m.at.After(at) && (m.removed.IsZero() || m.removed.After(at)) {
			old.messages = append(old.messages, m)
		}
	}
	slices.SortFunc(old.messages, func(a, b *message) int { return sequenceOf(a, b.Sequence) })
	for _, m := range old.messages {
		end := lastToken(m.Subject)
		old.ends[end] = append(old.ends[end], m)
		old.last, old.bytes = m.Sequence, old.bytes+m.size()
	}
	return old
}

// keep holds a removed message for stale reads, and drops those that are too old.
func (s *stream) keep(m *message) {
	m.removed = time.Now()
	s.gone = append(s.gone, m)
	old := 0
	for old < len(s.gone) && time.Since(s.gone[old].removed) > MaxStale {
		old++
	}
	s.gone = slices.Delete(s.gone, 0, old)
}
