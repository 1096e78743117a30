package demo

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// part is one interaction of a demo: its script at the vendor, its declared message, and the expected outcomes.
type part struct {
	names      schema.Namespace
	identifier string
	typ        schema.Type
	// story describes a special case. It is empty for an ordinary interaction.
	story   string
	script  simulator.Script
	message string
	// twice means that it is declared again after its first poll.
	twice bool
	// want are the subjects of its outcomes. One message is expected on each.
	want []string
}

func newPart(n schema.Namespace, t schema.Type, story string, script simulator.Script) part {
	p := part{names: n, identifier: uuid.NewString(), typ: t, story: story, script: script}
	p.message = fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q,"externalIdentifier":"dev"}`, p.identifier, t)
	return p
}

// processed expects the part to be processed. The given flags of its declared message differ from their default.
func (p part) processed(differ ...schema.Flag) part {
	message := strings.TrimSuffix(p.message, "}")
	for _, f := range differ {
		message += fmt.Sprintf(",%q:%t", f, !f.Default())
	}
	p.message = message + "}"
	declared, err := schema.Decode([]byte(p.message))
	if err != nil {
		panic(err) // this file wrote the message
	}
	for _, to := range declared.Destinations() {
		p.want = append(p.want, p.names.ProcessedSubject(to, p.identifier))
	}
	return p
}

func (p part) failed(r schema.Reason) part {
	p.want = []string{p.names.FailedSubject(r, p.identifier)}
	return p
}

// failedStatus is an unknown status. The worker of a demo is configured to treat it as a failure.
const failedStatus = "transcriptionFailed"

// failures returns the documented statuses of a failed interaction.
func failures() []schema.Status {
	return slices.DeleteFunc(schema.Statuses(), func(s schema.Status) bool { return s.Meaning() != schema.Failed })
}

// newCast returns the interactions of a run in a namespace: one for each special case, and count ordinary ones. Times
// are in the vendor's time, which is not scaled.
func newCast(n schema.Namespace, count int) []part {
	const s = time.Second
	var cast []part
	types := schema.Types()
	for _, t := range types {
		cast = append(cast, newPart(n, t, "no fault", simulator.Processed(50*s)).processed())
		for _, f := range schema.Flags() {
			story := fmt.Sprintf("%s: %t", f, !f.Default())
			cast = append(cast, newPart(n, t, story, simulator.Processed(35*s)).processed(f))
		}
	}
	for i, status := range failures() {
		t := types[i%len(types)]
		cast = append(cast, newPart(n, t, "processing fails", simulator.Failed(status, 50*s)).failed(status.Reason()))
	}
	refused := func(code int) simulator.Script { return simulator.Never().With(simulator.Refusal(code)) }
	twice := newPart(n, schema.Chat, "declared twice", simulator.Processed(40*s)).processed()
	twice.twice = true
	malformed := newPart(n, schema.Chat, "malformed message", simulator.Processed(0)).failed(schema.InvalidMessage)
	malformed.message = malformed.message[:len(malformed.message)-8]
	cast = append(cast,
		newPart(n, schema.Transcript, "no final status", simulator.Never()).failed(schema.DeadlineExceeded),
		newPart(n, schema.Chat, "unknown to the vendor", refused(http.StatusNotFound)).failed(schema.NotFound),
		newPart(n, schema.Transcript, "rejected by the vendor", refused(http.StatusBadRequest)).failed(schema.Rejected),
		malformed,
		twice,
		newPart(n, schema.Audio, "status listed as failed", simulator.Constant(failedStatus)).
			failed(schema.VendorFailed),
	)
	for _, one := range []struct {
		typ   schema.Type
		story string
		after time.Duration
		fault simulator.Fault
	}{
		{schema.Chat, "one 503", 30 * s, simulator.Refusal(503).On(2, 2)},
		{schema.Transcript, "one 429", 30 * s, simulator.Throttle(s).On(3, 3)},
		{schema.Chat, "404 page of a gateway", 30 * s, simulator.Page(http.StatusNotFound).On(2, 2)},
		{schema.Transcript, "unusual JSON in answers", 30 * s, simulator.Fault{
			Kind:    simulator.Odd,
			Prefix:  simulator.ByteOrderMark,
			Members: `"errorMessage":{"code":"E1"},"originalFilename":"\ud83d"`,
		}},
		{schema.Audio, "one invalid answer", 75 * s, simulator.Fault{Kind: simulator.NotJSON}.On(1, 1)},
	} {
		cast = append(cast, newPart(n, one.typ, one.story, simulator.Processed(one.after).With(one.fault)).processed())
	}
	return append(cast, ordinary(n, count)...)
}

// ordinary returns count interactions of a namespace, of all types and with various processing times. Every eighth one
// fails.
func ordinary(n schema.Namespace, count int) []part {
	random := rand.New(rand.NewPCG(1, uint64(count))) // the same in every run
	parts := make([]part, count)
	types, failures := schema.Types(), failures()
	for i := range parts {
		t := types[i%len(types)]
		duration := 10*time.Second + time.Duration(random.Int64N(int64(80*time.Second)))
		if i%8 == 7 {
			status := failures[random.IntN(len(failures))]
			parts[i] = newPart(n, t, "", simulator.Failed(status, duration)).failed(status.Reason())
			continue
		}
		differ := slices.DeleteFunc(schema.Flags(), func(schema.Flag) bool { return random.IntN(4) > 0 })
		parts[i] = newPart(n, t, "", simulator.Processed(duration)).processed(differ...)
	}
	return parts
}

// scaled divides a time by the speed.
func scaled(d time.Duration, speed float64) time.Duration { return time.Duration(float64(d) / speed) }
