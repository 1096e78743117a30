package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/api"
	"statusworker/consumer"
	"statusworker/schema"
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
	checkList         = "permission list"
	checkJetStream    = "jetstream"
	checkAccount      = "account limits"
	checkTopology     = "topology"
	checkFit          = "account fit"
	checkReplicas     = "replicas"
	checkStreamLimits = "stream limits"
	checkOutcomesAge  = "outcomes age"
	checkClock        = "clock"
	checkForeign      = "foreign consumers"
	checkUndelivered  = "undelivered messages"
)

// waiting is the number of messages in the stream that interactions wait in, if it could be read.
type waiting struct {
	known bool
	count uint64
}

// needConnection are the checks that are skipped without a connection, in the order of the findings.
var needConnection = []string{
	checkTLS, checkCertificate, checkPayload, checkVersion, checkInbox, checkStreamInfo, checkConsumerInfo,
	checkHold, checkProcessed, checkFailed, checkAnnounce, checkPull, checkRead, checkAck, checkList, checkJetStream,
	checkAccount, checkTopology, checkFit, checkForeign, checkUndelivered, checkReplicas, checkStreamLimits,
	checkOutcomesAge, checkClock, checkOverdue,
}

// ofWorkers are the checks that need the permissions or the settings of a worker.
var ofWorkers = []string{checkHold, checkProcessed, checkFailed, checkAnnounce, checkPull, checkAck, checkOutcomesAge}

// examineBroker runs the checks of the broker; for an operator, without trying the permissions of a worker.
func examineBroker(ctx context.Context, p Target, operator bool) ([]Finding, waiting) {
	nc, err := p.Connect()
	if err != nil {
		found := []Finding{bad(Fail, checkConnection, p.FixConnection(err), "%v", err)}
		return append(found, skipped("no connection to NATS", "", needConnection...)...), waiting{}
	}
	defer nc.Close()
	_ = nc.FlushTimeout(answersWithin) // the server announces the limits of the account before its answer
	js, err := p.JetStream(nc)
	if err != nil {
		found := []Finding{bad(Fail, checkJetStream, "correct the JetStream domain or API prefix", "%v", err)}
		return append(found, skipped("no JetStream", "", needConnection...)...), waiting{}
	}
	x := &broker{Target: p, operator: operator, nc: nc, js: js, api: api.Of(js), mode: consumer.Schedule}
	x.connection()
	x.rights()
	x.streams(ctx)
	return x.found, x.waiting
}

// broker is the examination over one connection.
type broker struct {
	Target
	operator bool
	nc       *nats.Conn
	js       jetstream.JetStream
	api      api.Prefix
	found    []Finding
	// trial is nil if no inbox is allowed, or JetStream does not answer.
	trial   *trial
	mode    consumer.Mode
	waiting waiting
}

func (x *broker) add(found ...Finding) { x.found = append(x.found, found...) }

func (x *broker) skip(why string, checks ...string) { x.add(skipped(why, "", checks...)...) }

func (x *broker) connection() {
	at := ""
	if x.api != api.Default {
		at = ", JetStream API " + strings.TrimSuffix(string(x.api), ".")
	}
	x.add(pass(checkConnection, "%s, server %s%s", x.Shown(x.nc.ConnectedUrl()), x.nc.ConnectedServerName(), at))
	var state *tls.ConnectionState
	if s, err := x.nc.TLSConnectionState(); err == nil {
		state = &s
	}
	const fix = "configure TLS on the server, and use a tls:// URL in --nats-url ($NATS_URL)"
	x.add(
		judgeTLS(checkTLS, x.nc.ConnectedAddr(), state, fix),
		judgeCertificates(checkCertificate, state, time.Now()),
		judgePayload(x.nc.MaxPayload()),
	)
}

func judgePayload(have int64) Finding {
	if need := int64(schema.MaxMessageBytes); have < need {
		return bad(Fail, checkPayload, fmt.Sprintf("set max_payload of server and account to %d or more", need),
			"%d bytes; an outcome can have %d bytes", have, need)
	}
	return pass(checkPayload, "%d bytes", have)
}
