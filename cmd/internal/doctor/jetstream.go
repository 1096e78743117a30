package doctor

import (
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/advice"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

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

// decode reads an answer of JetStream. ok is false if there was no answer, or not one of JetStream.
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

// judgeJetStream judges from the answers to the requests for streams whether JetStream is enabled.
func (t *trial) judgeJetStream(streams right) Finding {
	const fix = "start nats-server with -js or a jetstream block, and enable JetStream for the user's account"
	refused, noResponders := 0, 0
	for _, try := range streams.tries {
		if problem, ok := t.decode(try.subject, nil); ok {
			if problem.ErrCode == notEnabled || problem.ErrCode == notEnabledForAccount {
				return bad(Fail, checkJetStream, fix, "off: %s", problem.Description)
			}
			if problem.Code == 503 {
				return bad(Fail, checkJetStream,
					"wait until the cluster has a leader; `nats server report jetstream`, as a user of the system "+
						"account, shows it",
					"not available: %s", problem.Description)
			}
			return pass(checkJetStream, "on")
		}
		switch m := t.answers[try.subject]; {
		case t.refused[try.subject]:
			refused++
		case m != nil && m.Header.Get("Status") == "503":
			noResponders++
		}
	}
	switch {
	case noResponders > 0:
		return bad(Fail, checkJetStream, fix, "off: no responders")
	case refused == len(streams.tries):
		return skipped("the user may not read any stream", "see "+checkStreamInfo, checkJetStream)[0]
	}
	return bad(Fail, checkJetStream, "wait until the cluster has a leader; see the server's log",
		"no answer within %s", answersWithin)
}

// mode reads from the answers which redelivery mode the streams are provisioned for, and whether they are.
func (t *trial) mode(n schema.Namespace) (mode consumer.Mode, provisioned bool) {
	exists := func(request string) bool {
		problem, ok := t.decode(t.api.Subject(request), nil)
		return ok && problem.Code == 0
	}
	switch {
	case exists("STREAM.INFO." + n.StreamPolls()):
		return consumer.Schedule, true
	case exists("CONSUMER.INFO." + n.StreamDeclared() + "." + n.ConsumerIntake()):
		return consumer.Schedule, true
	case exists("CONSUMER.INFO." + n.StreamDeclared() + "." + n.PollConsumer(schema.Audio)):
		return consumer.Nak, true
	}
	return consumer.Schedule, false
}

// judgeVersion judges whether the server supports the redelivery mode, and reports its known faults.
func judgeVersion(n schema.Namespace, version string, mode consumer.Mode, provisioned bool) Finding {
	usable := func(m consumer.Mode) bool { return topology.CheckServer(version, waitingStreams(m)) == nil }
	var found, fixes []string
	for _, f := range topology.ServerFaults(version, waitingStreams(mode)) {
		found = append(found, f.What)
		if f.Unsound {
			continue
		}
		if f.Fixed != "" {
			fixes = append(fixes, "upgrade to "+f.Fixed+" or later")
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
		fixes = []string{upgrade + ", or use `" + advice.Command(n, "provision --redelivery nak") + "`"}
		return judged(Warn)
	case !usable(mode):
		fixes = []string{upgrade}
		return judged(Fail)
	case mode == consumer.Nak && usable(consumer.Schedule):
		found = append(found,
			"it supports message schedules, but the streams use delayed naks, which a killed broker loses")
		fixes = append(fixes, "change over to redelivery schedule: see `Change the redelivery mode` in docs/deploy.md")
		return judged(Warn)
	case mode == consumer.Nak:
		found = append(found, "it supports delayed naks only, which a killed broker loses")
		fixes = append(fixes, upgrade+", then change over to redelivery schedule")
		return judged(Warn)
	case len(found) > 0:
		return judged(Warn)
	}
	return pass(checkVersion, "%s: it supports message schedules", version)
}

// waitingStreams are the streams that interactions wait in, and the workers' bucket.
func waitingStreams(mode consumer.Mode) []jetstream.StreamConfig {
	return consumer.Topology(consumer.Config{}, consumer.Choices{Mode: mode}).Streams
}
