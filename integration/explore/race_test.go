//go:build race

package explore

// The race detector makes a history ten times slower.
const defaultHistories = 60
