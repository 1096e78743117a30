package flags

import (
	"errors"
	"testing"
	"time"

	"statusworker/cmd/internal/cli"
	"statusworker/consumer"
	"statusworker/statusclient"
)

func TestEveryFlagOfAConfigExists(t *testing.T) {
	for field, flag := range flagOf {
		if cli.Variable(Worker{}, flag) == "" {
			t.Errorf("flagOf[%q] is %q, and there is no such flag with a variable", field, flag)
		}
	}
}

// An error about a field of a Config names the flag that sets it.
func TestConfigErrorsNameTheFlag(t *testing.T) {
	for flag, err := range map[string]error{
		"concurrency": &consumer.ConfigError{Field: "Concurrency", Value: "1", Want: "more"},
		"base-url":    &statusclient.ConfigError{Field: "BaseURL", Value: "vendor", Want: "https"},
		"api-token":   &statusclient.ConfigError{Field: "Token", Value: "s3cret word", Want: "a token"},
	} {
		var setting *cli.SettingError
		if got := AsUsage(err); !errors.As(got, &setting) || setting.Flag != flag || setting.Variable == "" {
			t.Errorf("%v becomes %v, want an error about --%s and its variable", err, got, flag)
		}
	}
	other := errors.New("other")
	if got := AsUsage(other); !errors.Is(got, other) {
		t.Errorf("other error became %v", got)
	}
}

// Intervals below the vendor's guidance are allowed for a loopback vendor only.
func TestIntervalsKeepTheGuidance(t *testing.T) {
	guided := Timing{
		AudioInterval: 30 * time.Second, ChatInterval: 5 * time.Second, TranscriptInterval: 5 * time.Second,
		RequestTimeout: time.Second,
	}
	short, none := guided, guided
	short.ChatInterval, none.TranscriptInterval = time.Second, 0
	const vendor, simulated = "https://vendor.example/v1", "http://127.0.0.1:1/v1"
	for _, tt := range []struct {
		timing Timing
		at     string
		wrong  string
	}{
		{guided, vendor, ""}, {short, vendor, "chat-interval"},
		{short, simulated, ""}, {none, simulated, "transcript-interval"},
	} {
		_, err := tt.timing.Intervals(Base{BaseURL: tt.at})
		var setting *cli.SettingError
		if tt.wrong == "" && err != nil || tt.wrong != "" && (!errors.As(err, &setting) || setting.Flag != tt.wrong) {
			t.Errorf("%+v at %s: error %v, want one about %q", tt.timing, tt.at, err, tt.wrong)
		}
	}
}
