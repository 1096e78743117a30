package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/api"
	"statusworker/cmd/broker/permission"
	"statusworker/consumer"
	"statusworker/schema"
)

// rights tries the permissions. It also determines whether JetStream is enabled, and which redelivery mode the streams
// are provisioned for.
func (x *broker) rights() {
	work := []string{checkHold, checkProcessed, checkFailed, checkAnnounce, checkPull, checkRead, checkAck, checkList}
	t, err := newTrial(x.nc, x.api)
	if err != nil {
		prefix := x.nc.Opts.InboxPrefix
		x.add(bad(Fail, checkInbox,
			"allow the user to subscribe to "+prefix+".>, or set its own prefix with --nats-inbox-prefix "+
				"($NATS_INBOX_PREFIX)",
			"may not subscribe to %s.>: no answer can reach this user (%v)", prefix, err))
		const why = "no inbox for answers"
		x.skip(why, append([]string{checkStreamInfo, checkConsumerInfo}, work...)...)
		x.skip(why, checkJetStream, checkAccount)
		x.add(judgeVersion(x.Work.Namespace, x.nc.ConnectedServerVersion(), x.mode, false))
		return
	}
	x.add(pass(checkInbox, "may subscribe to %s.>", x.nc.Opts.InboxPrefix))
	x.trial = t

	n := x.Work.Namespace
	read := readRights(x.api, n, consumer.Schedule)
	account := right{check: checkAccount, prefix: x.api}
	account.api("", "INFO")
	err = t.ask(append(read, account))
	jetStream := t.judgeJetStream(read[0])
	if err != nil {
		jetStream = bad(Fail, checkJetStream, "see the server's log", "%v", err)
	}
	if jetStream.Result == Fail {
		x.add(jetStream)
		x.skip(noJetStream, append([]string{checkAccount, checkStreamInfo, checkConsumerInfo}, work...)...)
		x.add(judgeVersion(x.Work.Namespace, x.nc.ConnectedServerVersion(), x.mode, false))
		x.trial = nil
		return
	}
	mode, provisioned := t.mode(x.Work.Namespace)
	x.mode = mode
	version := judgeVersion(n, x.nc.ConnectedServerVersion(), mode, provisioned)
	x.add(jetStream, t.judgeAccount(account), version)
	for _, r := range readRights(x.api, n, mode) {
		x.add(t.judge(r))
	}
	rights := workRights(x.api, n, mode)
	if x.operator {
		rights = slices.DeleteFunc(rights, func(r right) bool { return slices.Contains(ofWorkers, r.check) })
	}
	if err := t.ask(rights); err != nil {
		x.add(bad(Fail, "permissions", "see the server's log", "%v", err))
	}
	for _, r := range rights {
		x.add(t.judge(r))
	}
}

// noJetStream is why checks are skipped if JetStream does not answer.
const noJetStream = "JetStream does not answer"

// right is a permission to publish that the worker needs. Trying it changes nothing:
//
//   - a stream rejects a message that expects another stream (10060);
//   - a pull request whose body is not JSON is rejected (400) and takes no message;
//   - reading a message that does not exist fails (10037);
//   - an in-progress for a delivery that does not exist has no effect.
//
// If the user may not publish to the subject, the server reports a permissions violation before any of these.
type right struct {
	check  string
	prefix api.Prefix
	tries  []try
	// without is what is missing without the permission, if a worker can work without it.
	without string
}

type try struct {
	subject string
	// shown is the subject as the findings show it, allow the subject or pattern to allow.
	shown, allow string
	// mapped is the subject to which servers of the domain map the subject. They check the permission for it.
	mapped string

	header nats.Header
	body   string
}

const (
	// missingStream is the name of a stream that does not exist.
	missingStream = "STATUSWORKER_DOCTOR"
	// missingSequence is a sequence that no stream reaches.
	missingSequence = 1<<63 - 1
)

// readRights are the permissions for what a worker reads when it starts.
func readRights(prefix api.Prefix, n schema.Namespace, mode consumer.Mode) []right {
	streams := right{check: checkStreamInfo, prefix: prefix}
	for _, s := range n.Streams() {
		streams.api("", "STREAM.INFO", s)
	}
	consumers := right{check: checkConsumerInfo, prefix: prefix}
	consumers.api("", "CONSUMER.INFO", n.StreamDeclared(), n.ConsumerIntake())
	for _, t := range schema.Types() {
		consumers.api("", "CONSUMER.INFO", n.StreamDeclared(), n.PollConsumer(t))
		if mode == consumer.Schedule {
			consumers.api("", "CONSUMER.INFO", n.StreamPolls(), n.PollConsumer(t))
		}
	}
	return []right{streams, consumers}
}

// workRights are the permissions that a worker needs to work.
func workRights(prefix api.Prefix, n schema.Namespace, mode consumer.Mode) []right {
	to := func(check string) right { return right{check: check, prefix: prefix} }
	hold, processed, failed, announce := to(checkHold), to(checkProcessed), to(checkFailed), to(checkAnnounce)
	pull, read, ack := to(checkPull), to(checkRead), to(checkAck)

	lanes := mode.PollStream(n)
	read.read(lanes)
	if mode == consumer.Schedule {
		pull.pull(n.StreamDeclared(), n.ConsumerIntake())
		ack.ack(n.StreamDeclared(), n.ConsumerIntake())
	}
	for _, t := range schema.Types() {
		hold.store(func(id string) string { return n.HoldSubject(t, id) }, n.SubjectsHold())
		pull.pull(lanes, n.PollConsumer(t))
		ack.ack(lanes, n.PollConsumer(t))
	}
	for _, d := range schema.Destinations() {
		processed.store(func(id string) string { return n.ProcessedSubject(d, id) }, n.SubjectsProcessed())
	}
	for _, r := range schema.Reasons() {
		failed.store(func(id string) string { return n.FailedSubject(r, id) }, n.SubjectsFailed())
	}
	announce.store(n.WorkerSubject, n.WorkerSubject("*"))
	read.read(n.StreamOutcomes())
	read.direct(n.StreamWorkers(), n.WorkerSubject(uuid.NewString()))
	names := to(checkList)
	names.without = "no metric shows whether consumers of outcomes keep up"
	names.api("", "CONSUMER.LIST", n.StreamOutcomes())
	rs := []right{processed, failed, announce, pull, read, ack, names}
	if mode == consumer.Schedule {
		rs = append([]right{hold}, rs...)
	}
	return rs
}

func (r *right) api(body, what string, of ...string) {
	subject := r.prefix.Subject(what, of...)
	r.tries = append(r.tries, try{
		subject: subject, shown: subject, allow: subject, mapped: api.Default.Subject(what, of...), body: body,
	})
}

// store tries the subject of an interaction or worker that does not exist.
func (r *right) store(subject func(string) string, allow string) {
	mapped := subject(uuid.NewString())
	r.tries = append(r.tries, try{
		subject: r.prefix.Published(mapped), shown: r.prefix.Published(subject("*")), allow: r.prefix.Published(allow),
		mapped: mapped, header: nats.Header{jetstream.ExpectedStreamHeader: {missingStream}},
	})
}

func (r *right) pull(stream, name string) { r.api("{no", "CONSUMER.MSG.NEXT", stream, name) }

func (r *right) read(stream string) {
	r.api(fmt.Sprintf(`{"seq":%d}`, uint64(missingSequence)), "STREAM.MSG.GET", stream)
}

// direct tries to read the last message of a subject that has none.
func (r *right) direct(stream, subject string) {
	pattern := r.prefix.Subject("DIRECT.GET", stream, ">")
	r.tries = append(r.tries, try{
		subject: r.prefix.Subject("DIRECT.GET", stream, subject), shown: pattern, allow: pattern,
		mapped: api.Default.Subject("DIRECT.GET", stream, subject),
	})
}

func (r *right) ack(stream, name string) {
	prefix := "$JS.ACK." + stream + "." + name + "."
	r.tries = append(r.tries, try{
		// deliveries, stream sequence, consumer sequence, time, pending
		subject: fmt.Sprintf("%s1.%d.%d.%d.0", prefix, uint64(missingSequence), uint64(missingSequence),
			time.Now().UnixNano()),
		shown: prefix + ">", allow: prefix + ">", body: "+WPI",
	})
}

// trial tries permissions over one connection.
type trial struct {
	nc      *nats.Conn
	inbox   chan *nats.Msg
	answers map[string]*nats.Msg // by subject
	refused map[string]bool      // by subject
	mapped  map[string]bool      // subjects whose mapped form was refused
	twice   map[string]bool      // subjects that two streams store
	replies map[string]string    // subjects by the inbox of the answer
	prefix  string
	api     api.Prefix
}

// newTrial subscribes to an inbox. The error is nats.ErrPermissionViolation if that is not allowed.
func newTrial(nc *nats.Conn, prefix api.Prefix) (*trial, error) {
	t := &trial{
		nc:      nc,
		prefix:  nc.NewInbox(),
		answers: map[string]*nats.Msg{},
		refused: map[string]bool{},
		mapped:  map[string]bool{},
		twice:   map[string]bool{},
		api:     prefix,
		replies: map[string]string{},
	}
	t.inbox = make(chan *nats.Msg, 256)
	return t, t.violation(func() error {
		_, err := nc.ChanSubscribe(t.prefix+".*", t.inbox)
		return err
	})
}

// violation calls do, which uses the subjects, waits until the server has processed it, and returns the permissions
// violation that it caused on these subjects or the inbox.
func (t *trial) violation(do func() error, subjects ...string) error {
	mark := permission.Begin(t.nc)
	if err := do(); err != nil {
		return err
	}
	if err := t.nc.FlushTimeout(answersWithin); err != nil {
		return err
	}
	return mark.Denied(subjects...)
}

// ask tries the permissions one after the other and waits for all answers. An error means that the connection is lost.
func (t *trial) ask(rights []right) error {
	waiting, stores := map[string]bool{}, false
	for _, r := range rights {
		for _, try := range r.tries {
			stores = stores || try.header != nil
			m := &nats.Msg{
				Subject: try.subject,
				Header:  try.header,
				Data:    []byte(try.body),
				Reply:   fmt.Sprintf("%s.%d", t.prefix, len(t.replies)),
			}
			t.replies[m.Reply] = try.subject
			err := t.violation(func() error { return t.nc.PublishMsg(m) }, m.Subject, try.mapped, m.Reply)
			v := (*permission.Violation)(nil)
			switch {
			case err == nil:
				waiting[try.subject] = true
			case errors.As(err, &v):
				t.refused[try.subject] = true
				t.mapped[try.subject] = v.Subject == try.mapped && try.mapped != try.subject
			default:
				return fmt.Errorf("trying %s: %w", try.subject, err)
			}
		}
	}
	for limit := time.After(answersWithin); len(waiting) > 0; {
		select {
		case m := <-t.inbox:
			t.answered(m)
			delete(waiting, t.replies[m.Subject])
		case <-limit:
			return nil // judge reports missing answers
		}
	}
	for more := time.After(otherAnswers); stores; {
		select {
		case m := <-t.inbox:
			t.answered(m)
		case <-more:
			return nil
		}
	}
	return nil
}

// otherAnswers is how long to wait for second answers, such as those of a hub behind a leaf node.
const otherAnswers = 500 * time.Millisecond

func (t *trial) answered(m *nats.Msg) {
	subject := t.replies[m.Subject]
	t.twice[subject] = t.answers[subject] != nil
	t.answers[subject] = m
}

// judge judges whether the user has a permission.
func (t *trial) judge(r right) Finding {
	var refused, missing, stored, silent, allowed []string
	for _, try := range r.tries {
		switch {
		case t.mapped[try.subject]:
			refused = append(refused, t.api.Mapped(try.shown))
			missing = append(missing, t.api.Mapped(try.allow))
		case t.refused[try.subject]:
			refused, missing = append(refused, try.shown), append(missing, try.allow)
		case t.answers[try.subject] == nil:
			silent = append(silent, try.shown)
		case t.twice[try.subject]:
			stored = append(stored, try.shown)
		}
		allowed = append(allowed, try.allow)
	}
	switch {
	case len(refused) > 0:
		fix := "allow the user to publish to " + list(missing) + "; docs/permissions.md lists the permissions"
		if r.without != "" {
			return bad(Warn, r.check, fix, "may not publish to %s: %s", list(refused), r.without)
		}
		return bad(Fail, r.check, fix, "may not publish to %s", list(refused))
	case len(stored) > 0:
		return bad(Fail, r.check,
			"find out where the streams belong, and delete the others; `statusworker provision --dry-run` shows where "+
				"it would create them",
			"two streams store %s, such as those of a leaf node and of its hub: each message is stored twice",
			list(stored))
	case len(silent) > 0:
		return bad(Warn, r.check,
			"see the server's log: it is busy, electing a leader, or the account's imports and exports lack a subject",
			"allowed, but no answer within %s: %s", answersWithin, list(silent))
	}
	return pass(r.check, "may publish to %s", list(allowed))
}

// list joins subjects, without repeated neighbours.
func list(subjects []string) string { return strings.Join(slices.Compact(subjects), ", ") }
