package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// puller asks a consumer for messages, over one subscription for as long as it lives. Consumer.Fetch of nats.go makes an
// inbox, a subscription, a goroutine and a timer for each message at every call, which costs worker and broker about as
// much as a poll; Messages and Consume hold messages back in a buffer of their own, where AckWait runs.
//
// A puller has one request out at a time, and knows when it has ended: so it never gets more than it asked for. It
// belongs to one goroutine.
type puller struct {
	nc       *nats.Conn
	subject  string // where requests go
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

func newPuller(js jetstream.JetStream, stream, consumer string) *puller {
	return &puller{nc: js.Conn(), subject: jetstream.DefaultAPIPrefix + "CONSUMER.MSG.NEXT." + stream + "." + consumer}
}

// pull asks for n messages, and hands over each as it comes. It returns when all have come, when the broker has no more
// (wait 0), or when that time is over. The error says that the broker could not be asked, or ended the request for
// another reason.
func (p *puller) pull(n int, wait time.Duration, take func(jetstream.Msg)) error {
	if err := p.subscribe(); err != nil {
		return err
	}
	request, err := json.Marshal(pullRequest{Batch: n, NoWait: wait == 0, Expires: wait})
	if err != nil {
		return fmt.Errorf("asking for messages: %w", err)
	}
	if err := p.nc.PublishRequest(p.subject, p.inbox, request); err != nil {
		return fmt.Errorf("asking for messages: %w", err)
	}
	limit := time.NewTimer(wait + pullMargin)
	defer limit.Stop()
	for n > 0 {
		select {
		case msg := <-p.messages:
			if msg.Subject != p.inbox { // the subject that it was stored under; what the broker itself says has the inbox's
				n--
				take(message{msg})
				continue
			}
			switch status := msg.Header.Get("Status"); status {
			case "100": // a sign of life
			case "404", "408": // no messages, or no more in this time
				return nil
			case "503":
				return fmt.Errorf("asking for messages: %w", nats.ErrNoResponders)
			default:
				return fmt.Errorf("asking for messages: the broker ended the request: %s %s", status, msg.Header.Get("Description"))
			}
		case <-limit.C:
			p.close()
			return errPullLost
		}
	}
	return nil
}

var errPullLost = errors.New("asking for messages: no answer")

func (p *puller) subscribe() error {
	if p.sub != nil && p.sub.IsValid() {
		return nil
	}
	p.inbox = p.nc.NewInbox()
	p.messages = make(chan *nats.Msg, 2*maxPull)
	var err error
	if p.sub, err = p.nc.ChanSubscribe(p.inbox, p.messages); err != nil {
		return fmt.Errorf("asking for messages: %w", err)
	}
	return nil
}

// close ends the subscription. What was on its way comes back when AckWait runs out.
func (p *puller) close() {
	if p.sub != nil {
		_ = p.sub.Unsubscribe() // it fails where the connection is gone, and the subscription with it
		p.sub = nil
	}
}

// message is a message of a consumer.
type message struct{ *nats.Msg }

var _ jetstream.Msg = message{}

func (m message) Data() []byte         { return m.Msg.Data }
func (m message) Headers() nats.Header { return m.Header }
func (m message) Subject() string      { return m.Msg.Subject }
func (m message) Reply() string        { return m.Msg.Reply }

func (m message) Metadata() (*jetstream.MsgMetadata, error) {
	meta, err := m.Msg.Metadata()
	if err != nil {
		return nil, err
	}
	return &jetstream.MsgMetadata{
		Sequence:     jetstream.SequencePair{Consumer: meta.Sequence.Consumer, Stream: meta.Sequence.Stream},
		NumDelivered: meta.NumDelivered, NumPending: meta.NumPending,
		Timestamp: meta.Timestamp, Stream: meta.Stream, Consumer: meta.Consumer, Domain: meta.Domain,
	}, nil
}

func (m message) Ack() error                          { return m.Msg.Ack() }
func (m message) DoubleAck(ctx context.Context) error { return m.AckSync(nats.Context(ctx)) }
func (m message) Nak() error                          { return m.Msg.Nak() }
func (m message) NakWithDelay(d time.Duration) error  { return m.Msg.NakWithDelay(d) }
func (m message) InProgress() error                   { return m.Msg.InProgress() }
func (m message) Term() error                         { return m.Msg.Term() }
func (m message) TermWithReason(reason string) error {
	return errors.New("a reason is not supported: " + strconv.Quote(reason))
}
