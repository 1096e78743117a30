package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/patience"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// The checks of the broker.
const (
	checkConnection   = "connection"
	checkTLS          = "tls"
	checkCertificate  = "certificate"
	checkPayload      = "max payload"
	checkVersion      = "server version"
	checkInbox        = "permission inbox"
	checkStreamInfo   = "permission stream info"
	checkConsumerInfo = "permission consumer info"
	checkHold         = "permission hold"
	checkProcessed    = "permission processed"
	checkFailed       = "permission failed"
	checkAnnounce     = "permission announce"
	checkPull         = "permission pull"
	checkRead         = "permission read back"
	checkAck          = "permission ack"
	checkJetStream    = "jetstream"
	checkAccount      = "account limits"
	checkTopology     = "topology"
	checkReplicas     = "replicas"
	checkStreamLimits = "stream limits"
	checkOutcomesAge  = "outcomes age"
	checkClock        = "clock"
	checkForeign      = "foreign consumers"
	checkUndelivered  = "undelivered messages"
)

// held is how many interactions are held back now, where that is known.
type held struct {
	known bool
	count uint64
}

func examineBroker(ctx context.Context, p Target) ([]Finding, held) {
	nc, err := p.Connect()
	if err != nil {
		found := []Finding{bad(Fail, checkConnection, p.FixConnection(err), "%v", err)}
		return append(found, skipped("there is no connection to NATS", "", checkTLS, checkCertificate, checkPayload, checkVersion,
			checkInbox, checkStreamInfo, checkConsumerInfo, checkHold, checkProcessed, checkFailed, checkAnnounce, checkPull, checkRead, checkAck,
			checkJetStream, checkAccount, checkTopology, checkForeign, checkUndelivered, checkReplicas, checkStreamLimits, checkOutcomesAge, checkClock, checkOverdue)...), held{}
	}
	defer nc.Close()
	x := &broker{Target: p, nc: nc, mode: consumer.Schedule}
	x.connection()
	x.rights()
	x.streams(ctx)
	return x.found, x.held
}

// broker is the examination of a broker that lets us in.
type broker struct {
	Target
	nc    *nats.Conn
	found []Finding
	trial *trial // nil where there is no inbox
	mode  consumer.Mode
	held  held
}

func (x *broker) add(found ...Finding) { x.found = append(x.found, found...) }

func (x *broker) skip(why string, checks ...string) { x.add(skipped(why, "", checks...)...) }

func (x *broker) connection() {
	x.add(pass(checkConnection, "%s, server %s", x.Shown(x.nc.ConnectedUrl()), x.nc.ConnectedServerName()))
	var state *tls.ConnectionState
	if s, err := x.nc.TLSConnectionState(); err == nil {
		state = &s
	}
	x.add(judgeTLS(checkTLS, x.nc.ConnectedAddr(), state, "configure TLS on the server, and a tls:// URL in --nats-url ($NATS_URL)"),
		judgeCertificates(checkCertificate, state, time.Now()), judgePayload(x.nc.MaxPayload()))
}

func judgePayload(most int64) Finding {
	if least := int64(schema.MaxMessageBytes); most < least {
		return bad(Fail, checkPayload, fmt.Sprintf("set max_payload to %d or more in the server's configuration", least), "%d bytes; an outcome can take %d", most, least)
	}
	return pass(checkPayload, "%d bytes", most)
}

// rights tries them, and finds out on the way whether there is JetStream, and which way of holding back the streams are
// made for.
func (x *broker) rights() {
	work := []string{checkHold, checkProcessed, checkFailed, checkAnnounce, checkPull, checkRead, checkAck}
	t, err := newTrial(x.nc)
	if err != nil {
		x.add(bad(Fail, checkInbox, "allow the user to subscribe to "+x.nc.Opts.InboxPrefix+".>, or name its own prefix in --nats-inbox-prefix ($NATS_INBOX_PREFIX)",
			"may not subscribe to %s.>: no answer reaches this user (%v)", x.nc.Opts.InboxPrefix, err))
		x.skip("there is no inbox for answers", append([]string{checkStreamInfo, checkConsumerInfo}, work...)...)
		x.skip("there is no inbox for answers", checkJetStream, checkAccount)
		x.add(judgeVersion(x.nc.ConnectedServerVersion(), x.mode, false))
		return
	}
	x.add(pass(checkInbox, "may subscribe to %s.>", x.nc.Opts.InboxPrefix))
	x.trial = t

	read := readRights(consumer.Schedule)
	account := right{check: checkAccount}
	account.api("INFO", "")
	err = t.ask(append(read, account))
	jetStream := t.judgeJetStream(read[0])
	if err != nil {
		jetStream = bad(Fail, checkJetStream, "look at the server's log", "%v", err)
	}
	if jetStream.Result == Fail {
		x.add(jetStream)
		x.skip("JetStream does not answer", append([]string{checkAccount, checkStreamInfo, checkConsumerInfo}, work...)...)
		x.add(judgeVersion(x.nc.ConnectedServerVersion(), x.mode, false))
		x.trial = nil
		return
	}
	mode, provisioned := t.mode()
	x.mode = mode
	x.add(jetStream, t.judgeAccount(account), judgeVersion(x.nc.ConnectedServerVersion(), mode, provisioned))
	for _, r := range readRights(mode) {
		x.add(t.judge(r))
	}
	rights := workRights(mode)
	if err := t.ask(rights); err != nil {
		x.add(bad(Fail, "permissions", "look at the server's log", "%v", err))
	}
	for _, r := range rights {
		x.add(t.judge(r))
	}
}

// apiError is the error in an answer of JetStream.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// The errors of a server or an account without JetStream.
const (
	notEnabledForAccount = 10039
	notEnabled           = 10076
)

// decode reads an answer of JetStream. It is false where there was none, or none of JetStream's.
func (t *trial) decode(subject string, to any) (problem apiError, ok bool) {
	m := t.answers[subject]
	if m == nil || len(m.Data) == 0 {
		return apiError{}, false
	}
	var answer struct {
		Error apiError `json:"error"`
	}
	if json.Unmarshal(m.Data, &answer) != nil || to != nil && json.Unmarshal(m.Data, to) != nil {
		return apiError{}, false
	}
	return answer.Error, true
}

// judgeJetStream says whether JetStream is on, by what became of the questions for streams.
func (t *trial) judgeJetStream(streams right) Finding {
	const fix = "start nats-server with -js or a jetstream block, and give the user's account jetstream"
	refused, nobody := 0, 0
	for _, try := range streams.tries {
		if problem, ok := t.decode(try.subject, nil); ok {
			if problem.ErrCode == notEnabled || problem.ErrCode == notEnabledForAccount {
				return bad(Fail, checkJetStream, fix, "off: %s", problem.Description)
			}
			if problem.Code == 503 {
				return bad(Fail, checkJetStream, "wait until the cluster has a leader; see `nats server report jetstream`", "it cannot answer: %s", problem.Description)
			}
			return pass(checkJetStream, "on")
		}
		switch m := t.answers[try.subject]; {
		case t.refused[try.subject]:
			refused++
		case m != nil && m.Header.Get("Status") == "503":
			nobody++
		}
	}
	switch {
	case nobody > 0:
		return bad(Fail, checkJetStream, fix, "off: nobody answers its questions")
	case refused == len(streams.tries):
		return skipped("the user may ask for no stream", "see "+checkStreamInfo, checkJetStream)[0]
	}
	return bad(Fail, checkJetStream, "wait until the cluster has a leader; see the server's log", "no answer within %s", answersWithin)
}

// mode reads from the answers which way of holding back the streams are made for, and whether there are any.
func (t *trial) mode() (mode consumer.Mode, provisioned bool) {
	there := func(question string) bool {
		problem, ok := t.decode(jetstream.DefaultAPIPrefix+question, nil)
		return ok && problem.Code == 0
	}
	switch {
	case there("STREAM.INFO." + schema.StreamPolls):
		return consumer.Schedule, true
	case there("CONSUMER.INFO." + schema.StreamDeclared + "." + schema.ConsumerIntake):
		return consumer.Schedule, true
	case there("CONSUMER.INFO." + schema.StreamDeclared + "." + schema.PollConsumer(schema.Audio)):
		return consumer.Nak, true
	}
	return consumer.Schedule, false
}

// judgeVersion says which way of holding back the server is good for, and which faults it is known to have.
func judgeVersion(version string, mode consumer.Mode, provisioned bool) Finding {
	usable := func(m consumer.Mode) bool { return topology.CheckServer(version, waitingStreams(m)) == nil }
	var found, fixes []string
	for _, f := range topology.ServerFaults(version, waitingStreams(mode)) {
		found = append(found, f.What)
		if f.Unsound {
			continue
		}
		if f.Fixed != "" {
			fixes = append(fixes, "upgrade to "+f.Fixed+" or newer")
		}
		if f.Do != "" {
			fixes = append(fixes, f.Do)
		}
	}
	const upgrade = "upgrade to " + topology.MinServers
	judged := func(r Result) Finding {
		return bad(r, checkVersion, strings.Join(fixes, "; "), "%s: %s", version, strings.Join(found, "; "))
	}
	switch {
	case !usable(mode) && !provisioned && usable(consumer.Nak):
		fixes = []string{upgrade + ", or use `statusworker provision --redelivery nak`"}
		return judged(Warn)
	case !usable(mode):
		fixes = []string{upgrade}
		return judged(Fail)
	case mode == consumer.Nak && usable(consumer.Schedule):
		found = append(found, "it has message schedules, but the streams are made for delayed naks, which a killed broker forgets")
		fixes = append(fixes, "change over to reservations, see docs/design.md")
		return judged(Warn)
	case mode == consumer.Nak:
		found = append(found, "delayed naks only, which a killed broker forgets")
		fixes = append(fixes, upgrade+", then change over to reservations")
		return judged(Warn)
	case len(found) > 0:
		return judged(Warn)
	}
	return pass(checkVersion, "%s: it has message schedules", version)
}

// waitingStreams are the streams that interactions wait in, and the bucket of the workers.
func waitingStreams(mode consumer.Mode) []jetstream.StreamConfig {
	return consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode}).Streams
}

// judgeAccount says how much of the account's limits is used.
func (t *trial) judgeAccount(r right) Finding {
	subject := r.tries[0].subject
	if t.refused[subject] {
		return skipped("the user may not publish "+subject, "allow it to have the limits checked; a worker does not need it", checkAccount)[0]
	}
	var info jetstream.AccountInfo
	problem, ok := t.decode(subject, &info)
	if !ok || problem.Code != 0 {
		return skipped("no answer to "+subject+" "+problem.Description, "", checkAccount)[0]
	}
	tiers := map[string]jetstream.Tier{"": info.Tier}
	for name, tier := range info.Tiers {
		tiers[name] = tier
	}
	return judgeLimits(tiers)
}

// The shares of a limit that are worth a warning, and a failure.
const (
	nearly = 0.8
	full   = 0.97
)

func judgeLimits(tiers map[string]jetstream.Tier) Finding {
	var uses []use
	for name, t := range tiers {
		if name != "" {
			name = " (" + name + ")"
		}
		uses = append(uses, use{"storage" + name, t.Store, uint64(max(0, t.Limits.MaxStore))},
			use{"memory" + name, t.Memory, uint64(max(0, t.Limits.MaxMemory))})
	}
	return judgeUses(checkAccount, "raise the account's limits, or let outcomes go sooner (--max-age of `statusworker provision`)", uses)
}

// use is how much of something is used; a limit of 0 is none.
type use struct {
	what        string
	used, limit uint64
}

// noLimits is what there is to say of uses without a limit, and where nothing was found.
const noLimits = "none"

func judgeUses(check, fix string, uses []use) Finding {
	result := Pass
	var words []string
	slices.SortFunc(uses, func(a, b use) int { return strings.Compare(a.what, b.what) })
	for _, u := range uses {
		if u.limit == 0 {
			continue
		}
		share := float64(u.used) / float64(u.limit)
		words = append(words, fmt.Sprintf("%s %d of %d (%.0f %%)", u.what, u.used, u.limit, 100*share))
		switch {
		case share >= full:
			result = Fail
		case share >= nearly && result == Pass:
			result = Warn
		}
	}
	if len(words) == 0 {
		return pass(check, noLimits)
	}
	f := pass(check, "%s", strings.Join(words, ", "))
	if result != Pass {
		f.Result, f.Fix = result, fix
	}
	return f
}

// streams looks at the streams, as far as the rights go.
func (x *broker) streams(ctx context.Context) {
	checks := []string{checkTopology, checkForeign, checkUndelivered, checkReplicas, checkStreamLimits, checkOutcomesAge, checkClock, checkOverdue}
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

// paused are the consumers out of which the broker delivers nothing because an operator told it so, and until when.
func paused(ctx context.Context, js jetstream.JetStream, set topology.Set) (names []string) {
	for _, want := range set.Consumers {
		c, err := js.Consumer(ctx, want.Stream, want.Config.Durable)
		if err == nil && c.CachedInfo().Paused && c.CachedInfo().Config.PauseUntil != nil {
			names = append(names, fmt.Sprintf("%s %s until %s", want.Stream, want.Config.Durable, c.CachedInfo().Config.PauseUntil.UTC().Format(time.RFC3339)))
		}
	}
	return names
}

func judgeTopology(risks []topology.Difference, err error, mode consumer.Mode, paused []string, provision string) Finding {
	switch {
	case err == nil && len(paused) > 0:
		return bad(Warn, checkTopology, "`nats consumer resume` with the names of stream and consumer", "paused: %s", strings.Join(paused, ", "))
	case err == nil && len(risks) > 0:
		return bad(Warn, checkTopology, "`"+provision+" --update`; what it cannot change takes another stream: see docs/operations.md, Make a stream anew",
			"workers run, but a fault may cost more than it should: %s", joined(risks))
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
	return bad(Fail, checkForeign, "find the stream that sources or mirrors it (`nats stream report`, in each account and domain that may read it) and delete it; "+
		"then declare again what has no outcome", "%s", joined(found))
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
			return bad(Warn, checkReplicas, "for production, a cluster of 3 servers and `"+provision+" --replicas 3 --update`",
				"%d; the server is alone: without it nothing moves, and with its disk everything is lost", fewest)
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

// judgeStreamLimits says how full the streams are: the one at whose limit producers are refused, and the one that lets its
// oldest go at it.
func judgeStreamLimits(declared, outcomes *jetstream.StreamInfo, provision string) Finding {
	uses := func(what string, s *jetstream.StreamInfo) []use {
		if s == nil {
			return nil
		}
		return []use{
			{what, s.State.Msgs, uint64(max(0, s.Config.MaxMsgs))},
			{"bytes of " + what, s.State.Bytes, uint64(max(0, s.Config.MaxBytes))},
		}
	}
	waiting := judgeUses(checkStreamLimits, "start more workers, or raise the bounds (`"+provision+" --update` with --declared-max-msgs or --declared-max-bytes): producers are refused at them",
		uses("declared messages", declared))
	ended := judgeUses(checkStreamLimits, "`"+provision+" --update`, with --outcomes-max-bytes for more bytes: at a bound the oldest outcomes go before their age, or no more are stored",
		uses("outcomes", outcomes))
	if ended.Result == Fail {
		ended.Result = Warn
	}
	switch {
	case ended.Result == Pass && ended.Found == noLimits:
		return waiting
	case waiting.Result == Pass && waiting.Found == noLimits:
		return ended
	case waiting.Result == Pass:
		waiting.Result = ended.Result
	}
	waiting.Found += ", " + ended.Found
	waiting.Fix = strings.Join(slices.DeleteFunc([]string{waiting.Fix, ended.Fix}, func(s string) bool { return s == "" }), "; ")
	return waiting
}

func judgeOutcomesAge(age, deadline time.Duration, provision string) Finding {
	switch {
	case age <= 0:
		return pass(checkOutcomesAge, "kept for good")
	case age <= deadline:
		return bad(Fail, checkOutcomesAge, "`"+provision+" --update` with --max-age, more than the deadline",
			"outcomes are kept for %s, the deadline is %s: an outcome can be gone while its interaction still waits", schema.Duration(age), schema.Duration(deadline))
	}
	return pass(checkOutcomesAge, "kept for %s, the deadline is %s", schema.Duration(age), schema.Duration(deadline))
}

const clockSamples = 3

// clockOffset is how far a server's clock is ahead of this host's, give or take.
type clockOffset struct{ offset, uncertain time.Duration }

// clock compares this host's clock with those of the servers that lead the streams, as far as they can be asked.
func (x *broker) clock(ctx context.Context, js jetstream.JetStream, streams []*jetstream.StreamInfo) Finding {
	leaders := map[string]clockOffset{}
	for range clockSamples {
		for _, known := range streams {
			asked := time.Now()
			s, err := js.Stream(ctx, known.Config.Name)
			took := time.Since(asked)
			if err != nil {
				return skipped(err.Error(), "", checkClock)[0]
			}
			info, leader := s.CachedInfo(), ""
			if info.Cluster != nil {
				leader = info.Cluster.Leader
			}
			if best, ok := leaders[leader]; !ok || took/2 < best.uncertain {
				leaders[leader] = clockOffset{info.TimeStamp.Sub(asked.Add(took / 2)), took / 2}
			}
		}
	}
	return judgeClocks(leaders)
}

const (
	// mostSkew is how far the broker's clock and this host's may be apart without a word.
	mostSkew = time.Second
	// mostSpread is how far those of two servers may be: half of what a reservation waits longer than the guidance.
	mostSpread = 500 * time.Millisecond
)

// judgeClocks judges the clocks of the streams' leaders against this host's, and against each other.
func judgeClocks(leaders map[string]clockOffset) Finding {
	var first, last, farthest clockOffset
	for i, name := range slices.Sorted(maps.Keys(leaders)) {
		c := leaders[name]
		if i == 0 || c.offset < first.offset {
			first = c
		}
		if i == 0 || c.offset > last.offset {
			last = c
		}
		if c.offset.Abs() >= farthest.offset.Abs() {
			farthest = c
		}
	}
	f := judgeClock(farthest.offset, farthest.uncertain)
	if len(leaders) < 2 {
		return f
	}
	spread, uncertain := last.offset-first.offset, last.uncertain+first.uncertain
	f.Found += fmt.Sprintf("; those of %d servers are within %s of each other, give or take %s",
		len(leaders), schema.Duration(spread.Round(time.Millisecond)), schema.Duration(uncertain.Round(time.Millisecond)))
	if spread-uncertain > mostSpread {
		f.Result, f.Fix = Warn, "run NTP on all servers; when another one takes the lead, polls can be early by as much as their clocks are apart"
	}
	return f
}

func judgeClock(offset, uncertain time.Duration) Finding {
	side := "ahead of"
	if offset < 0 {
		side = "behind"
	}
	found := fmt.Sprintf("the broker's clock is %s %s this host's, give or take %s", schema.Duration(offset.Abs().Round(time.Millisecond)), side, schema.Duration(uncertain.Round(time.Millisecond)))
	if offset.Abs() <= max(uncertain, time.Millisecond) {
		found = fmt.Sprintf("the broker's clock agrees with this host's within %s", schema.Duration(max(uncertain.Round(time.Millisecond), time.Millisecond)))
	}
	if offset.Abs()-uncertain > mostSkew {
		return bad(Warn, checkClock, "run NTP on both; the worker corrects for it, but ages and logs do not agree", "%s", found)
	}
	return pass(checkClock, "%s", found)
}
