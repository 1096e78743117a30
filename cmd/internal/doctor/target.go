package doctor

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/mask"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema/topology"
)

// connectTimeout limits the connection to one server.
const connectTimeout = 3 * time.Second

// At returns the target of the broker that the flags name, without a vendor. Connections have the given name.
func At(f connect.Flags, name string, work consumer.Config) (Target, error) {
	silent := logrus.New()
	silent.SetOutput(io.Discard) // the findings report it
	options, err := f.Options(name, silent)
	if err != nil {
		return Target{}, err
	}
	options = append(options, nats.NoReconnect(), nats.Timeout(connectTimeout))
	return Target{
		Connect: func() (*nats.Conn, error) {
			nc, err := f.Dial(options...)
			if err != nil {
				return nil, fmt.Errorf("connecting to NATS at %s: %w", f.ShownURL(), err)
			}
			return nc, nil
		},
		FixConnection: func(err error) string {
			if connect.Permanent(err) {
				return f.Hint(err)
			}
			return "start the server, or correct " + f.Name("nats-url")
		},
		Shown:     mask.URL,
		JetStream: f.JetStream,
		Topology: func(ctx context.Context, js jetstream.JetStream) ([]topology.Difference, error) {
			return risks(ctx, js, work)
		},
		Work: work,
	}, nil
}

// risks returns the differences with which a worker starts, but does not keep all its promises.
func risks(ctx context.Context, js jetstream.JetStream, cfg consumer.Config) ([]topology.Difference, error) {
	outcomes := publisher.Topology(publisher.Choices{Namespace: cfg.Namespace, MaxAge: publisher.DefaultMaxAge})
	mode, err := provisioning.Check(ctx, js, cfg, outcomes) // the server's version is another check
	if err != nil {
		return nil, err
	}
	set := consumer.Topology(cfg, consumer.Choices{Mode: mode}).Add(outcomes)
	differ, err := provisioning.Compare(ctx, js, set)
	return slices.DeleteFunc(differ, func(d topology.Difference) bool { return !d.Risk }), err
}
