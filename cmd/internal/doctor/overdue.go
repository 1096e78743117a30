package doctor

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
)

const checkOverdue = "overdue reservations"

// overdue counts the reservations that the broker should have published and has not.
func (x *broker) overdue(ctx context.Context, js jetstream.JetStream) Finding {
	if x.mode == consumer.Nak {
		return pass(checkOverdue, "none: redelivery nak has no reservations")
	}
	if read := x.api.Subject("STREAM.MSG.GET", x.Work.Namespace.StreamPolls()); x.trial.refused[read] {
		return skipped("the user may not publish to "+read, "see "+checkRead, checkOverdue)[0]
	}
	polls, err := js.Stream(ctx, x.Work.Namespace.StreamPolls())
	if err != nil {
		return skipped(err.Error(), "", checkOverdue)[0]
	}
	found, err := overview.CountOverdue(ctx, js, x.Work.Namespace, polls.CachedInfo().TimeStamp)
	if err != nil {
		return skipped(err.Error(), "", checkOverdue)[0]
	}
	return judgeOverdue(x.Work.Namespace, *found)
}

func judgeOverdue(n schema.Namespace, o overview.Overdue) Finding {
	if o.Count == 0 {
		return pass(checkOverdue, none)
	}
	more := ""
	if o.More {
		more = " or more"
	}
	return bad(Warn, checkOverdue, advice.FixOverdue(n), "%d%s, the oldest for %s: their interactions are not polled",
		o.Count, more, schema.Duration((time.Duration(o.FirstSeconds) * time.Second).Round(time.Second)))
}
