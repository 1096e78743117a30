// Package doctor examines what a worker needs: the broker, the rights on it, the streams, the clocks, the vendor and
// the timing. It changes nothing, and asks the vendor at most twice.
package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/schema/topology"
	"statusworker/statusclient"
)

// Result is how a check ended.
type Result string

// The results. A check is skipped where another one has failed that it needs.
const (
	Pass Result = "PASS"
	Warn Result = "WARN"
	Fail Result = "FAIL"
	Skip Result = "SKIP"
)

// Finding is what one check found. Fix says what to do about it, and is empty for [Pass].
type Finding struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	Found  string `json:"found"`
	Fix    string `json:"fix"`
}

// Target is what is examined.
type Target struct {
	// Connect connects to the broker, once and in bounded time; FixConnection says what to do about its error.
	Connect       func() (*nats.Conn, error)
	FixConnection func(error) string
	// Shown is a server's URL without what nobody else may know.
	Shown func(url string) string
	// Topology says what keeps a worker from running on the streams that there are, and which command fixes it.
	// Otherwise it gives the differences that weaken a promise.
	Topology func(context.Context, jetstream.JetStream) (risks []topology.Difference, err error)
	// Vendor is nil where there is no token, for the reason NoVendor.
	Vendor   *statusclient.Client
	NoVendor error
	// Work is the worker's configuration; the intervals may be below the guidance for a vendor on this machine only.
	Work consumer.Config
}

// answersWithin is how long the broker may take for the answers to one round of questions.
const answersWithin = 3 * time.Second

// Examine makes all checks. Each gives one finding, whatever becomes of the others.
func Examine(ctx context.Context, p Target) []Finding {
	found, held := examineBroker(ctx, p)
	found = append(found, examineVendor(ctx, p)...)
	return append(found, judgeTiming(p.Work, held)...)
}

// AnyFailed tells whether a check has failed.
func AnyFailed(found []Finding) bool {
	for _, f := range found {
		if f.Result == Fail {
			return true
		}
	}
	return false
}

func pass(check, format string, args ...any) Finding {
	return Finding{Check: check, Result: Pass, Found: fmt.Sprintf(format, args...)}
}

// bad is a warning or a failure.
func bad(r Result, check, fix, format string, args ...any) Finding {
	return Finding{Check: check, Result: r, Found: fmt.Sprintf(format, args...), Fix: fix}
}

// skipped are checks that cannot be made.
func skipped(why, fix string, checks ...string) (found []Finding) {
	for _, c := range checks {
		found = append(found, Finding{Check: c, Result: Skip, Found: "not checked: " + why, Fix: fix})
	}
	return found
}
