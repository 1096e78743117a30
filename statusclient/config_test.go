package statusclient_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"statusworker/statusclient"
)

func TestNewChecksConfig(t *testing.T) {
	dir := t.TempDir()
	empty, good := filepath.Join(dir, "empty"), filepath.Join(dir, "good")
	writeFile(t, empty, " \n")
	writeFile(t, good, token+"\r\n")
	inQuotes := filepath.Join(dir, "quotes")
	writeFile(t, inQuotes, "'"+token+"'\n")
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	const vendor = "https://api.elevateai.com/v1"
	tests := []struct {
		name  string
		cfg   statusclient.Config
		field string // empty: accepted
	}{
		{"documented", statusclient.Config{BaseURL: vendor, Token: token}, ""},
		{"trailing slash", statusclient.Config{BaseURL: vendor + "/", Token: token}, ""},
		{"port", statusclient.Config{BaseURL: "https://vendor.example:8443", Token: token}, ""},
		{"highest port", statusclient.Config{BaseURL: "https://vendor.example:65535", Token: token}, ""},
		{"port left out", statusclient.Config{BaseURL: "https://api.elevateai.com:/v1", Token: token}, ""},
		{"token file", statusclient.Config{BaseURL: vendor, TokenFile: good}, ""},
		{"http to localhost", statusclient.Config{BaseURL: "http://LocalHost:8080/v1", Token: token}, ""},
		{"http to 127/8", statusclient.Config{BaseURL: "http://127.1.2.3:8080/v1", Token: token}, ""},
		{"http to ::1", statusclient.Config{BaseURL: "http://[::1]:8080/v1", Token: token}, ""},

		{"another host without a path", statusclient.Config{BaseURL: "https://vendor.example", Token: token}, ""},
		{"another version", statusclient.Config{BaseURL: "https://api.elevateai.com/v2", Token: token}, ""},

		{"the resource too", statusclient.Config{BaseURL: vendor + "/interactions", Token: token}, "BaseURL"},
		{"the resource too, slash", statusclient.Config{BaseURL: vendor + "/interactions//", Token: token}, "BaseURL"},
		{"the resource too, other case", statusclient.Config{BaseURL: vendor + "/Interactions", Token: token},
			"BaseURL"},
		{"the resource too, other host", statusclient.Config{BaseURL: "http://127.0.0.1/a/interactions", Token: token},
			"BaseURL"},
		{"a whole request",
			statusclient.Config{BaseURL: vendor + "/interactions/bd5c92f3-c228-44a6-91bf-b52672569878/status",
				Token: token},
			"BaseURL"},
		{"the vendor's host without a path", statusclient.Config{BaseURL: "https://api.elevateai.com", Token: token},
			"BaseURL"},
		{"the vendor's host with a slash", statusclient.Config{BaseURL: "https://API.elevateai.com:443/", Token: token},
			"BaseURL"},
		{"no URL", statusclient.Config{Token: token}, "BaseURL"},
		{"http", statusclient.Config{BaseURL: "http://api.elevateai.com/v1", Token: token}, "BaseURL"},
		{"http to a private address", statusclient.Config{BaseURL: "http://10.0.0.1/v1", Token: token}, "BaseURL"},
		{"http to a name like localhost", statusclient.Config{BaseURL: "http://localhost.example.com/v1", Token: token},
			"BaseURL"},
		{"http to a name like an address",
			statusclient.Config{BaseURL: "http://127.0.0.1.example.com/v1", Token: token}, "BaseURL"},
		{"http to all addresses", statusclient.Config{BaseURL: "http://0.0.0.0/v1", Token: token}, "BaseURL"},
		{"another scheme", statusclient.Config{BaseURL: "ftp://api.elevateai.com/v1", Token: token}, "BaseURL"},
		{"no host", statusclient.Config{BaseURL: "https:///v1", Token: token}, "BaseURL"},
		{"two hosts", statusclient.Config{BaseURL: "https://a.example;b.example/v1", Token: token}, "BaseURL"},
		{"an impossible address", statusclient.Config{BaseURL: "https://10.0.0.300/v1", Token: token}, "BaseURL"},
		{"no scheme", statusclient.Config{BaseURL: "api.elevateai.com/v1", Token: token}, "BaseURL"},
		{"port 0", statusclient.Config{BaseURL: "https://api.elevateai.com:0/v1", Token: token}, "BaseURL"},
		{"port beyond all", statusclient.Config{BaseURL: "https://api.elevateai.com:65536/v1", Token: token},
			"BaseURL"},
		{"user", statusclient.Config{BaseURL: "https://u:" + token + "@api.elevateai.com/v1", Token: token}, "BaseURL"},
		{"query", statusclient.Config{BaseURL: vendor + "?token=" + token, Token: token}, "BaseURL"},
		{"fragment", statusclient.Config{BaseURL: vendor + "#" + token, Token: token}, "BaseURL"},
		{"escapes", statusclient.Config{BaseURL: vendor + "/%2f", Token: token}, "BaseURL"},
		{"upwards", statusclient.Config{BaseURL: vendor + "/../v2", Token: token}, "BaseURL"},
		{"control character", statusclient.Config{BaseURL: vendor + "\x00" + token, Token: token}, "BaseURL"},

		{"no token", statusclient.Config{BaseURL: vendor}, "Token"},
		{"token in quotes", statusclient.Config{BaseURL: vendor, Token: `"` + token + `"`}, "Token"},
		{"token file in quotes", statusclient.Config{BaseURL: vendor, TokenFile: inQuotes}, "TokenFile"},
		{"blank token", statusclient.Config{BaseURL: vendor, Token: " \n"}, "Token"},
		{"token with a space", statusclient.Config{BaseURL: vendor, Token: token + " " + token}, "Token"},
		{"token with a newline", statusclient.Config{BaseURL: vendor, Token: token + "\r\nX: " + token}, "Token"},
		{"token with NUL", statusclient.Config{BaseURL: vendor, Token: token + "\x00"}, "Token"},
		{"token beyond ASCII", statusclient.Config{BaseURL: vendor, Token: token + "é"}, "Token"},
		{"endless token", statusclient.Config{BaseURL: vendor, Token: strings.Repeat(token, 1000)}, "Token"},
		{"both", statusclient.Config{BaseURL: vendor, Token: token, TokenFile: good}, "TokenFile"},
		{"no such file", statusclient.Config{BaseURL: vendor, TokenFile: filepath.Join(dir, "none")}, "TokenFile"},
		{"empty file", statusclient.Config{BaseURL: vendor, TokenFile: empty}, "TokenFile"},
		{"directory", statusclient.Config{BaseURL: vendor, TokenFile: dir}, "TokenFile"},
		{"pipe", statusclient.Config{BaseURL: vendor, TokenFile: pipe}, "TokenFile"},
		{"device", statusclient.Config{BaseURL: vendor, TokenFile: "/dev/zero"}, "TokenFile"},

		{"timeout", statusclient.Config{BaseURL: vendor, Token: token, Timeout: -1}, "Timeout"},
		{"concurrency", statusclient.Config{BaseURL: vendor, Token: token, Concurrency: -1}, "Concurrency"},
		{"user agent", statusclient.Config{BaseURL: vendor, Token: token, UserAgent: "a\r\nb: c"}, "UserAgent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := statusclient.New(tt.cfg)
			if tt.field == "" {
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				return
			}
			var e *statusclient.ConfigError
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want a ConfigError", err)
			}
			if e.Field != tt.field || e.Want == "" || !strings.HasPrefix(e.Error(), tt.field+" is ") {
				t.Errorf("error %#v: %v, want one of field %s", e, e, tt.field)
			}
			hasNoToken(t, e)
		})
	}
}
