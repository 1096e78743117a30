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
	for _, tt := range []struct {
		what string
		err  error
		want time.Duration
	}{
		{"all is well", nil, lookEvery},
		{"the broker does not answer", errors.New("timeout"), lookEvery},
		{"a right is missing", fmt.Errorf("reading a stream: %w", fmt.Errorf("%w: one", nats.ErrPermissionViolation)), lookAgain},
	} {
		if got := pause(tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
}
