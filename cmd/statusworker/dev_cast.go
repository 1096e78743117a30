//go:build !nodev

package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// part is one interaction of `dev`: how it lives at the vendor, what is declared, and what must become of it.
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

// processed expects the subjects of a processed interaction.
func (p part) processed(includeAIResults bool) part {
	if !includeAIResults {
		p.message = fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q,"includeAiResults":false}`, p.identifier, p.typ)
	}
	for _, to := range consumer.Destinations(p.typ, includeAIResults) {
		p.want = append(p.want, schema.ProcessedSubject(to, p.identifier))
	}
	return p
}

func (p part) failed(r schema.Reason) part {
	p.want = []string{schema.FailedSubject(r, p.identifier)}
	return p
}

// devFailedStatus is a status that the vendor's documentation does not list, and that the workers of `dev` take for a failure.
const devFailedStatus = "transcriptionFailed"

// The failures that the vendor tells of as a status.
var failures = []struct {
	status schema.Status
	reason schema.Reason
}{
	{schema.StatusProcessingFailed, schema.ProcessingFailed},
	{schema.StatusFileUploadFailed, schema.FileUploadFailed},
	{schema.StatusFileDownloadFailed, schema.FileDownloadFailed},
}

// newCast gives the interactions of a run: one for each thing that can happen, and count others. Times are the
// vendor's, before they are scaled.
func newCast(count int) []part {
	const s = time.Second
	cast := []part{
		newPart(schema.Audio, "results wanted", simulator.Processed(70*s)).processed(true),
		newPart(schema.Audio, "without CX AI", simulator.Processed(45*s)).processed(false),
		newPart(schema.Chat, "results wanted", simulator.Processed(35*s)).processed(true),
		newPart(schema.Chat, "without CX AI", simulator.Processed(25*s)).processed(false),
		newPart(schema.Transcript, "results wanted", simulator.Processed(45*s)).processed(true),
		newPart(schema.Transcript, "without CX AI", simulator.Processed(30*s)).processed(false),
	}
	for i, f := range failures {
		t := schema.Types()[i]
		cast = append(cast, newPart(t, "fails at the vendor", simulator.Failed(f.status, 50*s)).failed(f.reason))
	}
	refused := func(code int) simulator.Script { return simulator.Never().With(simulator.Refusal(code)) }
	twice := newPart(schema.Chat, "declared twice", simulator.Processed(40*s)).processed(true)
	twice.twice = true
	malformed := newPart(schema.Chat, "malformed message", simulator.Processed(0)).failed(schema.InvalidMessage)
	malformed.message = malformed.message[:len(malformed.message)-8]
	return append(append(cast,
		newPart(schema.Transcript, "never ends", simulator.Never()).failed(schema.DeadlineExceeded),
		newPart(schema.Chat, "unknown to the vendor", refused(http.StatusNotFound)).failed(schema.NotFound),
		newPart(schema.Transcript, "rejected by the vendor", refused(http.StatusBadRequest)).failed(schema.Rejected),
		malformed, twice,
		newPart(schema.Chat, "meets a 503", simulator.Processed(30*s).With(simulator.Refusal(503).On(2, 2))).processed(true),
		newPart(schema.Transcript, "meets a 429", simulator.Processed(30*s).With(simulator.Throttle(s).On(3, 3))).processed(true),
		newPart(schema.Audio, "fails in a way that --failed-status names", simulator.Constant(devFailedStatus)).failed(schema.VendorFailed),
		newPart(schema.Chat, "meets a gateway's 404 page", simulator.Processed(30*s).With(simulator.Page(http.StatusNotFound).On(2, 2))).processed(true),
		newPart(schema.Transcript, "odd answers", simulator.Processed(30*s).With(simulator.Fault{
			Kind: simulator.Odd, Prefix: simulator.ByteOrderMark, Members: `"errorMessage":{"code":"E1"},"originalFilename":"\ud83d"`,
		})).processed(true),
		newPart(schema.Audio, "meets garbage", simulator.Processed(75*s).With(simulator.Fault{Kind: simulator.NotJSON}.On(1, 1))).processed(true),
	), crowd(count)...)
}

// crowd gives count interactions of all types with lives of many lengths; every eighth of them fails.
func crowd(count int) []part {
	random := rand.New(rand.NewPCG(1, uint64(count))) // the same lives in every run
	parts := make([]part, count)
	for i := range parts {
		t := schema.Types()[i%3]
		life := 10*time.Second + time.Duration(random.Int64N(int64(80*time.Second)))
		if i%8 == 7 {
			f := failures[random.IntN(len(failures))]
			parts[i] = newPart(t, "", simulator.Failed(f.status, life)).failed(f.reason)
			continue
		}
		parts[i] = newPart(t, "", simulator.Processed(life)).processed(random.IntN(4) > 0)
	}
	return parts
}

// scaled divides a time by the speed.
func scaled(d time.Duration, speed float64) time.Duration { return time.Duration(float64(d) / speed) }

// devTiming scales the guidance, and with it what a worker waits for. The broker and this machine do not get faster:
// so the deadline and the grace have a part that is not scaled.
func devTiming(speed float64, count int, mode consumer.Mode) (timingFlags, workFlags) {
	slow := 2*time.Second + time.Duration(count)*2*time.Millisecond
	if mode == consumer.Nak {
		slow += 2 * time.Second // each wait is a second longer
	}
	return timingFlags{
			AudioInterval: scaled(consumer.Guidance.Audio, speed), ChatInterval: scaled(consumer.Guidance.Chat, speed),
			TranscriptInterval: scaled(consumer.Guidance.Transcript, speed), RequestTimeout: 2 * time.Second,
		}, workFlags{
			Deadline: scaled(115*time.Second, speed) + slow, NotFoundGrace: scaled(20*time.Second, speed) + slow/2,
			FailedStatus: []string{devFailedStatus},
			Concurrency:  64, StretchLimit: time.Minute, ShutdownTimeout: 3 * time.Second,
		}
}

func speedText(speed float64) string { return strconv.FormatFloat(speed, 'g', 4, 64) }
