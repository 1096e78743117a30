package proxy

import (
	"errors"
	"net/url"
	"testing"

	"statusworker/cmd/internal/cli"
)

// A malformed proxy is rejected, not ignored.
func TestProxies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, value string
		good        bool
	}{
		{"HTTPS_PROXY", "http://proxy.example:3128", true},
		{"https_proxy", "proxy.example:3128", true},
		{"HTTPS_PROXY", "proxy", true},
		{"HTTP_PROXY", "https://user:pass@proxy.example:3128/", true},
		{"http_proxy", "socks5://[::1]:1080", true},
		{"HTTPS_PROXY", "user:pass@10.0.0.1:3128", true},
		{"HTTPS_PROXY", "http//proxy.example:3128", false},
		{"HTTPS_PROXY", "http:/proxy.example:3128", false},
		{"HTTPS_PROXY", "http:proxy.example:3128", false},
		{"https_proxy", "://proxy.example", false},
		{"HTTPS_PROXY", "http://", false},
		{"HTTPS_PROXY", "http://:3128", false},
		{"HTTPS_PROXY", "http://proxy.example:99999", false},
		{"HTTP_PROXY", "http://proxy.example:port", false},
		{"http_proxy", "ftp://proxy.example", false},
		{"HTTPS_PROXY", "http://proxy.example:3128/path", false},
		{"HTTPS_PROXY", "http://proxy.example:3128?x", false},
		{"HTTPS_PROXY", "http://proxy example:3128", false},
		{"HTTPS_PROXY", "http://10.0.0.300:3128", false},
		{"HTTPS_PROXY", "http://a.example,http://b.example", false},
		{"NO_PROXY", "localhost, .example.com,*.svc,10.0.0.0/8,::1/128,192.0.2.1:8080,a_b.example:443,", true},
		{"NO_PROXY", "[2001:db8::1]:443", true},
		{"no_proxy", "*", true},
		{"NO_PROXY", "bücher.example", true},
		{"NO_PROXY", "localhost 10.0.0.0/8", false},
		{"NO_PROXY", "localhost;example.com", false},
		{"no_proxy", "10.0.0.0/33", false},
		{"NO_PROXY", "10.0.0/8", false},
		{"NO_PROXY", "10.*", false},
		{"NO_PROXY", "*example.com", false},
		{"NO_PROXY", "http://example.com", false},
		{"NO_PROXY", "example.com:http", false},
		{"NO_PROXY", "10.0.0.300", false},
	} {
		_, err := FromEnvironment(func(name string) string {
			if name == tt.name {
				return tt.value
			}
			return ""
		})
		var setting *cli.SettingError
		if tt.good && err != nil || !tt.good && (!errors.As(err, &setting) || setting.Variable != tt.name) {
			t.Errorf("%s=%s: error %v, want one: %t", tt.name, tt.value, err, !tt.good)
		}
	}
	env := map[string]string{"https_proxy": "proxy.example:3128", "NO_PROXY": "direct.example"}
	proxy, err := FromEnvironment(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"https://api.elevateai.com/v1": "http://proxy.example:3128",
		"https://direct.example/v1":    "direct",
		"http://api.elevateai.com":     "direct",
	} {
		u, _ := url.Parse(address)
		through, err := proxy(u)
		got := "direct"
		if through != nil {
			got = through.String()
		}
		if err != nil || got != want {
			t.Errorf("the proxy for %s is %s (%v), want %s", address, got, err, want)
		}
	}
}
