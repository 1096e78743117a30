package doctor

import (
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

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
				return bad(
					Fail,
					checkJetStream,
					"wait until the cluster has a leader; see `nats server report jetstream`",
					"it cannot answer: %s",
					problem.Description,
				)
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
	return bad(
		Fail,
		checkJetStream,
		"wait until the cluster has a leader; see the server's log",
		"no answer within %s",
		answersWithin,
	)
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
		found = append(
			found,
			"it has message schedules, but the streams are made for delayed naks, which a killed broker forgets",
		)
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
