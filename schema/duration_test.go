package schema_test

import (
	"testing"
	"time"

	"statusworker/schema"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"14d": 14 * day, "1d12h": 36 * time.Hour, "-2d1h": -49 * time.Hour, "0d": 0, "30s": 30 * time.Second,
		"24h": day, "1.5h": 90 * time.Minute, "65535d": 65535 * day,
	} {
		if got, err := schema.ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "d", "1.5d", "1d-1h", "1d+1h", "1h1d", "1dd", "65536d", "65535d2000000h", "+1d", "1d ", "14", "1d12",
	} {
		if got, err := schema.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %s, want an error", text, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 14 * 24 * time.Hour: "14d", 48 * time.Hour: "48h", 36 * time.Hour: "36h", 90 * time.Minute: "1h30m",
		5 * time.Minute: "5m", 10 * time.Second: "10s", 90 * time.Second: "1m30s", 200 * time.Millisecond: "200ms",
		-time.Hour: "-1h", time.Hour + time.Second: "1h0m1s", 73 * time.Hour: "73h",
	} {
		got := schema.Duration(d)
		if got != want {
			t.Errorf("Duration(%s) = %s, want %s", d, got, want)
		}
		if back, err := schema.ParseDuration(got); err != nil || back != d {
			t.Errorf("ParseDuration(%q) = %s, %v", got, back, err)
		}
	}
}
