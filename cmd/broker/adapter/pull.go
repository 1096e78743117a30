package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/permission"
	"statusworker/schema/broker"
)

// puller asks a consumer for messages, over one subscription for as long as it lives. Consumer.Fetch of nats.go makes
// an inbox, a subscription, a goroutine and a timer for each message at every call, which costs worker and broker about
// as much as a poll; Messages and Consume hold messages back in a buffer of their own, where AckWait runs.
//
// A puller has one request out at a time, and knows when it has ended: so it never gets more than it asked for.
type puller struct {
	broker   *Broker
	object   string
	subject  string          // where requests go
	since    permission.Mark // the last request
	inbox    string
	sub      *nats.Subscription
	messages chan *nats.Msg
}

// pullRequest is the broker's, see ADR-13 of NATS.
type pullRequest struct {
	Batch   int           `json:"batch"`
	NoWait  bool          `json:"no_wait,omitempty"`
	Expires time.Duration `json:"expires,omitempty"`
}

// pullMargin is how much longer than it should take a puller waits for the end of a request. Then it gives up on its
// subscription: what still comes would count for the next request.
const pullMargin = time.Second

// Puller implements [broker.Broker].
func (b *Broker) Puller(stream, consumer string) broker.Puller {
	return &puller{broker: b, object: stream + "/" + consumer, subject: api("CONSUMER.MSG.NEXT", stream, consumer)}
}

// Pull implements [broker.Puller].
func (p *puller) Pull(n int, wait time.Duration, take func(broker.Delivery)) error {
	if err := p.ask(n, wait); err != nil {
		return failed("pull", p.object, err)
	}
	limit := time.NewTimer(wait + pullMargin)
	defer limit.Stop()
	for n > 0 {
		select {
		case msg := <-p.messages:
			// A delivery has the subject that it was stored under; what the broker itself says has the inbox's.
			if msg.Subject != p.inbox {
				d, err := delivery(msg)
				if err != nil {
					return failed("pull", p.object, err)
				}
				n--
				take(d)
				continue
			}
			if ended, err := p.status(msg.Header); ended {
				return err
			}
		case <-limit.C:
			p.Close()
			if denied := p.since.Denied(p.subject); denied != nil {
				return failed("pull", p.object, denied)
			}
			return failed("pull", p.object, nats.ErrTimeout)
		}
	}
	return nil
}

func (p *puller) ask(n int, wait time.Duration) error {
	if n < 1 || n > broker.MaxPull {
		return fmt.Errorf("%d messages were asked for: want 1 to %d", n, broker.MaxPull)
	}
	if p.sub == nil || !p.sub.IsValid() {
		p.inbox = p.broker.nc.NewInbox()
		p.messages = make(chan *nats.Msg, broker.MaxPull+16) // and what the broker says itself
		var err error
		if p.sub, err = p.broker.nc.ChanSubscribe(p.inbox, p.messages); err != nil {
			return err
		}
	}
	request, err := json.Marshal(pullRequest{Batch: n, NoWait: wait == 0, Expires: wait})
	if err != nil {
		return err
	}
	p.since = permission.Begin(p.broker.nc)
	return p.broker.nc.PublishRequest(p.subject, p.inbox, request)
}

// status reads what the broker says of a request, and tells whether it has ended.
func (p *puller) status(h nats.Header) (ended bool, err error) {
	status, description := h.Get("Status"), h.Get("Description")
	switch status {
	case "100": // a sign of life
		return false, nil
	case "404", "408": // no messages, or no more in this time
		return true, nil
	case "503":
		return true, failed("pull", p.object, nats.ErrNoResponders)
	}
	e := &broker.Error{Op: "pull", Object: p.object, Cause: errors.New(status + " " + description)}
	switch description = strings.ToLower(description); {
	case status == "409" && strings.Contains(description, "consumer deleted"):
		e.Kind = broker.ErrConsumerNotFound
	case status == "409" && (strings.Contains(description, "leadership change") ||
		strings.Contains(description, "server shutdown")):
		e.Kind = broker.ErrNoAnswer
	}
	return true, e
}

// Close implements [broker.Puller].
func (p *puller) Close() {
	if p.sub != nil {
		_ = p.sub.Unsubscribe() // it fails where the connection is gone, and the subscription with it
		p.sub = nil
	}
}

func delivery(m *nats.Msg) (broker.Delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return broker.Delivery{}, err
	}
	return broker.Delivery{
		Message: broker.Message{
			Subject: m.Subject, Header: broker.Header(m.Header), Data: m.Data, Sequence: meta.Sequence.Stream,
			Time: meta.Timestamp,
		},
		Stream:   meta.Stream,
		Consumer: meta.Consumer,
		Count:    meta.NumDelivered,
		Pending:  meta.NumPending,
		Token:    m.Reply,
	}, nil
}
