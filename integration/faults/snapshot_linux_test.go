package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// snapshot is a saved stream without its consumers.
type snapshot struct {
	name          string
	config, state json.RawMessage
	chunks        [][]byte
}

// save saves a stream, as `nats stream backup --no-consumers` does.
func (p *processes) save(ctx context.Context, name string) (*snapshot, error) {
	nc := p.js.Conn()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	inbox := nc.NewInbox()
	chunks, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = chunks.Unsubscribe() }()
	if err := chunks.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	s := &snapshot{name: name}
	var response struct {
		Config json.RawMessage `json:"config"`
		State  json.RawMessage `json:"state"`
	}
	request := map[string]any{"deliver_subject": inbox, "no_consumers": true}
	if err := p.request(ctx, "$JS.API.STREAM.SNAPSHOT."+name, request, &response); err != nil {
		return nil, err
	}
	s.config, s.state = response.Config, response.State
	for {
		m, err := chunks.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the snapshot of %s: %w", name, err)
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get("Status"); status != "" && status != "204" {
				return nil, fmt.Errorf("the snapshot of %s ended with %s %s", name, status, m.Header.Get("Description"))
			}
			return s, nil
		}
		s.chunks = append(s.chunks, m.Data)
		if m.Reply != "" {
			if err := nc.Publish(m.Reply, nil); err != nil {
				return nil, err
			}
		}
	}
}

// restoreOne restores a stream that does not exist, as `nats stream restore` does.
func (p *processes) restoreOne(ctx context.Context, s *snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var response struct {
		DeliverSubject string `json:"deliver_subject"`
	}
	err := persist(ctx, func(ctx context.Context) error {
		return p.request(ctx, "$JS.API.STREAM.RESTORE."+s.name,
			map[string]any{"config": s.config, "state": s.state}, &response)
	})
	if err != nil {
		return err
	}
	send := func(chunk []byte) (*nats.Msg, error) {
		return p.js.Conn().RequestWithContext(ctx, response.DeliverSubject, chunk)
	}
	for _, chunk := range s.chunks {
		m, err := send(chunk)
		if err != nil {
			return fmt.Errorf("restoring %s: %w", s.name, err)
		}
		if len(m.Data) > 0 {
			return fmt.Errorf("restoring %s: %s", s.name, m.Data)
		}
	}
	m, err := send(nil)
	if err != nil {
		return fmt.Errorf("restoring %s: %w", s.name, err)
	}
	var restored struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &restored); err != nil {
		return fmt.Errorf("decoding the response of restoring %s: %w", s.name, err)
	}
	if restored.Error != nil {
		return fmt.Errorf("restoring %s: %s", s.name, restored.Error.Description)
	}
	return nil
}
