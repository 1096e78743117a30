package adapter

import (
	"context"
	"errors"
	"maps"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"statusworker/cmd/broker/permission"
	"statusworker/schema/broker"
)

// PublishAll implements [broker.Broker]. It sends all messages at once, so that it takes one round trip. The broker
// answers the last one only.
//
// On nats-server before 2.14.4, a replicated stream does not evaluate the conditions of concurrent batches correctly if
// a batch has more than two messages (nats-server#8376).
func (b *Broker) PublishAll(ctx context.Context, all []broker.Publication) (broker.Ack, error) {
	if err := ctx.Err(); err != nil { // otherwise the broker would wait for the rest of the batch
		return broker.Ack{}, failed("publish", all[0].Subject, err)
	}
	messages, subjects := make([]*nats.Msg, len(all)), make([]string, len(all))
	for i, p := range all {
		header := nats.Header{}
		maps.Copy(header, p.WireHeader())
		messages[i], subjects[i] = &nats.Msg{Subject: p.Subject, Header: header, Data: p.Data}, p.Subject
	}
	mark := b.denials.Begin()
	ack, err := jetstreamext.PublishMsgBatch(ctx, b.js, messages, jetstreamext.BatchFlowControl{AckFirst: false})
	if err != nil {
		return broker.Ack{}, failed("publish", subjects[0], explainBatch(mark, err, subjects))
	}
	return broker.Ack{Sequence: ack.Sequence}, nil
}

// explainBatch returns the permission violation that made a batch fail with err, or err if there is none. If the broker
// has denied a message other than the last one, it answers that the batch is incomplete.
func explainBatch(mark permission.Mark, err error, subjects []string) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstreamext.JSErrCodeBatchPublishIncomplete {
		if denied := mark.Denied(subjects...); denied != nil {
			return denied
		}
	}
	return mark.Explain(err, subjects...)
}
