package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

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
		return append(
			found,
			skipped(
				"there is no connection to NATS",
				"",
				checkTLS,
				checkCertificate,
				checkPayload,
				checkVersion,
				checkInbox,
				checkStreamInfo,
				checkConsumerInfo,
				checkHold,
				checkProcessed,
				checkFailed,
				checkAnnounce,
				checkPull,
				checkRead,
				checkAck,
				checkJetStream,
				checkAccount,
				checkTopology,
				checkForeign,
				checkUndelivered,
				checkReplicas,
				checkStreamLimits,
				checkOutcomesAge,
				checkClock,
				checkOverdue,
			)...), held{}
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
	x.add(
		judgeTLS(
			checkTLS,
			x.nc.ConnectedAddr(),
			state,
			"configure TLS on the server, and a tls:// URL in --nats-url ($NATS_URL)",
		),
		judgeCertificates(checkCertificate, state, time.Now()),
		judgePayload(x.nc.MaxPayload()),
	)
}

func judgePayload(most int64) Finding {
	if least := int64(schema.MaxMessageBytes); most < least {
		return bad(
			Fail,
			checkPayload,
			fmt.Sprintf("set max_payload to %d or more in the server's configuration", least),
			"%d bytes; an outcome can take %d",
			most,
			least,
		)
	}
	return pass(checkPayload, "%d bytes", most)
}
