package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/patience"
	"statusworker/consumer"
	"statusworker/schema"
)

// streams looks at the streams, as far as the rights go.
func (x *broker) streams(ctx context.Context) {
	checks := []string{
		checkTopology,
		checkForeign,
		checkUndelivered,
		checkReplicas,
		checkStreamLimits,
		checkOutcomesAge,
		checkClock,
		checkOverdue,
	}
	if x.trial == nil {
		x.skip("JetStream cannot be asked", checks...)
		return
	}
	for _, r := range readRights(x.mode) {
		if f := x.trial.judge(r); f.Result != Pass {
			x.skip("it takes the "+r.check, checks...)
			return
		}
	}
	js, err := jetstream.New(x.nc)
	if err != nil {
		x.skip(err.Error(), checks...)
		return
	}
	js = permission.Wrap(js, patience.Guarded(x.nc))
	ctx, cancel := patience.WithTimeout(ctx, 3*answersWithin)
	defer cancel()
	provision := advice.ProvisionCommand(x.mode, x.Work)
	set := consumer.Topology(x.Work, consumer.Choices{Mode: x.mode})
	risks, err := x.Topology(ctx, js)
	x.add(judgeTopology(risks, err, x.mode, paused(ctx, js, set), provision))
	x.deliveries(ctx, js, set)
	x.stored(ctx, js, provision)
}

// stored looks at what the streams hold, and at the servers that hold it.
func (x *broker) stored(ctx context.Context, js jetstream.JetStream, provision string) {
	infos := map[string]*jetstream.StreamInfo{}
	var read []*jetstream.StreamInfo
	for _, name := range schema.Streams() {
		if s, err := js.Stream(ctx, name); err == nil {
			infos[name] = s.CachedInfo()
			read = append(read, s.CachedInfo())
		}
	}
	declared, outcomes := infos[schema.StreamDeclared], infos[schema.StreamOutcomes]
	if len(read) > 0 {
		x.add(judgeReplicas(read, x.nc.ConnectedClusterName() != "", provision))
	} else {
		x.skip("there is no stream", checkReplicas)
	}
	if declared == nil && outcomes == nil {
		x.skip("there is no stream "+schema.StreamDeclared, checkStreamLimits)
	} else {
		x.add(judgeStreamLimits(declared, outcomes, provision))
	}
	if outcomes == nil {
		x.skip("there is no stream "+schema.StreamOutcomes, checkOutcomesAge)
	} else {
		x.add(judgeOutcomesAge(outcomes.Config.MaxAge, x.Work.Deadline, provision))
	}
	if len(read) == 0 {
		x.skip("there is no stream to ask", checkClock)
	} else {
		x.add(x.clock(ctx, js, read))
	}
	if waiting := infos[x.mode.PollStream()]; waiting != nil {
		x.held = held{known: true, count: waiting.State.Msgs}
		x.add(x.overdue(ctx, js))
	} else {
		x.skip("there is no stream "+x.mode.PollStream(), checkOverdue)
	}
}

// judgeReplicas says whether the streams outlive the loss of a server.
func judgeReplicas(streams []*jetstream.StreamInfo, clustered bool, provision string) Finding {
	result := Pass
	var words []string
	fixes := map[string]bool{}
	worse := func(r Result, fix, format string, args ...any) {
		if result == Pass || r == Fail {
			result = r
		}
		fixes[fix] = true
		words = append(words, fmt.Sprintf(format, args...))
	}
	const look = "see to the servers, and `nats server report jetstream`"
	fewest := 0
	for _, s := range streams {
		n := max(s.Config.Replicas, 1)
		if fewest == 0 || n < fewest {
			fewest = n
		}
		if !clustered {
			continue
		}
		name := s.Config.Name
		if n < 3 {
			worse(Warn, "`"+provision+" --replicas 3 --update`", "%s has %d of its messages' copies", name, n)
		}
		if s.Cluster == nil {
			continue
		}
		behind := 0
		for _, peer := range s.Cluster.Replicas {
			switch {
			case peer.Offline:
				behind++
				worse(Warn, look, "%s: the copy on %s is offline", name, peer.Name)
			case !peer.Current:
				behind++
				worse(Warn, look, "%s: the copy on %s lags, by %d operations", name, peer.Name, peer.Lag)
			}
		}
		switch {
		case s.Cluster.Leader == "":
			worse(Fail, look, "%s has no leader", name)
		case n-behind <= n/2:
			worse(Fail, look, "%s has no majority of its copies", name)
		}
	}
	if result == Pass {
		if !clustered {
			return bad(
				Warn,
				checkReplicas,
				"for production, a cluster of 3 servers and `"+provision+" --replicas 3 --update`",
				"%d; the server is alone: without it nothing moves, and with its disk everything is lost",
				fewest,
			)
		}
		return pass(checkReplicas, "%d or more of each stream, all current", fewest)
	}
	var fix []string
	for m := range fixes {
		fix = append(fix, m)
	}
	slices.Sort(fix)
	return bad(result, checkReplicas, strings.Join(fix, "; "), "%s", strings.Join(words, ", "))
}

func judgeOutcomesAge(age, deadline time.Duration, provision string) Finding {
	switch {
	case age <= 0:
		return pass(checkOutcomesAge, "kept for good")
	case age <= deadline:
		return bad(
			Fail,
			checkOutcomesAge,
			"`"+provision+" --update` with --max-age, more than the deadline",
			"outcomes are kept for %s, the deadline is %s: an outcome can be gone while its interaction still waits",
			schema.Duration(age),
			schema.Duration(deadline),
		)
	}
	return pass(checkOutcomesAge, "kept for %s, the deadline is %s", schema.Duration(age), schema.Duration(deadline))
}
