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
	"statusworker/schema"
	"statusworker/schema/topology"
)

// paused returns the consumers that an operator has paused, and until when.
func paused(ctx context.Context, js jetstream.JetStream, set topology.Set) (names []string) {
	for _, want := range set.Consumers {
		c, err := js.Consumer(ctx, want.Stream, want.Config.Durable)
		if err != nil {
			continue
		}
		if info := c.CachedInfo(); info.Paused && info.Config.PauseUntil != nil {
			until := info.Config.PauseUntil.UTC().Format(time.RFC3339)
			names = append(names, fmt.Sprintf("%s %s until %s", want.Stream, want.Config.Durable, until))
		}
	}
	return names
}

func judgeTopology(
	n schema.Namespace, risks []topology.Difference, err error, mode consumer.Mode, paused []string, provision string,
) Finding {
	switch {
	case err == nil && len(paused) > 0:
		return bad(Warn, checkTopology, "`"+advice.NATS(n)+"consumer resume STREAM CONSUMER`",
			"paused: %s", strings.Join(paused, ", "))
	case err == nil && len(risks) > 0:
		return bad(Warn, checkTopology,
			"`"+provision+" --update`; for what NATS cannot change, see `Recreate a stream` in docs/deploy.md",
			"workers can run, but these differences make faults worse: %s", joined(risks))
	case err == nil:
		return pass(checkTopology, "the streams and consumers are correct, redelivery %s", mode)
	}
	var unfit *provisioning.TopologyError
	if !errors.As(err, &unfit) {
		return bad(Fail, checkTopology, "see the server's log", "%v", err)
	}
	if len(unfit.Differences) == 0 {
		return bad(Fail, checkTopology, advice.FixTopology(unfit), "there are no streams for statusworker")
	}
	return bad(Fail, checkTopology, advice.FixTopology(unfit), "%s", joined(unfit.Differences))
}

// deliveries looks for foreign consumers, and for messages that are not delivered.
func (x *broker) deliveries(ctx context.Context, js jetstream.JetStream, set topology.Set) {
	checks := []string{checkForeign, checkUndelivered}
	if slices.ContainsFunc(x.found, func(f Finding) bool { return f.Check == checkRead && f.Result != Pass }) {
		x.skip("the check `"+checkRead+"` must pass first", checks...)
		return
	}
	report, err := provisioning.Inspect(ctx, js, set)
	if err != nil {
		x.skip(err.Error(), checks...)
		return
	}
	x.add(judgeForeign(x.Work.Namespace, report.Foreign),
		judgeUndelivered(report.Undelivered,
			advice.Undelivered(x.mode, advice.ProvisionCommand(x.mode, x.Work)+" --update")))
}

func judgeForeign(n schema.Namespace, found []provisioning.Foreign) Finding {
	if len(found) == 0 {
		return pass(checkForeign, none)
	}
	return bad(Fail, checkForeign,
		"find the stream that sources or mirrors it (`"+advice.NATS(n)+"stream report`, in each account and domain "+
			"that can read it) and delete it; then declare the interactions without an outcome again",
		"%s", joined(found))
}

func judgeUndelivered(found []provisioning.Undelivered, remedy string) Finding {
	if len(found) == 0 {
		return pass(checkUndelivered, none)
	}
	return bad(Fail, checkUndelivered, remedy, "%s", joined(found))
}

func joined[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.String()
	}
	return strings.Join(texts, ", ")
}
