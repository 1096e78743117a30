package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// tier is what runs the broker, the workers and the vendor, and what can fail there.
type tier interface {
	// Brokers is the addresses of the NATS servers, separated by commas. Only faults of the servers affect connections
	// to them.
	Brokers() string
	// Vendor is the simulated vendor of all workers.
	Vendor() *simulator.Simulator
	// Kinds are the faults of the tier. Those of the vendor are not among them.
	Kinds() []*kind
	// Recover is called when all faults have been healed. It waits until all servers and replicas are available, and
	// all workers work.
	Recover(ctx context.Context) error
	// Stop ends all workers with SIGTERM and waits for them.
	Stop(ctx context.Context) error
	// Versions are those of the tested programs, for the record: `nats-server 2.15.3`.
	Versions() []string
}

// linked is a tier with faults of the links between workers and vendor.
type linked interface {
	// sender returns the name of the worker that sends requests from an address.
	sender(from netip.AddrPort) string
	// hindered reports whether the first of two polls may have been long on its way to the vendor, and another fault
	// may have kept its worker from postponing the second one.
	hindered(first, second poll, faults []*event) bool
}

// logged is a tier that can read what its workers logged.
type logged interface {
	// logged returns the lines about an interaction, the oldest of each worker first.
	logged(id string) []string
}

// kind is a kind of fault.
type kind struct {
	name string
	// weight is how often the kind is chosen, relative to others.
	weight int
	// A fault lasts between shortest and longest. Both are 0 if it is over when strike returns.
	shortest, longest time.Duration
	// alone means that no other fault is active at the same time.
	alone bool
	// fills means that the broker may refuse to store messages: schedules may be stuck until their overdue reservations
	// are found.
	fills bool
	// vendor means that the vendor fails, so that workers pause for about as long.
	vendor bool
	// strike makes the fault happen, and returns when it has happened. It returns errNoTarget if nothing can be hit
	// now. The tier must not hit the same target with two faults at a time.
	strike func(ctx context.Context, r *rand.Rand) (struck, error)
}

// struck is a fault that has happened.
type struck struct {
	// target is what it hit: `n1`, `worker 2`.
	target string
	// state is what it met there, for the table of faults: `leader of polls`.
	state string
	// heal ends the fault; nil if there is nothing to end.
	heal func(ctx context.Context) error
}

// errNoTarget means that a fault has nothing to hit now.
var errNoTarget = errors.New("no target")

// settings are the settings of all workers.
type settings struct {
	mode      consumer.Mode
	intervals consumer.Intervals
	// deadline, grace and timeout are --deadline, --not-found-grace and --request-timeout.
	deadline, grace, timeout time.Duration
	// shutdown is --shutdown-timeout.
	shutdown time.Duration

	// types are those of the interactions; empty means all.
	types []schema.Type
	// brief means that every interaction ends at its first poll, unless that fails, and is declared once.
	brief bool
	// ends is the time within which the vendor ends most interactions; 0 means four poll intervals.
	ends time.Duration
	// stretch is by how much storms and the faults of the vendor are longer; 0 means 1.
	stretch int
}

// longer returns a time that is longer by the stretch.
func (s settings) longer(d time.Duration) time.Duration {
	return time.Duration(max(1, s.stretch) * int(d))
}

// failedStatus is a status that the vendor does not document, and that workers treat as failed.
const failedStatus = "transcriptionFailed"

// env returns the environment of a worker, or of provision, without the addresses of NATS and the vendor, and without
// the token.
func (s settings) env() []string {
	return []string{
		"STATUSWORKER_AUDIO_INTERVAL=" + s.intervals.Audio.String(),
		"STATUSWORKER_CHAT_INTERVAL=" + s.intervals.Chat.String(),
		"STATUSWORKER_TRANSCRIPT_INTERVAL=" + s.intervals.Transcript.String(),
		"STATUSWORKER_REQUEST_TIMEOUT=" + s.timeout.String(),
		"STATUSWORKER_DEADLINE=" + s.deadline.String(),
		"STATUSWORKER_NOT_FOUND_GRACE=" + s.grace.String(),
		"STATUSWORKER_SHUTDOWN_TIMEOUT=" + s.shutdown.String(),
		"STATUSWORKER_FAILED_STATUS=" + failedStatus,
	}
}
