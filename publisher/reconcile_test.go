package publisher

import (
	"slices"
	"testing"
	"time"

	"statusworker/schema"
)

// Three lives of one interaction, one after the other.
var (
	first  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	second = first.Add(time.Hour)
	third  = second.Add(time.Hour)
)

func processed(life time.Time, to ...schema.Destination) []schema.Outcome {
	var all []schema.Outcome
	for _, d := range to {
		all = append(all, schema.Outcome{Identifier: "i", Destination: d, Origin: schema.Origin{Stored: life}})
	}
	return all
}

func failed(life time.Time, r schema.Reason) []schema.Outcome {
	return []schema.Outcome{{Identifier: "i", Reason: r, Origin: schema.Origin{Stored: life}}}
}

// records are the stored outcomes, of which the last was stored last.
func records(all ...[]schema.Outcome) []record {
	var rs []record
	for _, outcomes := range all {
		for _, o := range outcomes {
			rs = append(rs, record{
				subject: o.Subject(), sequence: uint64(10 + len(rs)), destination: o.Destination, reason: o.Reason, life: o.Origin.Stored,
			})
		}
	}
	return rs
}

func TestReconcile(t *testing.T) {
	const transcript, cxai, unrouted = schema.ToTranscript, schema.ToCXAI, schema.Unrouted
	both := processed(first, transcript, cxai)
	for _, c := range []struct {
		name   string
		wanted []schema.Outcome
		stored []record
		// missing are the subjects of what is left to publish; contradiction is the subject of what forbids it.
		missing       []string
		contradiction string
	}{
		// Nothing, or only invalid messages.
		{"nothing: processed", both, nil, subjects(both), ""},
		{"nothing: failed", failed(first, schema.Rejected), nil, subjects(failed(first, schema.Rejected)), ""},
		{"nothing: invalid", failed(first, schema.InvalidMessage), nil, subjects(failed(first, schema.InvalidMessage)), ""},
		{"an invalid message before it", both, records(failed(first.Add(-1), schema.InvalidMessage)), subjects(both), ""},
		{"an invalid message after it", both, records(failed(second, schema.InvalidMessage)), subjects(both), ""},
		{"an invalid message does not stop a dead letter", failed(first, schema.NotFound), records(failed(second, schema.InvalidMessage)),
			subjects(failed(first, schema.NotFound)), ""},

		// Processed before.
		{"processed: the same", both, records(both), nil, ""},
		{"processed: the same, the other way round", both, records(processed(first, cxai, transcript)), nil, ""},
		{"processed: crashed between two", both, records(processed(first, transcript)), subjects(both[1:]), ""},
		{"processed: the second stored alone", both, records(processed(first, cxai)), subjects(both[:1]), ""},
		{"processed: one life later", processed(second, transcript, cxai), records(both), nil, ""},
		{"processed: by a later life", both, records(processed(second, transcript, cxai)), nil, ""},
		{"processed: declared again for more", processed(second, transcript, cxai), records(processed(first, transcript)),
			subjects(both[1:]), ""},
		{"processed: declared again with nothing to fetch", processed(second, unrouted), records(processed(first, cxai)),
			subjects(processed(first, unrouted)), ""},
		{"processed, and an invalid message", both, records(processed(first, transcript), failed(first, schema.InvalidMessage)), subjects(both[1:]), ""},
		{"processed: a dead letter of that life", failed(first, schema.Rejected), records(both), nil, both[1].Subject()},
		{"processed: a dead letter of the next life", failed(second, schema.Rejected), records(both), nil, both[1].Subject()},
		{"processed: a dead letter of an older life", failed(first, schema.Rejected), records(processed(second, transcript)), nil, both[0].Subject()},

		// Failed before.
		{"failed: the same", failed(first, schema.Rejected), records(failed(first, schema.Rejected)), nil, ""},
		{"failed: the same reason, by a later life", failed(first, schema.Rejected), records(failed(second, schema.Rejected)), nil, ""},
		{"failed: another reason in that life", failed(first, schema.NotFound), records(failed(first, schema.Rejected)),
			nil, schema.FailedSubject(schema.Rejected, "i")},
		{"failed: another reason by a later life", failed(first, schema.NotFound), records(failed(second, schema.Rejected)),
			nil, schema.FailedSubject(schema.Rejected, "i")},
		{"failed: processed in that life", both, records(failed(first, schema.Rejected)), nil, schema.FailedSubject(schema.Rejected, "i")},
		{"failed: processed in an older life", both, records(failed(second, schema.Rejected)), nil, schema.FailedSubject(schema.Rejected, "i")},
		{"failed: declared again and processed", processed(second, transcript, cxai), records(failed(first, schema.Rejected)), subjects(both), ""},
		{"failed: declared again, failed the same way", failed(second, schema.Rejected), records(failed(first, schema.Rejected)),
			subjects(failed(second, schema.Rejected)), ""},
		{"failed: declared again, failed otherwise", failed(second, schema.NotFound), records(failed(first, schema.Rejected)),
			subjects(failed(second, schema.NotFound)), ""},

		// Mixed lives.
		{"failed twice, the second time counts", failed(second, schema.NotFound),
			records(failed(first, schema.NotFound), failed(second, schema.Rejected)), nil, schema.FailedSubject(schema.Rejected, "i")},
		{"failed twice, in whatever order they are read", failed(second, schema.NotFound),
			records(failed(second, schema.Rejected), failed(first, schema.NotFound)), nil, schema.FailedSubject(schema.Rejected, "i")},
		{"failed twice, then processed", processed(third, cxai),
			records(failed(first, schema.NotFound), failed(second, schema.Rejected)), subjects(processed(third, cxai)), ""},
		{"failed, then processed: the same again", processed(second, transcript, cxai),
			records(failed(first, schema.Rejected), processed(second, transcript, cxai)), nil, ""},
		{"failed, then crashed between two", processed(second, transcript, cxai),
			records(failed(first, schema.Rejected), processed(second, transcript)), subjects(both[1:]), ""},
		{"failed, then crashed between two: the old life is processed after all", both,
			records(failed(first, schema.Rejected), processed(second, transcript)), subjects(both[1:]), ""},
		{"failed, then processed: the old dead letter once more", failed(first, schema.Rejected),
			records(failed(first, schema.Rejected), processed(second, cxai)), nil, schema.ProcessedSubject(cxai, "i")},
		{"failed, then processed: a dead letter of a third life", failed(third, schema.Rejected),
			records(failed(first, schema.Rejected), processed(second, cxai)), nil, schema.ProcessedSubject(cxai, "i")},

		// Invalid messages among themselves: only their own subject was read.
		{"invalid: the same message", failed(first, schema.InvalidMessage), records(failed(first, schema.InvalidMessage)), nil, ""},
		{"invalid: the next message", failed(second, schema.InvalidMessage), records(failed(first, schema.InvalidMessage)),
			subjects(failed(second, schema.InvalidMessage)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := reconcile(c.wanted, c.stored)
			if c.contradiction != "" {
				if got.contradiction == nil || got.contradiction.subject != c.contradiction || len(got.missing) != 0 {
					t.Errorf("reconcile gave %+v, want the contradiction %s and nothing to publish", got, c.contradiction)
				}
				return
			}
			var last uint64
			for _, r := range c.stored {
				last = max(last, r.sequence)
			}
			// The broker lists subjects in any order.
			for range 2 {
				if got.contradiction != nil || !slices.Equal(subjects(got.missing), c.missing) || got.expected != last {
					t.Errorf("missing are %v after %d, contradiction is %v, want %v missing after %d", subjects(got.missing), got.expected, got.contradiction, c.missing, last)
				}
				slices.Reverse(c.stored)
				got = reconcile(c.wanted, c.stored)
			}
		})
	}
}

func subjects(outcomes []schema.Outcome) []string {
	var all []string
	for _, o := range outcomes {
		all = append(all, o.Subject())
	}
	return all
}

// Every life and order of a dead letter and processed events: two kinds of outcome are only ever stored together where a
// processed event follows the dead letter of an older life.
func TestReconcileNeverMixesALife(t *testing.T) {
	lives := []time.Time{first, second}
	for _, a := range lives {
		for _, b := range lives {
			for _, r := range schema.Reasons() {
				if r == schema.InvalidMessage {
					continue
				}
				if v := reconcile(failed(a, r), records(processed(b, schema.ToCXAI))); len(v.missing) > 0 {
					t.Errorf("dead letter %s of %s goes beside a processed event of %s", r, a, b)
				}
				v := reconcile(processed(a, schema.ToCXAI), records(failed(b, r)))
				if through := len(v.missing) > 0; through != a.After(b) || through == (v.contradiction != nil) {
					t.Errorf("a processed event of %s after dead letter %s of %s gave %+v", a, r, b, v)
				}
			}
		}
	}
}
