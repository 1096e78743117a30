//go:build !race

package explore

// What .ci/run runs without the race detector: its step explore.
const (
	ordered          = true
	defaultHistories = 1000
	defaultSwitches  = 1
)
