package statusclient_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/statusclient"
)

func TestStatusRefusals(t *testing.T) {
	want := map[int]schema.Fault{
		404: schema.FaultNotFound,
		401: schema.FaultUnauthorized, 403: schema.FaultUnauthorized,
		429: schema.FaultThrottled,
		408: schema.FaultUnavailable, 425: schema.FaultUnavailable,
		500: schema.FaultUnavailable, 501: schema.FaultUnavailable, 502: schema.FaultUnavailable,
		503: schema.FaultUnavailable, 504: schema.FaultUnavailable, 599: schema.FaultUnavailable,
		300: schema.FaultUnavailable, 304: schema.FaultUnavailable, 307: schema.FaultUnavailable,
		400: schema.FaultRejected, 409: schema.FaultRejected, 410: schema.FaultRejected, 418: schema.FaultRejected,
		422: schema.FaultRejected, 423: schema.FaultRejected, 424: schema.FaultRejected, 451: schema.FaultRejected,
		// About the account, a proxy, the connection or the form of the request, or undefined.
		402: schema.FaultUnavailable, 405: schema.FaultUnavailable, 406: schema.FaultUnavailable,
		407: schema.FaultUnavailable,
		411: schema.FaultUnavailable, 412: schema.FaultUnavailable, 413: schema.FaultUnavailable,
		414: schema.FaultUnavailable,
		415: schema.FaultUnavailable, 416: schema.FaultUnavailable, 417: schema.FaultUnavailable,
		421: schema.FaultUnavailable,
		426: schema.FaultUnavailable, 428: schema.FaultUnavailable, 431: schema.FaultUnavailable,
		444: schema.FaultUnavailable,
		460: schema.FaultUnavailable, 494: schema.FaultUnavailable, 499: schema.FaultUnavailable,
		201: schema.FaultNotAStatus, 202: schema.FaultNotAStatus, 204: schema.FaultNotAStatus,
		206: schema.FaultNotAStatus,
		600: schema.FaultNotAStatus, 999: schema.FaultNotAStatus,
	}
	for code, fault := range want {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			server, seen := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(code)
				_, _ = io.WriteString(w, pending) // not allowed for some codes
			})
			e := pollError(t, newClient(t, server.URL, statusclient.Config{}), fault)
			if e.StatusCode != code || !e.RetryAt.IsZero() {
				t.Errorf("error %#v, want status code %d and no RetryAt", e, code)
			}
			if seen.count() != 1 {
				t.Errorf("%d requests, want 1", seen.count())
			}
		})
	}

	t.Run("101", func(t *testing.T) {
		url, _ := raw(t, sends("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nwhatever"))
		pollError(t, newClient(t, url, statusclient.Config{}), schema.FaultNotAStatus)
	})
	t.Run("103 before 200", func(t *testing.T) {
		url, _ := raw(t,
			sends("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"+pending))
		if _, err := newClient(t, url, statusclient.Config{}).Status(t.Context(), identifier, time.Time{}); err != nil {
			t.Error(err)
		}
	})
}

func TestStatusRefusalDetail(t *testing.T) {
	server, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "down for\nmaintenance"+strings.Repeat("!", 1000))
	})
	e := pollError(t, newClient(t, server.URL, statusclient.Config{}), schema.FaultUnavailable)
	want := `ElevateAI answered 503 Service Unavailable for GET ` + statusPath +
		`, Retry-After "7": "down for maintenance` + strings.Repeat("!", 44) + `"... (200 bytes)`
	if e.Detail != want {
		t.Errorf("detail\n%s, want\n%s", e.Detail, want)
	}

	zipped := gzipped(t, []byte(`{"errorMessage":"squeezed"}`))
	server, _ = answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(zipped)
	})
	e = pollError(t, newClient(t, server.URL, statusclient.Config{}), schema.FaultRejected)
	if !strings.HasSuffix(e.Detail, ": `{\"errorMessage\":\"squeezed\"}`") {
		t.Errorf("detail %s, want the decompressed body at its end", e.Detail)
	}
}

// A refusal without a JSON object is not from the vendor, but from a gateway, a captive portal or another host.
func TestStatusRefusalsOfOthers(t *testing.T) {
	const object = `{"errorMessage":"no such interaction"}`
	for _, tt := range []struct {
		name, contentType, body string
		ofVendor                bool
	}{
		{"the vendor's shape", "application/json; charset=utf-8", object, true},
		{"problem details", "application/problem+json", `{"title":"Not Found"}`, true},
		{"byte order mark", "application/json", "\ufeff" + object, true},
		{"white space around", "application/json", "\r\n" + object + "\n", true},
		{"long", "application/json", `{"errorMessage":"` + strings.Repeat("x", 60<<10) + `"}`, true},
		{"no Content-Type", "-", object, false},
		{"HTML", "text/html", "<html><body>404 Not Found</body></html>", false},
		{"HTML as JSON", "application/json", "<html><body>404 Not Found</body></html>", false},
		{"text", "text/plain; charset=utf-8", "404 page not found\n", false},
		{"JSON as text", "text/plain", object, false},
		{"nothing", "application/json", "", false},
		{"only spaces", "application/json", "  \n", false},
		{"null", "application/json", "null", false},
		{"string", "application/json", `"not found"`, false},
		{"array", "application/json", `[` + object + `]`, false},
		{"half an object", "application/json", object[:20], false},
		{"two objects", "application/json", object + object, false},
		{"endless", "application/json", `{"errorMessage":"` + strings.Repeat("x", 70<<10) + `"}`, false},
		{"XML", "application/xml", "<error/>", false},
	} {
		for code, fault := range map[int]schema.Fault{
			404: schema.FaultNotFound, 400: schema.FaultRejected, 410: schema.FaultRejected,
			402: schema.FaultUnavailable, 401: schema.FaultUnauthorized,
		} {
			t.Run(fmt.Sprint(tt.name, " ", code), func(t *testing.T) {
				server, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
					if w.Header()["Content-Type"] = nil; tt.contentType != "-" {
						w.Header().Set("Content-Type", tt.contentType)
					}
					w.WriteHeader(code)
					_, _ = io.WriteString(w, tt.body)
				})
				want := fault
				if fault.Refusal() && !tt.ofVendor {
					want = schema.FaultNotAStatus
				}
				if e := pollError(t, newClient(t, server.URL, statusclient.Config{}), want); e.StatusCode != code {
					t.Errorf("error %#v, want status code %d", e, code)
				}
			})
		}
	}
}

func TestStatusRetryAfter(t *testing.T) {
	now := newClock().Now()
	tests := []struct {
		value string
		want  time.Duration // 0: none
	}{
		{"120", 2 * time.Minute},
		{" 5 ", 5 * time.Second},
		{now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{now.Add(90 * time.Second).Format(time.RFC850), 90 * time.Second},
		{now.Add(90 * time.Second).Format(time.ANSIC), 90 * time.Second},
		{"3600", time.Hour},
		{"7200", 2 * time.Hour},
		{"86400", 24 * time.Hour},
		{now.Add(24 * time.Hour).Format(http.TimeFormat), 24 * time.Hour},
		// More than a day is ignored.
		{"86401", 0}, {"86400000", 0}, {"2147483648", 0}, {"9223372036854775807", 0}, {"99999999999999999999", 0},
		{strings.Repeat("9", 500), 0},
		{now.Add(24*time.Hour + time.Second).Format(http.TimeFormat), 0},
		{now.AddDate(50, 0, 0).Format(http.TimeFormat), 0},
		{"Fri, 31 Dec 9999 23:59:59 GMT", 0},
		{"0", 0},
		{now.Add(-time.Minute).Format(http.TimeFormat), 0},
		{"-5", 0}, {"+5", 0}, {"1.5", 0}, {"5s", 0}, {"soon", 0}, {"0x10", 0}, {"٥", 0},
	}
	for _, code := range []int{429, 500, 503} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%d %.40s", code, tt.value), func(t *testing.T) {
				server, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Date"] = nil
					w.Header().Set("Retry-After", tt.value)
					w.WriteHeader(code)
				})
				fault := schema.FaultUnavailable
				if code == 429 {
					fault = schema.FaultThrottled
				}
				e := pollError(t, newClient(t, server.URL, statusclient.Config{Now: newClock().Now}), fault)
				want := time.Time{}
				if tt.want != 0 {
					want = now.Add(tt.want)
				}
				if !e.RetryAt.Equal(want) {
					t.Errorf("RetryAt %v, want %v", e.RetryAt, want)
				}
			})
		}
	}
}

// A date in Retry-After is by the vendor's clock, relative to the Date of the answer, or to the local clock if the
// answer has no Date.
func TestStatusRetryAfterDateOfAnotherClock(t *testing.T) {
	now := newClock().Now()
	const wait = 90 * time.Second
	for _, skew := range []time.Duration{
		0, 2 * time.Second, -2 * time.Second, 10 * time.Minute, -10 * time.Minute, 25 * time.Hour,
		-400 * 24 * time.Hour,
	} {
		vendor := now.Add(skew)
		date := vendor.Format(http.TimeFormat)
		for _, tt := range []struct {
			name, value, date string
			want              time.Duration // 0: none
		}{
			{"a date", vendor.Add(wait).Format(http.TimeFormat), date, wait},
			{"a date in another format", vendor.Add(wait).Format(time.RFC850), vendor.Format(time.ANSIC), wait},
			{"seconds", "90", date, wait},
			{"a date in the past", vendor.Add(-time.Second).Format(http.TimeFormat), date, 0},
			{"more than a day", vendor.Add(25 * time.Hour).Format(http.TimeFormat), date, 0},
			{"an answer without a date", now.Add(wait).Format(http.TimeFormat), "", wait},
			{"an answer with an invalid date", now.Add(wait).Format(http.TimeFormat), "yesterday", wait},
		} {
			t.Run(fmt.Sprint(tt.name, " ", skew), func(t *testing.T) {
				server, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
					if w.Header()["Date"] = nil; tt.date != "" {
						w.Header().Set("Date", tt.date)
					}
					w.Header().Set("Retry-After", tt.value)
					w.WriteHeader(http.StatusServiceUnavailable)
				})
				c := newClient(t, server.URL, statusclient.Config{Now: newClock().Now})
				e := pollError(t, c, schema.FaultUnavailable)
				want := time.Time{}
				if tt.want != 0 {
					want = now.Add(tt.want)
				}
				if !e.RetryAt.Equal(want) {
					t.Errorf("RetryAt %v, want %v", e.RetryAt, want)
				}
			})
		}
	}
}
