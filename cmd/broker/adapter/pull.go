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

// puller requests messages from a consumer over one subscription. Each Consumer.Fetch of nats.go creates an inbox, a
// subscription, a goroutine, and a timer for each message, which costs worker and broker about as much as a poll.
// Messages and Consume buffer messages while their AckWait runs.
//
// A puller has at most one pending request and knows when it has ended, so it never gets more messages than requested.
type puller struct {
	broker   *Broker
	object   string
	subjects []string        // of requests; the first one is used, a violation may name any
	since    permission.Mark // the last request
	inbox    string
	sub      *nats.Subscription
	messages chan *nats.Msg
}

// pullRequest is the body of a pull request; see ADR-13 of NATS.
type pullRequest struct {
	Batch   int           `json:"batch"`
	NoWait  bool          `json:"no_wait,omitempty"`
	Expires time.Duration `json:"expires,omitempty"`
}

// pullMargin is how long after its expiry a puller waits for the end of a request. It then drops its subscription,
// because later messages of this request would count for the next one.
const pullMargin = time.Second

// Puller implements [broker.Broker].
func (b *Broker) Puller(stream, consumer string) broker.Puller {
	subjects := b.api.Subjects("CONSUMER.MSG.NEXT", stream, consumer)
	return &puller{broker: b, object: stream + "/" + consumer, subjects: subjects}
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
			// A delivery has the subject of the stored message; a status message has that of the inbox.
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
			if denied := p.since.Denied(p.subjects...); denied != nil {
				return failed("pull", p.object, denied)
			}
			return failed("pull", p.object, nats.ErrTimeout)
		}
	}
	return nil
}

func (p *puller) ask(n int, wait time.Duration) error {
	if n < 1 || n > broker.MaxPull {
		return fmt.Errorf("pulling %d messages: must be 1 to %d", n, broker.MaxPull)
	}
	if p.sub == nil || !p.sub.IsValid() {
		p.inbox = p.broker.nc.NewInbox()
		p.messages = make(chan *nats.Msg, broker.MaxPull+16) // with room for status messages
		var err error
		if p.sub, err = p.broker.nc.ChanSubscribe(p.inbox, p.messages); err != nil {
			return err
		}
	}
	request, err := json.Marshal(pullRequest{Batch: n, NoWait: wait == 0, Expires: wait})
	if err != nil {
		return err
	}
	p.since = p.broker.denials.Begin()
	return p.broker.nc.PublishRequest(p.subjects[0], p.inbox, request)
}

// status reads a status message, and reports whether the request has ended.
func (p *puller) status(h nats.Header) (ended bool, err error) {
	status, description := h.Get("Status"), h.Get("Description")
	switch status {
	case "100": // idle heartbeat
		return false, nil
	case "404", "408": // no messages, or the request expired
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
		_ = p.sub.Unsubscribe() // it fails only if the connection is closed, which ends the subscription
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
