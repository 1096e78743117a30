package explore

import (
	"fmt"
	"strings"
	"time"

	"statusworker/statusclient/simulator"
)

// Fate is what happens to an operation. The zero value lets it succeed at once.
type Fate struct {
	// Hold is how long the request is on its way. The operation takes effect even if its caller has given up.
	Hold time.Duration `json:"hold,omitempty"`
	// Lost loses the request, Silent the answer.
	Lost   bool `json:"lost,omitempty"`
	Silent bool `json:"silent,omitempty"`
	// Rejected makes a conditional publish fail without effect, as while another publish is in flight.
	Rejected bool `json:"rejected,omitempty"`
	// Commits is how long the broker takes to store a message that it has accepted.
	Commits time.Duration `json:"commits,omitempty"`
	// Stale makes a read answer from what was stored this long ago, by a replaced leader.
	Stale time.Duration `json:"stale,omitempty"`
	// Keeps makes the broker keep the message that it records as acknowledged, as when it is killed.
	Keeps bool `json:"keeps,omitempty"`
	// Again makes the operation happen a second time, after this time.
	Again time.Duration `json:"again,omitempty"`
	// Redelivers makes the broker deliver the message again after this time, because the settlement is lost.
	Redelivers time.Duration `json:"redelivers,omitempty"`
	// Dies kills the worker, before or after the operation takes effect.
	Dies When `json:"dies,omitempty"`
	// Stops stops the worker for this time: before it sends the request, or, at a pull, before it reads the answer.
	Stops time.Duration `json:"stops,omitempty"`
	// Way is how long a poll is on its way to the vendor.
	Way time.Duration `json:"way,omitempty"`
	// Vendor is how the vendor answers a poll: a key of vendorFaults.
	Vendor string `json:"vendor,omitempty"`
}

// When is before or after an operation takes effect.
type When string

// The values of [When].
const (
	Before When = "before"
	After  When = "after"
)

// ok reports whether the operation succeeds, maybe late.
func (f Fate) ok() bool {
	f.Hold = 0
	return f == Fate{}
}

func (f Fate) String() string {
	var parts []string
	add := func(given bool, format string, args ...any) {
		if given {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(f.Lost, "is lost")
	add(f.Rejected, "is rejected for a moment")
	add(f.Silent, "its answer is lost")
	add(f.Commits > 0, "is accepted, and stored after %s", f.Commits)
	add(f.Stale > 0, "answers as %s ago", f.Stale)
	add(f.Keeps, "is recorded, and the message is kept")
	add(f.Again > 0, "happens again after %s", f.Again)
	add(f.Redelivers > 0, "the message is redelivered after %s", f.Redelivers)
	add(f.Dies != "", "worker dies %s it", f.Dies)
	add(f.Stops > 0, "worker stops for %s", f.Stops)
	add(f.Way > 0, "is on its way for %s", f.Way)
	add(f.Vendor != "", "vendor answers %s", f.Vendor)
	if len(parts) == 0 {
		return "ok"
	}
	return strings.Join(parts, ", ")
}

// kind is the name of a fault in counts.
func (f Fate) kind() string {
	switch {
	case f.Lost:
		return "request lost"
	case f.Silent:
		return "answer lost"
	case f.Rejected:
		return "rejected"
	case f.Commits > 0:
		return "stored late"
	case f.Stale > 0:
		return "stale read"
	case f.Keeps:
		return "message kept"
	case f.Again > 0:
		return "duplicated"
	case f.Dies != "":
		return "worker killed"
	case f.Stops > 0:
		return "worker stopped"
	case f.Vendor != "":
		return "vendor " + f.Vendor
	case f.Way > 0, f.Hold > 0:
		return "late"
	}
	return ""
}

// vendorFaults are the wrong answers of the vendor.
var vendorFaults = map[string]simulator.Fault{
	"404":            simulator.Refusal(404),
	"400":            simulator.Refusal(400),
	"401":            simulator.Refusal(401),
	"429":            simulator.Throttle(2 * time.Second),
	"500":            simulator.Refusal(500),
	"503":            simulator.Page(503),
	"404 page":       simulator.Page(404),
	"nothing":        {Kind: simulator.Hangs},
	"reset":          {Kind: simulator.Reset},
	"half":           {Kind: simulator.Truncated},
	"no json":        {Kind: simulator.NotJSON},
	"html":           {Kind: simulator.WrongType},
	"another":        {Kind: simulator.WrongIdentifier},
	"redirect":       {Kind: simulator.Redirected, Location: "status"}, // to itself,
	"unknown status": {Kind: simulator.OtherStatus, Status: "queuedForReview"},
}

// EventKind is what happens to the broker, to a worker or to an interaction.
type EventKind string

// The kinds of events.
const (
	// Declares publishes the declared message of an interaction, and RetypeDeclares under another type.
	Declares       EventKind = "declare"
	RetypeDeclares EventKind = "declare as another type"
	// Replays and Purges apply to the dead letters of an interaction.
	Replays EventKind = "replay"
	Purges  EventKind = "purge"
	// Restarts, Crashes and StepsDown are those of the broker. StepsDown sets the broker's clock.
	Restarts  EventKind = "restart"
	Crashes   EventKind = "crash"
	StepsDown EventKind = "step down"
	// Away makes the broker unreachable for a time: what was sent to it meanwhile is lost.
	Away EventKind = "broker unreachable"
	// Full makes its storage full for a time.
	Full EventKind = "storage full"
	// DeclaresAfter publishes the declared message of an interaction after a time from its next dead letter.
	DeclaresAfter EventKind = "declare after the dead letter"
	// DeclaresUnread is DeclaresAfter with Replaced just before the dead letter.
	DeclaresUnread EventKind = "declare after a dead letter that is not read"
	// Replaced replaces a leader without its knowledge: for a time, it answers reads from what was stored before.
	Replaced EventKind = "reads from a replaced leader"
	// Redelivers redelivers a pending delivery of an interaction.
	Redelivers EventKind = "redeliver"
	// Kills, Terminates and Stops are signals to a worker: SIGKILL, SIGTERM, and SIGSTOP for a time.
	Kills      EventKind = "kill"
	Terminates EventKind = "terminate"
	Stops      EventKind = "stop"
)

// Event is something that happens at a time.
type Event struct {
	// At is the time since the beginning of the history.
	At   time.Duration `json:"at"`
	Kind EventKind     `json:"event"`
	// For is how long it lasts. For a change of leader, it is how far the clock of the new one is ahead.
	For time.Duration `json:"for,omitempty"`
	// ID is an interaction. Worker is the number of a worker; the one that follows a killed worker has its number.
	ID     string `json:"id,omitempty"`
	Worker int    `json:"worker,omitempty"`
}

func (e Event) String() string {
	text := string(e.Kind)
	if e.ID != "" {
		text += " " + short(e.ID)
	}
	switch e.Kind {
	case Kills, Terminates, Stops:
		text += fmt.Sprintf(" worker %d", e.Worker)
	}
	if e.Kind == StepsDown {
		return fmt.Sprintf("%s, clock of the new leader ahead by %s", text, e.For)
	}
	if e.For > 0 {
		text += " for " + e.For.String()
	}
	return text
}
