package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

func TestByteOrderMarkIsIgnored(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		const mark = "\ufeff"
		good, invalid, utf16 := uuid.NewString(), uuid.NewString(), uuid.NewString()
		s.Vendor.Declare(good, simulator.Processed(300*time.Millisecond))
		want := map[string]string{ // the declaration, by subject
			ns.ProcessedSubject(schema.ToCXAI, good):         string(stage.Declaration(schema.Chat, good)),
			ns.FailedSubject(schema.InvalidMessage, invalid): string(stage.Declaration("fax", invalid)),
			ns.FailedSubject(schema.InvalidMessage, utf16):   "null",
		}
		s.Publish(ns.DeclaredSubject(schema.Chat, good), mark+string(stage.Declaration(schema.Chat, good)))
		s.Publish(ns.DeclaredSubject(schema.Chat, invalid), mark+string(stage.Declaration("fax", invalid)))
		s.Publish(ns.DeclaredSubject(schema.Chat, utf16), "\xff\xfe{\x00}\x00")
		s.Start()
		for _, o := range s.WaitOutcomes(len(want)) {
			if declaration, ok := want[o.Subject]; !ok || string(o.Data.Declaration) != declaration {
				t.Errorf("outcome on %s with the declaration %s, want %q", o.Subject, o.Data.Declaration, declaration)
			}
		}
		s.WaitDrained()
	})
}

// Names of members are case-sensitive.
func TestMembersInAnotherCaseAreInvalid(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		bare, event := uuid.NewString(), uuid.NewString()
		const misspelled = `"includeAIResults":false`
		s.DeclareAs(schema.Audio, bare, misspelled)
		s.Publish(ns.DeclaredSubject(schema.Audio, event), fmt.Sprintf(
			`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":%s}`,
			stage.Declaration(schema.Audio, event, misspelled),
		))
		s.Start()
		s.WantOutcomes(
			ns.FailedSubject(schema.InvalidMessage, bare), ns.FailedSubject(schema.InvalidMessage, event),
		)
		s.WaitDrained()
		if s.Vendor.Count() != 0 {
			t.Error("the vendor was asked about an invalid message")
		}
	})
}
