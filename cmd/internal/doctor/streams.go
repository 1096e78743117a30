package doctor

import (
	"context"
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

// streams examines the streams, if the permissions allow it.
func (x *broker) streams(ctx context.Context) {
	checks := []string{
		checkTopology, checkFit, checkForeign, checkUndelivered, checkReplicas, checkStreamLimits, checkOutcomesAge,
		checkClock, checkOverdue,
	}
	if x.trial == nil {
		x.skip(noJetStream, checks...)
		return
	}
	for _, r := range readRights(x.api, x.Work.Namespace, x.mode) {
		if f := x.trial.judge(r); f.Result != Pass {
			x.skip("the check `"+r.check+"` must pass first", checks...)
			return
		}
	}
	js := permission.Wrap(x.js, patience.Guarded(x.nc))
	ctx, cancel := patience.WithTimeout(ctx, 3*answersWithin)
	defer cancel()
	provision := advice.ProvisionCommand(x.mode, x.Work)
	set := consumer.Topology(x.Work, consumer.Choices{Mode: x.mode})
	risks, err := x.Topology(ctx, js)
	x.add(judgeTopology(x.Work.Namespace, risks, err, x.mode, paused(ctx, js, set), provision))
	x.add(x.fit(ctx, js, set))
	x.deliveries(ctx, js, set)
	x.stored(ctx, js, provision)
}

// stored examines what the streams have stored, and the servers that store it.
func (x *broker) stored(ctx context.Context, js jetstream.JetStream, provision string) {
	infos := map[string]*jetstream.StreamInfo{}
	var read []*jetstream.StreamInfo
	for _, name := range x.Work.Namespace.Streams() {
		if s, err := js.Stream(ctx, name); err == nil {
			infos[name] = s.CachedInfo()
			read = append(read, s.CachedInfo())
		}
	}
	declared, outcomes := infos[x.Work.Namespace.StreamDeclared()], infos[x.Work.Namespace.StreamOutcomes()]
	if len(read) > 0 {
		x.add(judgeReplicas(read, x.nc.ConnectedClusterName() != "", provision))
	} else {
		x.skip("no streams", checkReplicas)
	}
	if declared == nil && outcomes == nil {
		x.skip("no stream "+x.Work.Namespace.StreamDeclared(), checkStreamLimits)
	} else {
		x.add(judgeStreamLimits(declared, infos[x.Work.Namespace.StreamPolls()], outcomes, provision))
	}
	if outcomes == nil {
		x.skip("no stream "+x.Work.Namespace.StreamOutcomes(), checkOutcomesAge)
	} else {
		x.add(judgeOutcomesAge(outcomes.Config.MaxAge, x.Work.Deadline, provision))
	}
	if len(read) == 0 {
		x.skip("no streams", checkClock)
	} else {
		x.add(x.clock(ctx, js, read))
	}
	if polls := infos[x.mode.PollStream(x.Work.Namespace)]; polls != nil {
		x.waiting = waiting{known: true, count: polls.State.Msgs}
		x.add(x.overdue(ctx, js))
	} else {
		x.skip("no stream "+x.mode.PollStream(x.Work.Namespace), checkOverdue)
	}
}

// judgeReplicas judges whether the streams survive the loss of a server.
func judgeReplicas(streams []*jetstream.StreamInfo, clustered bool, provision string) Finding {
	fewest := 0
	worst := pass(checkReplicas, "")
	var found, fixes []string
	for _, s := range streams {
		n := max(s.Config.Replicas, 1)
		if fewest == 0 || n < fewest {
			fewest = n
		}
		if !clustered {
			continue
		}
		for _, f := range judgeReplicasOf(s, n, provision) {
			if worst.Result == Pass || f.Result == Fail {
				worst.Result = f.Result
			}
			found = append(found, f.Found)
			if !slices.Contains(fixes, f.Fix) {
				fixes = append(fixes, f.Fix)
			}
		}
	}
	switch {
	case !clustered:
		return bad(Warn, checkReplicas,
			"for production, run a cluster of 3 servers and `"+provision+" --replicas 3 --update`",
			"%d, on a single server: no failover, and losing its disk loses all data", fewest)
	case worst.Result == Pass:
		return pass(checkReplicas, "%d or more of each stream, all current", fewest)
	}
	slices.Sort(fixes)
	return bad(worst.Result, checkReplicas, strings.Join(fixes, "; "), "%s", strings.Join(found, ", "))
}

// judgeReplicasOf judges a stream with n replicas in a cluster.
func judgeReplicasOf(s *jetstream.StreamInfo, n int, provision string) (found []Finding) {
	const fix = "check the servers; `nats server report jetstream`, as a user of the system account, shows them"
	name := s.Config.Name
	if n < 3 {
		more := "`" + provision + " --replicas 3 --update`"
		found = append(found, bad(Warn, checkReplicas, more, "%s: replicas %d", name, n))
	}
	if s.Cluster == nil {
		return found
	}
	behind := 0
	for _, peer := range s.Cluster.Replicas {
		switch {
		case peer.Offline:
			behind++
			found = append(found, bad(Warn, checkReplicas, fix, "%s: the replica on %s is offline", name, peer.Name))
		case !peer.Current:
			behind++
			found = append(found, bad(Warn, checkReplicas, fix, "%s: the replica on %s lags by %d operations",
				name, peer.Name, peer.Lag))
		}
	}
	switch {
	case s.Cluster.Leader == "":
		found = append(found, bad(Fail, checkReplicas, fix, "%s has no leader", name))
	case n-behind <= n/2:
		found = append(found, bad(Fail, checkReplicas, fix, "%s: no majority of its replicas is current", name))
	}
	return found
}

func judgeOutcomesAge(age, deadline time.Duration, provision string) Finding {
	kept, limit := schema.Duration(age), schema.Duration(deadline)
	switch {
	case age <= 0:
		return pass(checkOutcomesAge, "unlimited")
	case age <= deadline:
		return bad(Fail, checkOutcomesAge, "`"+provision+" --update` with --max-age longer than the deadline",
			"outcomes are kept for %s, the deadline is %s: an outcome can expire while its interaction still waits",
			kept, limit)
	}
	return pass(checkOutcomesAge, "kept for %s, the deadline is %s", kept, limit)
}
