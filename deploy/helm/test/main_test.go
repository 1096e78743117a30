package test

import (
	"log/slog"
	"os"
	"testing"
)

// Helm logs each link that it follows, at every rendering.
func TestMain(m *testing.M) {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	os.Exit(m.Run())
}
