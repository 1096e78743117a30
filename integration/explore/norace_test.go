//go:build !race

package explore

// Without the race detector, histories are ordered, and repeat with their seed.
const (
	ordered          = true
	defaultHistories = 100
	defaultSwitches  = 1
)
