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

	"statusworker/cmd/broker/permission"
	"statusworker/consumer"
	"statusworker/schema"
)

// rights tries them, and finds out on the way whether there is JetStream, and which way of holding back the streams are
// made for.
func (x *broker) rights() {
	work := []string{checkHold, checkProcessed, checkFailed, checkAnnounce, checkPull, checkRead, checkAck}
	t, err := newTrial(x.nc)
	if err != nil {
		x.add(
			bad(
				Fail,
				checkInbox,
				"allow the user to subscribe to "+x.nc.Opts.InboxPrefix+".>, or name its own prefix in --nats-inbox-prefix ($NATS_INBOX_PREFIX)",
				"may not subscribe to %s.>: no answer reaches this user (%v)",
				x.nc.Opts.InboxPrefix,
				err,
			),
		)
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
		x.skip(
			"JetStream does not answer",
			append([]string{checkAccount, checkStreamInfo, checkConsumerInfo}, work...)...)
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

// right is something that the worker must be allowed to publish. It is tried in a way that changes nothing:
//
//   - a stream refuses to store a message that expects another stream (10060);
//   - a pull with a body that is no JSON is refused (400) and takes no message;
//   - a message that does not exist cannot be read (10037);
//   - an in-progress for a delivery that does not exist re-times nothing.
//
// A subject that the user may not publish on is a permissions violation before any of that.
type right struct {
	check string
	tries []try
}

type try struct {
	subject string
	// shown is the subject as it is told, and allow the pattern to allow.
	shown, allow string

	header nats.Header
	body   string
}

const (
	// elsewhere is a stream that there is not.
	elsewhere = "STATUSWORKER_DOCTOR"
	// notThere is a sequence that no stream reaches.
	notThere = 1<<63 - 1
)

// readRights are what the worker reads at its start.
func readRights(mode consumer.Mode) []right {
	streams := right{check: checkStreamInfo}
	for _, s := range schema.Streams() {
		streams.api("STREAM.INFO."+s, "")
	}
	consumers := right{check: checkConsumerInfo}
	consumers.api("CONSUMER.INFO."+schema.StreamDeclared+"."+schema.ConsumerIntake, "")
	for _, t := range schema.Types() {
		consumers.api("CONSUMER.INFO."+schema.StreamDeclared+"."+schema.PollConsumer(t), "")
		if mode == consumer.Schedule {
			consumers.api("CONSUMER.INFO."+schema.StreamPolls+"."+schema.PollConsumer(t), "")
		}
	}
	return []right{streams, consumers}
}

// workRights are what the worker needs to work.
func workRights(mode consumer.Mode) []right {
	hold := right{check: checkHold}
	processed, failed, announce := right{check: checkProcessed}, right{check: checkFailed}, right{check: checkAnnounce}
	pull, read, ack := right{check: checkPull}, right{check: checkRead}, right{check: checkAck}

	lanes := mode.PollStream()
	read.read(lanes)
	if mode == consumer.Schedule {
		pull.pull(schema.StreamDeclared, schema.ConsumerIntake)
		ack.ack(schema.StreamDeclared, schema.ConsumerIntake)
	}
	for _, t := range schema.Types() {
		hold.store(func(id string) string { return schema.HoldSubject(t, id) }, schema.SubjectsHold)
		pull.pull(lanes, schema.PollConsumer(t))
		ack.ack(lanes, schema.PollConsumer(t))
	}
	for _, d := range schema.Destinations() {
		processed.store(func(id string) string { return schema.ProcessedSubject(d, id) }, schema.SubjectsProcessed)
	}
	for _, r := range schema.Reasons() {
		failed.store(func(id string) string { return schema.FailedSubject(r, id) }, schema.SubjectsFailed)
	}
	announce.store(schema.WorkerSubject, schema.WorkerSubject("*"))
	read.read(schema.StreamOutcomes)
	read.direct(schema.StreamWorkers, schema.WorkerSubject(uuid.NewString()))
	rs := []right{processed, failed, announce, pull, read, ack}
	if mode == consumer.Schedule {
		rs = append([]right{hold}, rs...)
	}
	return rs
}

func (r *right) api(subject, body string) {
	subject = jetstream.DefaultAPIPrefix + subject
	r.tries = append(r.tries, try{subject: subject, shown: subject, allow: subject, body: body})
}

// store tries the subject of some interaction, or worker, that there is not.
func (r *right) store(subject func(string) string, allow string) {
	r.tries = append(r.tries, try{
		subject: subject(uuid.NewString()), shown: subject("*"), allow: allow,
		header: nats.Header{jetstream.ExpectedStreamHeader: {elsewhere}},
	})
}

func (r *right) pull(stream, name string) { r.api("CONSUMER.MSG.NEXT."+stream+"."+name, "{no") }

func (r *right) read(stream string) {
	r.api("STREAM.MSG.GET."+stream, fmt.Sprintf(`{"seq":%d}`, uint64(notThere)))
}

// direct reads the last message of a subject that has none.
func (r *right) direct(stream, subject string) {
	prefix := jetstream.DefaultAPIPrefix + "DIRECT.GET." + stream + "."
	r.tries = append(r.tries, try{subject: prefix + subject, shown: prefix + ">", allow: prefix + ">"})
}

func (r *right) ack(stream, name string) {
	prefix := "$JS.ACK." + stream + "." + name + "."
	r.tries = append(r.tries, try{
		// deliveries, stream sequence, consumer sequence, time, pending
		subject: fmt.Sprintf("%s1.%d.%d.%d.0", prefix, uint64(notThere), uint64(notThere), time.Now().UnixNano()),
		shown:   prefix + ">", allow: prefix + ">", body: "+WPI",
	})
}

// trial is the trying of rights over one connection.
type trial struct {
	nc      *nats.Conn
	inbox   chan *nats.Msg
	answers map[string]*nats.Msg // by subject
	refused map[string]bool      // by subject
	replies map[string]string    // subjects by the inbox of their answer
	prefix  string
}

// newTrial subscribes to an inbox. The error is nats.ErrPermissionViolation where that is not allowed.
func newTrial(nc *nats.Conn) (*trial, error) {
	t := &trial{
		nc:      nc,
		prefix:  nc.NewInbox(),
		answers: map[string]*nats.Msg{},
		refused: map[string]bool{},
		replies: map[string]string{},
	}
	t.inbox = make(chan *nats.Msg, 256)
	return t, t.violation(func() error {
		_, err := nc.ChanSubscribe(t.prefix+".*", t.inbox)
		return err
	})
}

// violation does something on some subjects, waits until the server has seen it, and returns the permissions violation
// that came of it, also one of the inbox.
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

// ask tries rights, one after the other, and waits for the answers to all of them. The error says that the connection
// is lost.
func (t *trial) ask(rights []right) error {
	waiting := map[string]bool{}
	for _, r := range rights {
		for _, try := range r.tries {
			m := &nats.Msg{
				Subject: try.subject,
				Header:  try.header,
				Data:    []byte(try.body),
				Reply:   fmt.Sprintf("%s.%d", t.prefix, len(t.replies)),
			}
			t.replies[m.Reply] = try.subject
			err := t.violation(func() error { return t.nc.PublishMsg(m) }, m.Subject, m.Reply)
			switch {
			case err == nil:
				waiting[try.subject] = true
			case errors.Is(err, nats.ErrPermissionViolation):
				t.refused[try.subject] = true
			default:
				return fmt.Errorf("trying %s: %w", try.subject, err)
			}
		}
	}
	for limit := time.After(answersWithin); len(waiting) > 0; {
		select {
		case m := <-t.inbox:
			subject := t.replies[m.Subject]
			t.answers[subject] = m
			delete(waiting, subject)
		case <-limit:
			return nil // each right says so
		}
	}
	return nil
}

// judge says whether a right is there.
func (t *trial) judge(r right) Finding {
	var refused, missing, silent, allowed []string
	for _, try := range r.tries {
		switch {
		case t.refused[try.subject]:
			refused, missing = append(refused, try.shown), append(missing, try.allow)
		case t.answers[try.subject] == nil:
			silent = append(silent, try.shown)
		}
		allowed = append(allowed, try.allow)
	}
	switch {
	case len(refused) > 0:
		return bad(
			Fail,
			r.check,
			"allow the user to publish "+list(missing)+"; docs/permissions.md lists the permissions",
			"may not publish %s",
			list(refused),
		)
	case len(silent) > 0:
		return bad(
			Warn,
			r.check,
			"look at the server's log: it is busy, electing a leader, or the account's imports and exports leave the subject out",
			"the server lets it through, but nobody answered within %s: %s",
			answersWithin,
			list(silent),
		)
	}
	return pass(r.check, "may publish %s", list(allowed))
}

// list gives each once.
func list(subjects []string) string { return strings.Join(slices.Compact(subjects), ", ") }
