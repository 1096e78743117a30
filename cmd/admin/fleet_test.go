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
		{"no error", nil, time.Second},
		{"no answer", errors.New("timeout"), time.Second},
		{"denied", fmt.Errorf("reading a stream: %w", nats.ErrPermissionViolation), deniedPause},
	} {
		if got := pause(time.Second, tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
}
