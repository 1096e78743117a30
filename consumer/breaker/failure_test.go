package breaker

import (
	"testing"

	"statusworker/schema"
)

func TestFailureOf(t *testing.T) {
	want := map[schema.Fault]Failure{
		"": NoFailure, schema.FaultNotFound: NoFailure, schema.FaultRejected: NoFailure, schema.FaultNotSent: NoFailure,
		schema.FaultUnauthorized: Unauthorized, schema.FaultThrottled: Throttled,
		schema.FaultUnavailable: Unavailable, schema.FaultNotAStatus: Unavailable, "invented tomorrow": Unavailable,
	}
	for _, fault := range append(schema.Faults(), "", "invented tomorrow") {
		failure, ok := want[fault]
		if got := FailureOf(fault); !ok || got != failure {
			t.Errorf("FailureOf(%s) = %q, want %q", fault, got, failure)
		}
	}
}
