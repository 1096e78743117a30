package admin

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestPause(t *testing.T) {
	t.Parallel()
	violated, again := fmt.Errorf("%w: one", nats.ErrPermissionViolation), fmt.Errorf("%w: one", nats.ErrPermissionViolation)
	timeout := errors.New("timeout")
	for _, tt := range []struct {
		what               string
		err, before, after error
		want               time.Duration
	}{
		{"all is well", nil, nil, nil, lookEvery},
		{"the broker does not answer", timeout, nil, nil, lookEvery},
		{"a right is missing", timeout, nil, violated, lookAgain},
		{"it is missing still", timeout, violated, again, lookAgain},
		{"it was missing once, and the broker does not answer", timeout, violated, violated, lookEvery},
		{"it is there again", nil, violated, violated, lookEvery},
		{"another right was missing meanwhile", nil, violated, again, lookEvery},
	} {
		if got := pause(tt.err, tt.before, tt.after); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
}
