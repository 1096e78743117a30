package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/advice"
	"statusworker/consumer"
	"statusworker/schema/topology"
)

// paused are the consumers out of which the broker delivers nothing because an operator told it so, and until when.
func paused(ctx context.Context, js jetstream.JetStream, set topology.Set) (names []string) {
	for _, want := range set.Consumers {
		c, err := js.Consumer(ctx, want.Stream, want.Config.Durable)
		if err == nil && c.CachedInfo().Paused && c.CachedInfo().Config.PauseUntil != nil {
			names = append(
				names,
				fmt.Sprintf(
					"%s %s until %s",
					want.Stream,
					want.Config.Durable,
					c.CachedInfo().Config.PauseUntil.UTC().Format(time.RFC3339),
				),
			)
		}
	}
	return names
}

func judgeTopology(
	risks []topology.Difference,
	err error,
	mode consumer.Mode,
	paused []string,
	provision string,
) Finding {
	switch {
	case err == nil && len(paused) > 0:
		return bad(
			Warn,
			checkTopology,
			"`nats consumer resume` with the names of stream and consumer",
			"paused: %s",
			strings.Join(paused, ", "),
		)
	case err == nil && len(risks) > 0:
		return bad(
			Warn,
			checkTopology,
			"`"+provision+" --update`; for what NATS cannot change, see `Recreate a stream` in docs/deploy.md",
			"workers run, but a fault may cost more than it should: %s",
			joined(risks),
		)
	case err == nil:
		return pass(checkTopology, "the streams and consumers fit, redelivery %s", mode)
	}
	var unfit *provisioning.TopologyError
	if !errors.As(err, &unfit) {
		return bad(Fail, checkTopology, "see the server's log", "%v", err)
	}
	var differ []string
	for _, d := range unfit.Differences {
		differ = append(differ, d.String())
	}
	if len(differ) == 0 {
		differ = []string{"there are no streams for statusworker"}
	}
	return bad(Fail, checkTopology, advice.FixTopology(unfit), "%s", strings.Join(differ, ", "))
}

// deliveries looks for what takes messages away, and for what is not delivered.
func (x *broker) deliveries(ctx context.Context, js jetstream.JetStream, set topology.Set) {
	checks := []string{checkForeign, checkUndelivered}
	if slices.ContainsFunc(x.found, func(f Finding) bool { return f.Check == checkRead && f.Result != Pass }) {
		x.skip("it takes the "+checkRead, checks...)
		return
	}
	report, err := provisioning.Inspect(ctx, js, set)
	if err != nil {
		x.skip(err.Error(), checks...)
		return
	}
	x.add(judgeForeign(report.Foreign), judgeUndelivered(report.Undelivered, advice.ProvisionCommand(x.mode, x.Work)))
}

func judgeForeign(found []provisioning.Foreign) Finding {
	if len(found) == 0 {
		return pass(checkForeign, noLimits)
	}
	return bad(
		Fail,
		checkForeign,
		"find the stream that sources or mirrors it (`nats stream report`, in each account and domain that may read it) and delete it; "+
			"then declare again what has no outcome",
		"%s",
		joined(found),
	)
}

func judgeUndelivered(found []provisioning.Undelivered, provision string) Finding {
	if len(found) == 0 {
		return pass(checkUndelivered, noLimits)
	}
	return bad(Fail, checkUndelivered, "`"+provision+" --update` has them delivered", "%s", joined(found))
}

func joined[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.String()
	}
	return strings.Join(texts, ", ")
}
