package provisioning

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/permission"
	"statusworker/schema/broker"
	"statusworker/schema/topology"
)

// stored reports whether a message is stored. It also returns the configuration of the stream, or nil if there is none.
func stored(ctx context.Context, js jetstream.JetStream, m topology.Message) (bool, *jetstream.StreamConfig, error) {
	s, err := js.Stream(ctx, m.Stream)
	if Absent(err) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, fmt.Errorf("reading stream %s: %w", m.Stream, err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(m.Subject))
	if err != nil {
		return false, nil, fmt.Errorf("reading stream %s: %w", m.Stream, err)
	}
	return info.State.Subjects[m.Subject] > 0, &info.Config, nil
}

// createMessages stores missing messages, as far as their streams accept the subjects. It returns what it stored, also
// with an error.
func createMessages(
	ctx context.Context, js jetstream.JetStream, want []topology.Message,
) (created []string, err error) {
	for _, m := range want {
		exists, cfg, err := stored(ctx, js, m)
		if err != nil {
			return created, err
		}
		if exists || cfg == nil || !slices.Contains(cfg.Subjects, m.Subject) {
			continue
		}
		err = permission.Guard(ctx, js.Conn(), func(ctx context.Context) error {
			_, err := adapter.New(js).Publish(ctx, broker.Publication{
				Subject: m.Subject, Data: m.Data, If: broker.Condition{Subjects: m.Subject},
			})
			return err
		}, m.Subject)
		switch {
		case errors.Is(err, broker.ErrRefused): // a worker stored it
		case err != nil:
			return created, fmt.Errorf("creating %s: %w", m.Object(), err)
		default:
			created = append(created, m.Object())
		}
	}
	return created, nil
}
