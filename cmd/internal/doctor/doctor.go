// Package doctor checks everything that a worker needs: the broker, its permissions, streams and clocks, the vendor and
// the timing. It changes nothing, and sends the vendor at most two requests.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/schema/topology"
	"statusworker/statusclient"
)

// Result is the result of a check.
type Result string

// The results. A check is skipped if one that it depends on has failed, or if there is nothing to check.
const (
	Pass Result = "PASS"
	Warn Result = "WARN"
	Fail Result = "FAIL"
	Skip Result = "SKIP"
)

// Finding is what one check found. Fix is what to do about it; it is empty for [Pass].
type Finding struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	Found  string `json:"found"`
	Fix    string `json:"fix"`
}

// Target is what is examined.
type Target struct {
	// Connect makes one bounded attempt to connect to the broker. FixConnection returns what to do about its error.
	Connect       func() (*nats.Conn, error)
	FixConnection func(error) string
	// JetStream returns the JetStream to examine over a connection.
	JetStream func(*nats.Conn) (jetstream.JetStream, error)
	// Shown returns a server's URL without its secrets.
	Shown func(url string) string
	// Topology returns an error if a worker cannot run on the existing streams and consumers. Otherwise it returns the
	// differences that are a risk.
	Topology func(context.Context, jetstream.JetStream) (risks []topology.Difference, err error)
	// Vendor is nil if there is no API token; NoVendor then has the reason.
	Vendor   *statusclient.Client
	NoVendor error
	// Work is the worker's configuration. Only for a vendor on this machine, intervals may be below the guidance.
	Work consumer.Config
}

// answersWithin is how long the broker may take to answer one batch of requests.
const answersWithin = 3 * time.Second

// Examine runs all checks. Each has exactly one finding, whatever the results of the others.
func Examine(ctx context.Context, p Target) []Finding {
	found, waiting := examineBroker(ctx, p, false)
	found = append(found, examineVendor(ctx, p)...)
	return append(found, judgeTiming(p.Work, waiting)...)
}

// ExamineAsOperator runs the checks of the broker that need neither the permissions of a worker nor its settings. It
// does not use the vendor.
func ExamineAsOperator(ctx context.Context, p Target) []Finding {
	found, _ := examineBroker(ctx, p, true)
	return slices.DeleteFunc(found, func(f Finding) bool { return slices.Contains(ofWorkers, f.Check) })
}

// AnyFailed reports whether a finding is a failure. Warnings do not count.
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

// bad is a finding that needs a fix: a warning or a failure.
func bad(r Result, check, fix, format string, args ...any) Finding {
	return Finding{Check: check, Result: r, Found: fmt.Sprintf(format, args...), Fix: fix}
}

// skipped are the findings of checks that cannot run.
func skipped(why, fix string, checks ...string) (found []Finding) {
	for _, c := range checks {
		found = append(found, Finding{Check: c, Result: Skip, Found: "not checked: " + why, Fix: fix})
	}
	return found
}
