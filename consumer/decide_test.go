package consumer_test

import (
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/schema"
)

const (
	grace    = 5 * time.Minute
	deadline = 24 * time.Hour
	young    = time.Minute
)

// facts are those of an interaction that is young, and of a worker with the default limits.
func facts(status schema.Status, fault schema.Fault) consumer.Facts {
	f := consumer.Facts{Status: status, Fault: fault, Now: now, Age: young, NotFoundGrace: grace, Deadline: deadline, FailedStatuses: []schema.Status{"transcriptionFailed", "gone"}}
	if fault.Refusal() {
		f.StatusCode = 404
	}
	return f
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// refusals are so many in a row, the first of them that long ago.
func refusals(statusCode, count int, ago time.Duration) schema.Refusals {
	return schema.Refusals{StatusCode: statusCode, Count: count, Since: now.Add(-ago)}
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
	schema.FaultNotFound:     {Action: consumer.Redeliver, Why: "refused, not confirmed", Refusals: refusals(404, 1, 0)},
	schema.FaultRejected:     {Action: consumer.Redeliver, Why: "refused, not confirmed", Refusals: refusals(404, 1, 0)},
	schema.FaultUnauthorized: {Action: consumer.Redeliver, Why: "unauthorized"},
	schema.FaultThrottled:    {Action: consumer.Redeliver, Why: "throttled", NotBefore: retryAt},
	schema.FaultUnavailable:  {Action: consumer.Redeliver, Why: "unavailable", NotBefore: retryAt},
	schema.FaultNotAStatus:   {Action: consumer.Redeliver, Why: "not a status"},
	schema.FaultNotSent:      {Action: consumer.Redeliver, Why: "not sent"},
}

func TestDecideStatus(t *testing.T) {
	for _, status := range schema.Statuses() {
		want := map[schema.Meaning]consumer.Decision{
			schema.Pending:   {Action: consumer.Redeliver, Why: "pending"},
			schema.Processed: {Action: consumer.Complete, Why: "processed"},
			schema.Failed:    {Action: consumer.DeadLetter, Why: "failed", Reason: status.Reason(), Detail: "the vendor gave no errorMessage"},
		}[status.Meaning()]
		row{string(status), facts(status, ""), want}.check(t)
		if want.Action != consumer.Redeliver {
			row{string(status) + ", long after the deadline", facts(status, ""), want}.aged(10 * deadline).check(t)
		}
		if want.Action == consumer.DeadLetter {
			f := facts(status, "")
			f.ErrorMessage = "the file is empty"
			want.Detail = "the vendor's errorMessage: the file is empty"
			row{string(status) + " with a message", f, want}.check(t)
		}
	}
	forged := facts(schema.StatusProcessingFailed, "")
	forged.ErrorMessage = "a\r\n\x1b[31mb\u009bc\u2028d\x00é"
	row{"a message with control characters", forged, consumer.Decision{
		Action: consumer.DeadLetter, Why: "failed", Reason: schema.ProcessingFailed, Detail: "the vendor's errorMessage: a  \uFFFD[31mb\uFFFDc d\uFFFDé",
	}}.check(t)
	for _, status := range []schema.Status{"transcriptionFailed", "gone"} {
		f := facts(status, "")
		f.ErrorMessage = "no speech"
		row{"named as failed " + string(status), f, consumer.Decision{
			Action: consumer.DeadLetter, Why: "failed", Reason: schema.VendorFailed,
			Detail: `the vendor's status is "` + string(status) + `"; the vendor's errorMessage: no speech`,
		}}.check(t)
	}
	for _, status := range []schema.Status{"TranscriptionFailed", "transcriptionFailed ", "aFailed", "", "reticulating", "Processed", "PROCESSED", "processed ", "processingfailed", "deleted"} {
		row{"unknown " + string(status), facts(status, ""), consumer.Decision{
			Action: consumer.Redeliver, Why: "pending, unknown", UnknownStatus: true,
		}}.check(t)
	}
}

// Metrics count a poll as what was decided by it, and as nothing that they have no label for.
func TestResultIsWhatIsDecided(t *testing.T) {
	results := map[consumer.Result]bool{}
	for _, r := range consumer.Results() {
		results[r] = false
	}
	want := map[consumer.Action]consumer.Result{
		consumer.Redeliver: consumer.ResultPending, consumer.Complete: consumer.ResultProcessed, consumer.DeadLetter: consumer.ResultFailed,
	}
	for _, status := range append(schema.Statuses(), "transcriptionFailed", "gone", "reticulating", "Processed", "") {
		f := facts(status, "")
		if d := consumer.Decide(f); f.Result() != want[d.Action] {
			t.Errorf("the result of %s is %s, and the decision %+v", status, f.Result(), d)
		}
		results[f.Result()] = true
	}
	for _, fault := range schema.Faults() {
		if fault == schema.FaultNotSent {
			continue // no poll
		}
		f := facts("", fault)
		if f.Result() != consumer.Result(fault) {
			t.Errorf("the result of fault %s is %s", fault, f.Result())
		}
		results[f.Result()] = true
	}
	if len(results) != len(consumer.Results()) {
		t.Errorf("there are results beside those that are listed: %v, %v", results, consumer.Results())
	}
	for r, had := range results {
		if !had {
			t.Errorf("no poll has the result %s", r)
		}
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
		Action: consumer.Redeliver, Why: "unavailable", NotBefore: retryAt,
	}}.check(t)
}

// A refusal is believed at the third poll in a row, when the grace since the first one is over, and when not all are
// refused.
func TestDecideRefusals(t *testing.T) {
	for fault, want := range map[schema.Fault]struct {
		code   int
		reason schema.Reason
		what   string
	}{
		schema.FaultNotFound: {404, schema.NotFound, "the vendor did not know it"},
		schema.FaultRejected: {410, schema.Rejected, "the vendor refused it"},
	} {
		for _, tt := range []struct {
			name   string
			before schema.Refusals
			others breaker.Others
			after  schema.Refusals // none: it ends
			why    string
		}{
			{"first", schema.Refusals{}, breaker.Others{RefusedAlike: 1}, refusals(want.code, 1, 0), "refused, not confirmed"},
			{"second", refusals(want.code, 1, grace), breaker.Others{RefusedAlike: 1}, refusals(want.code, 2, grace), "refused, not confirmed"},
			{"third, soon", refusals(want.code, 2, grace-1), breaker.Others{RefusedAlike: 1}, refusals(want.code, 3, grace-1), "refused, not confirmed"},
			{"third", refusals(want.code, 2, grace), breaker.Others{RefusedAlike: 1}, schema.Refusals{}, "refused"},
			{"many, soon", refusals(want.code, 50, grace-1), breaker.Others{RefusedAlike: 1}, refusals(want.code, 51, grace-1), "refused, not confirmed"},
			{"third, some are refused", refusals(want.code, 2, grace), breaker.Others{RefusedAlike: 4}, schema.Refusals{}, "refused"},
			{"third, many are refused", refusals(want.code, 2, grace), breaker.Others{RefusedAlike: 5}, refusals(want.code, 3, grace), "refused, as others are"},
			{"third, all are refused", refusals(want.code, 2, grace), breaker.Others{RefusedAlike: 1, AllRefused: true}, refusals(want.code, 3, grace), "refused, as others are"},
			{"third, all are refused, others succeeded for half of the grace", refusals(want.code, 2, grace),
				breaker.Others{RefusedAlike: 9, AllRefused: true, Succeeded: now.Add(-grace / 2), Interval: time.Minute}, schema.Refusals{}, "refused"},
			{"third, all are refused, others succeeded for less", refusals(want.code, 2, grace),
				breaker.Others{RefusedAlike: 9, Succeeded: now.Add(-grace/2 - 1), Interval: time.Minute}, refusals(want.code, 3, grace), "refused, as others are"},
			{"third, others succeeded for the grace, and not for an interval", refusals(want.code, 2, grace),
				breaker.Others{RefusedAlike: 9, Succeeded: now, Interval: grace + 1}, refusals(want.code, 3, grace), "refused, as others are"},
			{"third, and the worker watches since the first", refusals(want.code, 2, grace), breaker.Others{RefusedAlike: 1, Since: now.Add(-grace)}, schema.Refusals{}, "refused"},
			{"third, and the worker watches since later", refusals(want.code, 2, grace), breaker.Others{RefusedAlike: 1, Since: now.Add(1 - grace)}, refusals(want.code, 1, 0), "refused, not confirmed"},
			{"after others of another kind", refusals(400, 10, 2*grace), breaker.Others{RefusedAlike: 1}, refusals(want.code, 1, 0), "refused, not confirmed"},
			{"by a clock that was set back", refusals(want.code, 2, -time.Hour), breaker.Others{RefusedAlike: 1}, refusals(want.code, 3, -time.Hour), "refused, not confirmed"},
		} {
			f := facts("", fault)
			f.StatusCode, f.FaultDetail, f.Refusals, f.Others = want.code, "what it said", tt.before, tt.others
			d := consumer.Decision{Action: consumer.Redeliver, Why: tt.why, Refusals: tt.after}
			if tt.after.Count == 0 {
				d = consumer.Decision{Action: consumer.DeadLetter, Why: tt.why, Reason: want.reason, Detail: want.what + " at 3 polls in a row over 5m0s: what it said"}
			}
			row{string(fault) + " " + tt.name, f, d}.check(t)
			// How old the interaction is does not matter, up to its deadline.
			row{string(fault) + " old, " + tt.name, f, d}.aged(deadline).check(t)
			if d.Action == consumer.Redeliver {
				row{string(fault) + " beyond its deadline, " + tt.name, f, consumer.Decision{
					Action: consumer.DeadLetter, Why: "deadline exceeded", Reason: schema.DeadlineExceeded,
					Detail: "not terminal 48h0m0s after it was declared, 24h0m0s are allowed; the last poll got none: what it said",
				}}.aged(2 * deadline).check(t)
			}
		}
	}
}

// Whatever is not the same refusal begins the row anew; a request that was not sent is no poll.
func TestDecideRefusalsInARow(t *testing.T) {
	row := refusals(404, 2, time.Hour)
	for _, status := range append(schema.Statuses(), "reticulating") {
		f := facts(status, "")
		f.Refusals = row
		if d := consumer.Decide(f); d.Refusals.Count != 0 {
			t.Errorf("after %s there are %v", status, d.Refusals)
		}
	}
	for _, fault := range append(schema.Faults(), "invented tomorrow") {
		f := facts("", fault)
		f.Refusals, f.StatusCode = row, 503
		want := 0
		switch {
		case fault == schema.FaultNotSent:
			want = 2
		case fault.Refusal(): // with another HTTP status
			want = 1
		}
		if d := consumer.Decide(f); d.Refusals.Count != want {
			t.Errorf("after %s there are %v, want %d", fault, d.Refusals, want)
		}
	}
}

func TestDecideDeadline(t *testing.T) {
	exceeded := func(last string) consumer.Decision {
		return consumer.Decision{
			Action: consumer.DeadLetter, Why: "deadline exceeded", Reason: schema.DeadlineExceeded,
			Detail: "not terminal 24h0m0s after it was declared, 24h0m0s are allowed; " + last,
		}
	}
	pending := facts(schema.StatusProcessing, "")
	row{"pending at the deadline", pending, consumer.Decision{Action: consumer.Redeliver, Why: "pending"}}.aged(deadline).check(t)
	row{"pending just beyond it", pending, exceeded(`the last status was "processing"`)}.aged(deadline + 1).check(t)

	unknownStatus := exceeded(`the last status was "reti\nculating"`)
	unknownStatus.UnknownStatus = true
	row{"unknown just beyond it", facts("reti\nculating", ""), unknownStatus}.aged(deadline + 1).check(t)

	for fault, before := range decisionOf {
		if fault.Refusal() {
			continue // TestDecideRefusals
		}
		f := facts("", fault)
		f.FaultDetail, f.RetryAt = "what the vendor did", retryAt
		row{string(fault) + " at the deadline", f, before}.aged(deadline).check(t)

		after := exceeded("the last poll got none: what the vendor did")
		if fault == schema.FaultNotSent {
			after = before // nobody asked the vendor: it may have ended long ago
		}
		row{string(fault) + " just beyond it", f, after}.aged(deadline + 1).check(t)
	}

	row{"terminal beyond it", facts(schema.StatusProcessed, ""), consumer.Decision{Action: consumer.Complete, Why: "processed"}}.
		aged(deadline + time.Hour).check(t)
}

// No fault ends an interaction before its deadline, but for a refusal that is confirmed, and nothing completes one but
// `processed`.
func TestDecideVendorFailureEndsNothing(t *testing.T) {
	for _, age := range []time.Duration{0, grace, grace + 1, deadline - 1, deadline} {
		for _, fault := range append(schema.Faults(), "invented tomorrow") {
			r := row{facts: facts("", fault)}.aged(age)
			if d := consumer.Decide(r.facts); d.Action != consumer.Redeliver || d.Reason != "" {
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
	deadLettered := d.Action == consumer.DeadLetter
	switch {
	case d.Why == "":
		t.Errorf("Decide(%+v) does not say why", f)
	case deadLettered != (d.Reason != ""), deadLettered != (d.Detail != ""), strings.Contains(d.Detail, "\n"):
		t.Errorf("Decide(%+v) is %+v: a dead letter has a reason and a line of detail, nothing else has", f, d)
	case deadLettered && !d.NotBefore.IsZero():
		t.Errorf("Decide(%+v) is %+v: nothing comes after a dead letter", f, d)
	}
}
