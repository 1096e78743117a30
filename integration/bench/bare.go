package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/schema"
)

// bare is a minimal poller in the usual style of nats.go and net/http: one iterator that prefetches, and a fixed number
// of goroutines. It validates nothing, counts nothing, and handles no failures: it ends at the first error.
type bare struct {
	order
	js     jetstream.JetStream
	client *http.Client

	mu    sync.Mutex
	acked jetstream.Msg // see ack
}

// startBare starts the bare loop. The arguments are those of an order.
func startBare(args []string) (*role, error) {
	o, err := parseOrder(args)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(o.broker, nats.Name("bare loop"))
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: o.concurrency, MaxConnsPerHost: o.concurrency}
	b := &bare{order: o, js: js, client: &http.Client{Transport: transport, Timeout: 10 * time.Second}}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := js.Consumer(ctx, o.mode.PollStream(ns), ns.PollConsumer(schema.Audio))
	if err != nil {
		return nil, fmt.Errorf("reading the consumer: %w", err)
	}
	due, err := c.Messages(jetstream.PullMaxMessages(o.concurrency))
	if err != nil {
		return nil, fmt.Errorf("pulling: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.loop(due) }()
	return &role{address: "bare", stop: func() error {
		due.Stop()
		err := <-ended
		nc.Close()
		return err
	}}, nil
}

// loop polls until due is closed.
func (b *bare) loop(due jetstream.MessagesContext) error {
	poll := b.scheduleAndPoll
	if b.mode == consumer.Nak {
		poll = b.pollAndNak
	}
	messages := make(chan jetstream.Msg)
	var workers sync.WaitGroup
	failed := make(chan error, b.concurrency)
	for range b.concurrency {
		workers.Go(func() {
			for msg := range messages {
				if err := poll(msg); err != nil {
					failed <- err
					due.Stop()
					return
				}
			}
		})
	}
	var err error
	for err == nil {
		var msg jetstream.Msg
		if msg, err = due.Next(); err != nil {
			break
		}
		select {
		case messages <- msg:
		case err = <-failed:
		}
	}
	close(messages)
	workers.Wait()
	if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
		select {
		case err = <-failed:
		default:
			return nil
		}
	}
	return err
}

// scheduleAndPoll publishes the reservation of the next poll, waits for its ack, acks and polls.
func (b *bare) scheduleAndPoll(msg jetstream.Msg) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	subject := msg.Subject()
	identifier := subject[strings.LastIndexByte(subject, '.')+1:]
	wait := b.interval + 100*time.Millisecond // as the worker
	_, err := b.js.PublishMsg(ctx, &nats.Msg{
		Subject: ns.HoldSubject(schema.Audio, identifier),
		Data:    msg.Data(),
		Header: nats.Header{
			"Nats-Schedule": {
				"@at " + time.Now().Add(wait).UTC().Format(time.RFC3339Nano),
			},
			"Nats-Schedule-Target":                        {subject},
			"Nats-Expected-Last-Subject-Sequence":         {"0"},
			"Nats-Expected-Last-Subject-Sequence-Subject": {ns.HoldSubjects(identifier)},
		},
	})
	if err != nil {
		return fmt.Errorf("reserving: %w", err)
	}
	if err := b.ack(msg); err != nil {
		return fmt.Errorf("acking: %w", err)
	}
	return b.poll(identifier)
}

// ack acks each message when the next one is to be acked, as the stage does in a backlog: otherwise the broker visits
// every due subject to find the next message.
func (b *bare) ack(msg jetstream.Msg) error {
	b.mu.Lock()
	msg, b.acked = b.acked, msg
	b.mu.Unlock()
	if msg == nil {
		return nil
	}
	return msg.Ack()
}

// pollAndNak polls and naks the message with a delay.
func (b *bare) pollAndNak(msg jetstream.Msg) error {
	subject := msg.Subject()
	if err := b.poll(subject[strings.LastIndexByte(subject, '.')+1:]); err != nil {
		return err
	}
	if err := msg.NakWithDelay(b.interval + time.Second); err != nil {
		return fmt.Errorf("returning the message: %w", err)
	}
	return nil
}

// poll requests the status once and decodes it.
func (b *bare) poll(identifier string) error {
	req, err := http.NewRequest(http.MethodGet, b.vendor+"/interactions/"+identifier+"/status", nil)
	if err != nil {
		return fmt.Errorf("polling: %w", err)
	}
	req.Header.Set("X-API-Token", vendorToken)
	resp, err := b.client.Do(req)
	if err != nil {
		return fmt.Errorf("polling: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	var answer struct {
		Identifier string `json:"identifier"`
		Status     string `json:"status"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("decoding the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK || answer.Identifier != identifier ||
		answer.Status != string(schema.StatusProcessing) {
		return fmt.Errorf("polling %s: response %d %q", identifier, resp.StatusCode, body)
	}
	return nil
}
