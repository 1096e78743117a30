package consumer_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/schema"
)

const (
	grace    = 5 * time.Minute
	deadline = 24 * time.Hour
	young    = time.Minute
)

// facts are those of an interaction that is young, and of a worker with the default limits.
func facts(status schema.Status, fault schema.Fault) consumer.Facts {
	return consumer.Facts{Status: status, Fault: fault, Age: young, NotFoundGrace: grace, Deadline: deadline}
}

func (r row) aged(age time.Duration) row { r.facts.Age = age; return r }

// row is a row of the decision table. Detail is compared as a whole.
type row struct {
	name  string
	facts consumer.Facts
	want  consumer.Decision
}

func (r row) check(t *testing.T) {
	t.Helper()
	t.Run(r.name, func(t *testing.T) {
		if got := consumer.Decide(r.facts); got != r.want {
			t.Errorf("Decide(%+v)\n     is %+v,\n   want %+v", r.facts, got, r.want)
		}
	})
}

var retryAt = time.Date(2026, 3, 1, 12, 0, 7, 0, time.UTC)

// decisionOf is what a young interaction meets, by fault.
var decisionOf = map[schema.Fault]consumer.Decision{
	schema.FaultNotFound:     {Action: consumer.HoldBack, Why: "not found, young"},
	schema.FaultUnauthorized: {Action: consumer.HoldBack, Why: "unauthorized", Trouble: consumer.Unauthorized},
	schema.FaultThrottled:    {Action: consumer.HoldBack, Why: "throttled", Trouble: consumer.Throttled, NotBefore: retryAt},
	schema.FaultRejected:     {Action: consumer.Bury, Why: "rejected", Reason: schema.Rejected, Detail: "400 Bad Request"},
	schema.FaultUnavailable:  {Action: consumer.HoldBack, Why: "unavailable", Trouble: consumer.Unavailable, NotBefore: retryAt},
	schema.FaultNotAStatus:   {Action: consumer.HoldBack, Why: "not a status", Trouble: consumer.Unavailable},
	schema.FaultNotSent:      {Action: consumer.HoldBack, Why: "not sent"},
}

// failures are the statuses of an interaction that failed for good.
var failures = map[schema.Status]schema.Reason{
	schema.StatusProcessingFailed:   schema.ProcessingFailed,
	schema.StatusFileUploadFailed:   schema.FileUploadFailed,
	schema.StatusFileDownloadFailed: schema.FileDownloadFailed,
}

func TestDecideStatus(t *testing.T) {
	for _, status := range schema.Statuses() {
		want := consumer.Decision{Action: consumer.HoldBack, Why: "pending"}
		if status == schema.StatusProcessed {
			want = consumer.Decision{Action: consumer.Complete, Why: "processed"}
		}
		if reason, failed := failures[status]; failed {
			want = consumer.Decision{Action: consumer.Bury, Why: "failed", Reason: reason, Detail: "the vendor gave no errorMessage"}
		}
		row{string(status), facts(status, ""), want}.check(t)
		if want.Action != consumer.HoldBack {
			row{string(status) + ", long after the deadline", facts(status, ""), want}.aged(10 * deadline).check(t)
		}
	}
	for status, reason := range failures {
		f := facts(status, "")
		f.ErrorMessage = "the file is empty"
		row{string(status) + " with a message", f, consumer.Decision{
			Action: consumer.Bury, Why: "failed", Reason: reason, Detail: "the vendor's errorMessage: the file is empty",
		}}.check(t)
	}
	for _, status := range []schema.Status{"", "reticulating", "Processed", "PROCESSED", "processed ", "processingfailed", "deleted"} {
		row{"unlisted " + string(status), facts(status, ""), consumer.Decision{
			Action: consumer.HoldBack, Why: "pending, unlisted", Unlisted: true,
		}}.check(t)
	}
}

func TestDecideFault(t *testing.T) {
	for _, fault := range schema.Faults() {
		want, ok := decisionOf[fault]
		if !ok {
			t.Errorf("fault %s has no row in this test", fault)
		}
		f := facts("", fault)
		f.FaultDetail, f.RetryAt = "400 Bad Request", retryAt
		row{string(fault), f, want}.check(t)

		// Only where the vendor may ask for a pause does its Retry-After count.
		f.RetryAt = time.Time{}
		want.NotBefore = time.Time{}
		row{string(fault) + " without Retry-After", f, want}.check(t)
	}
	f := facts("", "invented tomorrow")
	f.RetryAt = retryAt
	row{"a fault without a name", f, consumer.Decision{
		Action: consumer.HoldBack, Why: "unavailable", Trouble: consumer.Unavailable, NotBefore: retryAt,
	}}.check(t)
}

func TestDecideNotFoundByAge(t *testing.T) {
	f := facts("", schema.FaultNotFound)
	f.FaultDetail = "404 Not Found"
	young := consumer.Decision{Action: consumer.HoldBack, Why: "not found, young"}
	old := consumer.Decision{
		Action: consumer.Bury, Why: "not found, old", Reason: schema.NotFound,
		Detail: "the vendor does not know it 5m0s after it was declared: 404 Not Found",
	}
	row{"before it was declared, by a broker's clock that was set back", f, young}.aged(-time.Hour).check(t)
	row{"at once", f, young}.aged(0).check(t)
	row{"just within the grace", f, young}.aged(grace).check(t)
	row{"just beyond it", f, old}.aged(grace + 1).check(t)

	// A 404 is believed long before the deadline, and says more than it.
	old.Detail = "the vendor does not know it 48h0m0s after it was declared: 404 Not Found"
	row{"beyond the deadline", f, old}.aged(2 * deadline).check(t)

	f.NotFoundGrace = 3 * deadline
	row{"beyond the deadline, within a longer grace", f, consumer.Decision{
		Action: consumer.Bury, Why: "deadline exceeded", Reason: schema.DeadlineExceeded,
		Detail: "not terminal 48h0m0s after it was declared, 24h0m0s are allowed; the last poll got none: 404 Not Found",
	}}.aged(2 * deadline).check(t)
}

func TestDecideDeadline(t *testing.T) {
	exceeded := func(last string) consumer.Decision {
		return consumer.Decision{
			Action: consumer.Bury, Why: "deadline exceeded", Reason: schema.DeadlineExceeded,
			Detail: "not terminal 24h0m0s after it was declared, 24h0m0s are allowed; " + last,
		}
	}
	pending := facts(schema.StatusProcessing, "")
	row{"pending at the deadline", pending, consumer.Decision{Action: consumer.HoldBack, Why: "pending"}}.aged(deadline).check(t)
	row{"pending just beyond it", pending, exceeded(`the last status was "processing"`)}.aged(deadline + 1).check(t)

	unlisted := exceeded(`the last status was "reti\nculating"`)
	unlisted.Unlisted = true
	row{"unlisted just beyond it", facts("reti\nculating", ""), unlisted}.aged(deadline + 1).check(t)

	for fault, before := range decisionOf {
		if before.Action != consumer.HoldBack || fault == schema.FaultNotFound {
			continue // TestDecideFault and TestDecideNotFoundByAge
		}
		f := facts("", fault)
		f.FaultDetail, f.RetryAt = "what the vendor did", retryAt
		row{string(fault) + " at the deadline", f, before}.aged(deadline).check(t)

		after := exceeded("the last poll got none: what the vendor did")
		// The vendor is still in trouble, whatever becomes of this interaction.
		after.Trouble = before.Trouble
		if fault == schema.FaultNotSent {
			after = before // nobody asked the vendor: it may have ended long ago
		}
		row{string(fault) + " just beyond it", f, after}.aged(deadline + 1).check(t)
	}

	row{"terminal beyond it", facts(schema.StatusProcessed, ""), consumer.Decision{Action: consumer.Complete, Why: "processed"}}.
		aged(deadline + time.Hour).check(t)
}

// No fault but a 404 and a rejection ends an interaction before its deadline, and nothing completes one but `processed`.
func TestDecideVendorTroubleEndsNothing(t *testing.T) {
	for _, age := range []time.Duration{0, grace, grace + 1, deadline - 1, deadline} {
		for _, fault := range append(schema.Faults(), "invented tomorrow") {
			if fault == schema.FaultNotFound || fault == schema.FaultRejected {
				continue
			}
			r := row{facts: facts("", fault)}.aged(age)
			if d := consumer.Decide(r.facts); d.Action != consumer.HoldBack || d.Reason != "" {
				t.Errorf("%s at the age of %s: %+v, want it held back", fault, age, d)
			}
		}
	}
}

func TestDecideSaysWhyAndWhat(t *testing.T) {
	for _, age := range []time.Duration{young, grace + 1, deadline + 1} {
		for _, status := range append(schema.Statuses(), "reticulating") {
			checkDecision(t, row{facts: facts(status, "")}.aged(age).facts)
		}
		for _, fault := range append(schema.Faults(), "invented tomorrow") {
			f := facts("", fault)
			f.FaultDetail = "a line of detail"
			checkDecision(t, row{facts: f}.aged(age).facts)
		}
	}
}

// checkDecision holds what is true of every decision.
func checkDecision(t *testing.T, f consumer.Facts) {
	t.Helper()
	d := consumer.Decide(f)
	buried := d.Action == consumer.Bury
	switch {
	case d.Why == "":
		t.Errorf("Decide(%+v) does not say why", f)
	case buried != (d.Reason != ""), buried != (d.Detail != ""), strings.Contains(d.Detail, "\n"):
		t.Errorf("Decide(%+v) is %+v: a dead letter has a reason and a line of detail, nothing else has", f, d)
	case buried && !d.NotBefore.IsZero():
		t.Errorf("Decide(%+v) is %+v: nothing comes after a dead letter", f, d)
	}
}

func TestDestinations(t *testing.T) {
	want := map[schema.Type]map[bool][]schema.Destination{
		schema.Audio:      {true: {schema.ToTranscript, schema.ToCXAI}, false: {schema.ToTranscript}},
		schema.Chat:       {true: {schema.ToCXAI}, false: {schema.Unrouted}},
		schema.Transcript: {true: {schema.ToCXAI}, false: {schema.Unrouted}},
	}
	for _, typ := range schema.Types() {
		for _, ai := range []bool{true, false} {
			if got := consumer.Destinations(typ, ai); !reflect.DeepEqual(got, want[typ][ai]) {
				t.Errorf("Destinations(%s, %t) = %v, want %v", typ, ai, got, want[typ][ai])
			}
		}
	}
}
