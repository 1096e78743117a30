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

// part is one interaction of a demo: how it lives at the vendor, what is declared, and what must become of it.
type part struct {
	identifier string
	typ        schema.Type
	// story says what is special about it; empty for one of many.
	story   string
	script  simulator.Script
	message string
	// twice has it declared a second time after its first poll.
	twice bool
	// want are the subjects of its outcomes, one message on each.
	want []string
}

func newPart(t schema.Type, story string, script simulator.Script) part {
	p := part{identifier: uuid.NewString(), typ: t, story: story, script: script}
	p.message = fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q,"externalIdentifier":"dev"}`, p.identifier, t)
	return p
}

// processed expects the subjects of a processed interaction whose declaration has some flags that differ from their
// default.
func (p part) processed(differ ...schema.Flag) part {
	message := strings.TrimSuffix(p.message, "}")
	for _, f := range differ {
		message += fmt.Sprintf(",%q:%t", f, !f.Default())
	}
	p.message = message + "}"
	declared, err := schema.Decode([]byte(p.message))
	if err != nil {
		panic(err) // the message is this file's own
	}
	for _, to := range declared.Destinations() {
		p.want = append(p.want, schema.ProcessedSubject(to, p.identifier))
	}
	return p
}

func (p part) failed(r schema.Reason) part {
	p.want = []string{schema.FailedSubject(r, p.identifier)}
	return p
}

// failedStatus is a status that the vendor's documentation does not list, and that the worker of a demo takes for a
// failure.
const failedStatus = "transcriptionFailed"

// failures are the statuses by which the vendor says that an interaction failed.
func failures() []schema.Status {
	return slices.DeleteFunc(schema.Statuses(), func(s schema.Status) bool { return s.Meaning() != schema.Failed })
}

// newCast gives the interactions of a run: one for each thing that can happen, and count others. Times are the
// vendor's, before they are scaled.
func newCast(count int) []part {
	const s = time.Second
	var cast []part
	types := schema.Types()
	for _, t := range types {
		cast = append(cast, newPart(t, "processed", simulator.Processed(50*s)).processed())
		for _, f := range schema.Flags() {
			cast = append(
				cast,
				newPart(t, fmt.Sprintf("%s: %t", f, !f.Default()), simulator.Processed(35*s)).processed(f),
			)
		}
	}
	for i, status := range failures() {
		t := types[i%len(types)]
		cast = append(cast, newPart(t, "fails at the vendor", simulator.Failed(status, 50*s)).failed(status.Reason()))
	}
	refused := func(code int) simulator.Script { return simulator.Never().With(simulator.Refusal(code)) }
	twice := newPart(schema.Chat, "declared twice", simulator.Processed(40*s)).processed()
	twice.twice = true
	malformed := newPart(schema.Chat, "malformed message", simulator.Processed(0)).failed(schema.InvalidMessage)
	malformed.message = malformed.message[:len(malformed.message)-8]
	return append(append(
		cast,
		newPart(schema.Transcript, "never ends", simulator.Never()).failed(schema.DeadlineExceeded),
		newPart(schema.Chat, "unknown to the vendor", refused(http.StatusNotFound)).failed(schema.NotFound),
		newPart(schema.Transcript, "rejected by the vendor", refused(http.StatusBadRequest)).failed(schema.Rejected),
		malformed,
		twice,
		newPart(
			schema.Chat,
			"meets a 503",
			simulator.Processed(30*s).With(simulator.Refusal(503).On(2, 2)),
		).processed(),
		newPart(
			schema.Transcript,
			"meets a 429",
			simulator.Processed(30*s).With(simulator.Throttle(s).On(3, 3)),
		).processed(),
		newPart(schema.Audio, "fails in a way that --failed-status names", simulator.Constant(failedStatus)).failed(
			schema.VendorFailed,
		),
		newPart(
			schema.Chat,
			"meets a gateway's 404 page",
			simulator.Processed(30*s).With(simulator.Page(http.StatusNotFound).On(2, 2)),
		).processed(),
		newPart(schema.Transcript, "odd answers", simulator.Processed(30*s).With(simulator.Fault{
			Kind:    simulator.Odd,
			Prefix:  simulator.ByteOrderMark,
			Members: `"errorMessage":{"code":"E1"},"originalFilename":"\ud83d"`,
		})).processed(),
		newPart(
			schema.Audio,
			"meets garbage",
			simulator.Processed(75*s).With(simulator.Fault{Kind: simulator.NotJSON}.On(1, 1)),
		).processed(),
	), crowd(count)...)
}

// crowd gives count interactions of all types with lives of many lengths; every eighth of them fails.
func crowd(count int) []part {
	random := rand.New(rand.NewPCG(1, uint64(count))) // the same lives in every run
	parts := make([]part, count)
	types, failures := schema.Types(), failures()
	for i := range parts {
		t := types[i%len(types)]
		life := 10*time.Second + time.Duration(random.Int64N(int64(80*time.Second)))
		if i%8 == 7 {
			status := failures[random.IntN(len(failures))]
			parts[i] = newPart(t, "", simulator.Failed(status, life)).failed(status.Reason())
			continue
		}
		differ := slices.DeleteFunc(schema.Flags(), func(schema.Flag) bool { return random.IntN(4) > 0 })
		parts[i] = newPart(t, "", simulator.Processed(life)).processed(differ...)
	}
	return parts
}

// scaled divides a time by the speed.
func scaled(d time.Duration, speed float64) time.Duration { return time.Duration(float64(d) / speed) }
