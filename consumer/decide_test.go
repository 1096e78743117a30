package consumer_test

import (
	"net/http"
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

// facts are those of a young interaction, and of a worker with the default limits.
func facts(status schema.Status, fault schema.Fault) consumer.Facts {
	f := consumer.Facts{
		Status: status, Fault: fault, Sent: now, Now: now, Age: young, NotFoundGrace: grace, Deadline: deadline,
		FailedStatuses: []schema.Status{"transcriptionFailed", "gone"},
	}
	if fault.Refusal() {
		f.StatusCode = 404
	}
	return f
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// refusals are count refusals in a row, the first of them at that age.
func refusals(statusCode, count int, ago time.Duration) schema.Refusals {
	return schema.Refusals{StatusCode: statusCode, Count: count, Since: now.Add(-ago)}
}

func (r row) aged(age time.Duration) row { r.facts.Age = age; return r }

// row is a row of the decision table. The Detail of want lists the values that the detail must have, separated by line
// breaks.
type row struct {
	name  string
	facts consumer.Facts
	want  consumer.Decision
}

func (r row) check(t *testing.T) {
	t.Helper()
	t.Run(r.name, func(t *testing.T) {
		got := consumer.Decide(r.facts)
		if (got.Detail == "") != (r.want.Detail == "") {
			t.Errorf("the detail is %q, want one with %q", got.Detail, r.want.Detail)
		}
		for value := range strings.SplitSeq(r.want.Detail, "\n") {
			if !strings.Contains(got.Detail, value) {
				t.Errorf("the detail %q lacks %q", got.Detail, value)
			}
		}
		want := r.want
		got.Detail, want.Detail = "", ""
		if got != want {
			t.Errorf("Decide(%+v)\n     is %+v,\n   want %+v", r.facts, got, want)
		}
	})
}

var retryAt = time.Date(2026, 3, 1, 12, 0, 7, 0, time.UTC)

var unconfirmed = consumer.Decision{
	Action: consumer.Redeliver, Why: "refused, not confirmed", Refusals: refusals(404, 1, 0),
}

// decisionOf are the decisions about a young interaction, by fault.
var decisionOf = map[schema.Fault]consumer.Decision{
	schema.FaultNotFound:     unconfirmed,
	schema.FaultRejected:     unconfirmed,
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
			schema.Failed: {
				Action: consumer.DeadLetter, Why: "failed", Reason: status.Reason(),
				Detail: "errorMessage",
			},
		}[status.Meaning()]
		row{string(status), facts(status, ""), want}.check(t)
		if want.Action != consumer.Redeliver {
			row{string(status) + ", long after the deadline", facts(status, ""), want}.aged(10 * deadline).check(t)
		}
		if want.Action == consumer.DeadLetter {
			f := facts(status, "")
			f.ErrorMessage = "the file is empty"
			want.Detail = "errorMessage: the file is empty"
			row{string(status) + " with a message", f, want}.check(t)
		}
	}
	forged := facts(schema.StatusProcessingFailed, "")
	forged.ErrorMessage = "a\r\n\x1b[31mb\u009bc\u2028d\x00é"
	row{"a message with control characters", forged, consumer.Decision{
		Action: consumer.DeadLetter, Why: "failed", Reason: schema.ProcessingFailed,
		Detail: "errorMessage: a  \uFFFD[31mb\uFFFDc d\uFFFDé",
	}}.check(t)
	for _, status := range []schema.Status{"transcriptionFailed", "gone"} {
		f := facts(status, "")
		f.ErrorMessage = "no speech"
		row{"configured as failed " + string(status), f, consumer.Decision{
			Action: consumer.DeadLetter, Why: "failed", Reason: schema.VendorFailed,
			Detail: schema.Quote(string(status)) + "\nerrorMessage: no speech",
		}}.check(t)
	}
	for _, status := range []schema.Status{
		"TranscriptionFailed", "transcriptionFailed ", "aFailed", "", "reticulating", "Processed", "PROCESSED",
		"processed ", "processingfailed", "deleted",
	} {
		row{"unknown " + string(status), facts(status, ""), consumer.Decision{
			Action: consumer.Redeliver, Why: "pending, unknown", UnknownStatus: true,
		}}.check(t)
	}
}

// The result of a poll in the metrics agrees with the decision, and is always one of the listed results.
func TestResultIsWhatIsDecided(t *testing.T) {
	results := map[consumer.Result]bool{}
	for _, r := range consumer.Results() {
		results[r] = false
	}
	want := map[consumer.Action]consumer.Result{
		consumer.Redeliver: consumer.ResultPending, consumer.Complete: consumer.ResultProcessed,
		consumer.DeadLetter: consumer.ResultFailed,
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
			continue // it was not polled
		}
		f := facts("", fault)
		if f.Result() != consumer.Result(fault) {
			t.Errorf("the result of fault %s is %s", fault, f.Result())
		}
		results[f.Result()] = true
	}
	if len(results) != len(consumer.Results()) {
		t.Errorf("results %v, want only listed ones: %v", results, consumer.Results())
	}
	for r, found := range results {
		if !found {
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

		// Retry-After counts only for faults with which the vendor can ask for a pause.
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

// A refusal is confirmed at the third poll in a row, when the grace period since the first one is over, unless the
// vendor refuses all.
func TestDecideRefusals(t *testing.T) {
	t.Run(string(schema.FaultNotFound), func(t *testing.T) {
		testRefusals(t, schema.FaultNotFound, http.StatusNotFound, schema.NotFound)
	})
	t.Run(string(schema.FaultRejected), func(t *testing.T) {
		testRefusals(t, schema.FaultRejected, http.StatusGone, schema.Rejected)
	})
}

func testRefusals(t *testing.T, fault schema.Fault, code int, reason schema.Reason) {
	const unconfirmed, doubted = "refused, not confirmed", "refused, as others are"
	confirmed := schema.Refusals{}
	one := breaker.Others{RefusedAlike: 1} // itself
	two := refusals(code, 2, grace)        // at the polls before
	others := func(o breaker.Others) breaker.Others {
		o.RefusedAlike = max(o.RefusedAlike, 1)
		return o
	}
	for _, tt := range []struct {
		name   string
		before schema.Refusals
		others breaker.Others
		after  schema.Refusals
		why    string
	}{
		{"first", schema.Refusals{}, one, refusals(code, 1, 0), unconfirmed},
		{"second", refusals(code, 1, grace), one, refusals(code, 2, grace), unconfirmed},
		{"third, soon", refusals(code, 2, grace-1), one, refusals(code, 3, grace-1), unconfirmed},
		{"third", two, one, confirmed, "refused"},
		{"many, soon", refusals(code, 50, grace-1), one, refusals(code, 51, grace-1), unconfirmed},
		{"third, some are refused", two, breaker.Others{RefusedAlike: 4}, confirmed, "refused"},
		{"third, many are refused", two, breaker.Others{RefusedAlike: 5}, refusals(code, 3, grace), doubted},
		{
			"third, all are refused", two, others(breaker.Others{AllRefused: true}), refusals(code, 3, grace), doubted,
		},
		{
			"third, all are refused, others succeeded for half of the grace period", two,
			breaker.Others{RefusedAlike: 9, AllRefused: true, Succeeded: now.Add(-grace / 2), Interval: time.Minute},
			confirmed, "refused",
		},
		{
			"third, all are refused, others succeeded for less", two,
			breaker.Others{RefusedAlike: 9, Succeeded: now.Add(-grace/2 - 1), Interval: time.Minute},
			refusals(code, 3, grace), doubted,
		},
		{
			"third, others succeeded for the grace period, and not for an interval", two,
			breaker.Others{RefusedAlike: 9, Succeeded: now, Interval: grace + 1}, refusals(code, 3, grace), doubted,
		},
		{
			"third, the worker watches since the first", two, others(breaker.Others{Since: now.Add(-grace)}),
			confirmed, "refused",
		},
		{
			"third, the worker watches since later", two, others(breaker.Others{Since: now.Add(1 - grace)}),
			refusals(code, 1, 0), unconfirmed,
		},
		{
			"after refusals with another HTTP status", refusals(http.StatusBadRequest, 10, 2*grace), one,
			refusals(code, 1, 0), unconfirmed,
		},
		{
			"by a clock that was set back", refusals(code, 2, -time.Hour), one,
			refusals(code, 3, -time.Hour), unconfirmed,
		},
	} {
		f := facts("", fault)
		f.StatusCode, f.FaultDetail, f.Refusals, f.Others = code, "what it said", tt.before, tt.others
		d := consumer.Decision{Action: consumer.Redeliver, Why: tt.why, Refusals: tt.after}
		if tt.after == confirmed {
			d = consumer.Decision{
				Action: consumer.DeadLetter, Why: tt.why, Reason: reason,
				Detail: fault.Text() + "\n3 consecutive polls over 5m\n: what it said",
			}
		}
		row{tt.name, f, d}.check(t)
		// The age of the interaction does not matter, up to its deadline.
		row{"old, " + tt.name, f, d}.aged(deadline).check(t)
		if d.Action == consumer.Redeliver {
			row{"beyond its deadline, " + tt.name, f, consumer.Decision{
				Action: consumer.DeadLetter, Why: "deadline exceeded", Reason: schema.DeadlineExceeded,
				Detail: "48h\nthe deadline is 24h\nno status: what it said",
			}}.aged(2 * deadline).check(t)
		}
	}
}

// The vendor has refused an interaction for the grace period only if the last request was sent so late. That its answer
// came so late proves nothing.
func TestDecideRefusalsAnsweredLate(t *testing.T) {
	for _, tt := range []struct {
		sent time.Time
		want consumer.Action
	}{
		{now.Add(-time.Second), consumer.DeadLetter},
		{now.Add(-time.Second - 1), consumer.Redeliver},
		{now.Add(-time.Minute), consumer.Redeliver},
	} {
		f := facts("", schema.FaultNotFound)
		f.Refusals, f.Sent = refusals(404, 2, grace+time.Second), tt.sent
		if d := consumer.Decide(f); d.Action != tt.want {
			t.Errorf("sent %s before the answer: %s (%s), want %s", now.Sub(tt.sent), d.Action, d.Why, tt.want)
		}
	}
}

// Any other result resets the count of refusals; a request that was not sent does not.
func TestDecideRefusalsInARow(t *testing.T) {
	row := refusals(404, 2, time.Hour)
	for _, status := range append(schema.Statuses(), "reticulating") {
		f := facts(status, "")
		f.Refusals = row
		if d := consumer.Decide(f); d.Refusals.Count != 0 {
			t.Errorf("after %s the refusals are %v, want none", status, d.Refusals)
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
			t.Errorf("after %s the refusals are %v, want %d", fault, d.Refusals, want)
		}
	}
}

func TestDecideDeadline(t *testing.T) {
	exceeded := func(last string) consumer.Decision {
		return consumer.Decision{
			Action: consumer.DeadLetter, Why: "deadline exceeded", Reason: schema.DeadlineExceeded,
			Detail: "no final status 24h \nthe deadline is 24h\n" + last,
		}
	}
	pending := facts(schema.StatusProcessing, "")
	row{"pending at the deadline", pending, consumer.Decision{Action: consumer.Redeliver, Why: "pending"}}.
		aged(deadline).check(t)
	row{"pending just beyond it", pending, exceeded(schema.Quote("processing"))}.aged(deadline + 1).check(t)

	unknownStatus := exceeded(schema.Quote("reti\nculating"))
	unknownStatus.UnknownStatus = true
	row{"unknown just beyond it", facts("reti\nculating", ""), unknownStatus}.aged(deadline + 1).check(t)

	for fault, before := range decisionOf {
		if fault.Refusal() {
			continue // TestDecideRefusals
		}
		f := facts("", fault)
		f.FaultDetail, f.RetryAt = "what the vendor did", retryAt
		row{string(fault) + " at the deadline", f, before}.aged(deadline).check(t)

		after := exceeded("no status: what the vendor did")
		if fault == schema.FaultNotSent {
			after = before // the vendor was not asked: the interaction may have ended
		}
		row{string(fault) + " just beyond it", f, after}.aged(deadline + 1).check(t)
	}

	processed := consumer.Decision{Action: consumer.Complete, Why: "processed"}
	row{"final beyond it", facts(schema.StatusProcessed, ""), processed}.aged(deadline + time.Hour).check(t)
}

// No fault ends an interaction before its deadline, except a confirmed refusal.
func TestDecideVendorFailureEndsNothing(t *testing.T) {
	for _, age := range []time.Duration{0, grace, grace + 1, deadline - 1, deadline} {
		for _, fault := range append(schema.Faults(), "invented tomorrow") {
			r := row{facts: facts("", fault)}.aged(age)
			if d := consumer.Decide(r.facts); d.Action != consumer.Redeliver || d.Reason != "" {
				t.Errorf("%s at the age of %s: %+v, want a redelivery", fault, age, d)
			}
		}
	}
}

// A decision has a reason, whatever the answer of the vendor is.
func TestDecisionsAreExplained(t *testing.T) {
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

// checkDecision checks what is true of every decision.
func checkDecision(t *testing.T, f consumer.Facts) {
	t.Helper()
	d := consumer.Decide(f)
	deadLettered := d.Action == consumer.DeadLetter
	switch {
	case d.Why == "":
		t.Errorf("Decide(%+v) gives no Why", f)
	case deadLettered != (d.Reason != ""), deadLettered != (d.Detail != ""), strings.Contains(d.Detail, "\n"):
		t.Errorf("Decide(%+v) is %+v: only a dead letter has a reason and a detail, of one line", f, d)
	case deadLettered && !d.NotBefore.IsZero():
		t.Errorf("Decide(%+v) is %+v: no poll follows a dead letter", f, d)
	}
}
