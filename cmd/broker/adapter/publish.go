package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
	"statusworker/schema/broker"
)

// Publish implements [broker.Broker]. A denied publish fails only when ctx ends: detecting the violation earlier would
// cost allocations at every poll.
func (b *Broker) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	mark := permission.Begin(b.nc)
	ack, err := b.publish(ctx, &nats.Msg{Subject: p.Subject, Header: nats.Header(p.WireHeader()), Data: p.Data})
	if err != nil {
		return broker.Ack{}, failed("publish", p.Subject, mark.Explain(err, p.Subject))
	}
	return ack, nil
}

// publishTimeout limits a publish whose context has no deadline, as in nats.go.
const publishTimeout = 5 * time.Second

// publish does what PublishMsg of nats.go does, which decodes the answer with reflection: that would be a twentieth of
// the CPU of a poll.
func (b *Broker) publish(ctx context.Context, m *nats.Msg) (broker.Ack, error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, publishTimeout)
		defer cancel()
	}
	answer, err := b.nc.RequestMsgWithContext(ctx, m)
	// No stream answers for a moment while a leader is elected.
	for retry := 0; errors.Is(err, nats.ErrNoResponders) && retry < jetstream.DefaultPubRetryAttempts; retry++ {
		select {
		case <-ctx.Done():
		case <-time.After(jetstream.DefaultPubRetryWait):
		}
		answer, err = b.nc.RequestMsgWithContext(ctx, m)
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return broker.Ack{}, jetstream.ErrNoStreamResponse
	}
	if err != nil {
		return broker.Ack{}, err
	}
	return decodeAck(answer.Data)
}

// decodeAck reads the answer to a publish.
func decodeAck(answer []byte) (broker.Ack, error) {
	if sequence, ok := plainAck(answer); ok {
		return broker.Ack{Sequence: sequence}, nil
	}
	var a struct {
		Error *jetstream.APIError `json:"error"`
		jetstream.PubAck
	}
	switch err := json.Unmarshal(answer, &a); {
	case err != nil:
		return broker.Ack{}, jetstream.ErrInvalidJSAck
	case a.Error != nil:
		return broker.Ack{}, fmt.Errorf("nats: %w", a.Error)
	case a.Stream == "":
		return broker.Ack{}, jetstream.ErrInvalidJSAck
	}
	return broker.Ack{Sequence: a.Sequence, Duplicate: a.Duplicate}, nil
}

// plainAck reads an answer of the form {"stream":"NAME","seq":1}, which is the usual one. Of any other it reports
// false.
func plainAck(answer []byte) (sequence uint64, ok bool) {
	rest, ok := bytes.CutPrefix(answer, []byte(`{"stream":"`))
	if !ok {
		return 0, false
	}
	name := bytes.IndexByte(rest, '"')
	if name <= 0 || bytes.IndexByte(rest[:name], '\\') >= 0 {
		return 0, false
	}
	digits, ok := bytes.CutPrefix(rest[name:], []byte(`","seq":`))
	if !ok {
		return 0, false
	}
	for i, c := range digits {
		switch {
		case c >= '0' && c <= '9' && sequence <= (math.MaxUint64-9)/10:
			sequence = 10*sequence + uint64(c-'0')
		default:
			return sequence, i > 0 && string(digits[i:]) == "}"
		}
	}
	return 0, false
}
