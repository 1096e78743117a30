//go:build race

package explore

// The race detector makes a history ten times slower, and the order of goroutines random.
const (
	ordered          = false
	defaultHistories = 4
	defaultSwitches  = 0
)
