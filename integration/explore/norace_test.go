//go:build !race

package explore

const defaultHistories = 1000
