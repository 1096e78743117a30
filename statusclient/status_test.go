package statusclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/statusclient"
)

func TestStatusWireForm(t *testing.T) {
	server, seen := answering(t, writes(pending))
	c := newClient(t, server.URL, statusclient.Config{UserAgent: "statusworker/test", Token: "  " + token + "\n"})
	if _, err := c.Status(t.Context(), identifier, time.Time{}); err != nil {
		t.Fatal(err)
	}
	r := seen.all[0]
	if r.Method != http.MethodGet || r.RequestURI != statusPath || r.Proto != "HTTP/1.1" {
		t.Errorf("request %s %s %s", r.Method, r.RequestURI, r.Proto)
	}
	if host := strings.TrimPrefix(server.URL, "http://"); r.Host != host {
		t.Errorf("Host %q, want %q", r.Host, host)
	}
	want := http.Header{
		"X-Api-Token":     {token},
		"Accept":          {"application/json"},
		"Accept-Encoding": {"gzip"},
		"User-Agent":      {"statusworker/test"},
	}
	for name, values := range want {
		if got := r.Header.Values(name); len(got) != 1 || got[0] != values[0] {
			t.Errorf("%s: %q, want %q", name, got, values)
		}
	}
	if len(r.Header) != len(want) {
		t.Errorf("headers %v, want only %v", r.Header, want)
	}
}

func TestStatusDocumentedSample(t *testing.T) {
	sample := readFile(t, "testdata/status-processed.json")
	server, _ := answering(t, writes(string(sample)))
	answer, err := newClient(t, server.URL, statusclient.Config{}).Status(t.Context(), identifier, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != schema.StatusProcessed || answer.ErrorMessage != "" {
		t.Errorf("answer %+v", answer)
	}
	if document, _ := answer.Document(); string(document) != strings.TrimSpace(string(sample)) {
		t.Errorf("document %s, want the sample", document)
	}
}

func TestStatusAnswers(t *testing.T) {
	const id = `"identifier":"` + identifier + `"`
	const asJSON, asPayload, notAStatus = "raw", "payload", "not a status"
	with := func(members string) string { return `{` + id + `,"status":"processed",` + members + `}` }
	tests := []struct {
		name, contentType, body string
		want                    string
		status                  schema.Status
		message                 string
	}{
		{"minimal", "application/json", `{` + id + `,"status":"declared"}`, asJSON, "declared", ""},
		{"parameters", "application/json; charset=utf-8", pending, asJSON, "processing", ""},
		{"any case", "Application/JSON", pending, asJSON, "processing", ""},
		{"plus json", "application/vnd.vendor+json; v=1", pending, asJSON, "processing", ""},
		{"identifier in upper case", "application/json",
			`{"identifier":"` + strings.ToUpper(identifier) + `","status":"processing"}`, asJSON, "processing", ""},
		{"escapes", "application/json",
			`{"\u0069dentifier":"bd5c92f3\u002d` + identifier[9:] + `","st\u0061tus":"process\u0069ng"}`,
			asJSON, "processing", ""},
		{"error message", "application/json", `{` + id + `,"status":"processingFailed","errorMessage":"no \"speech\""}`,
			asJSON, "processingFailed", `no "speech"`},
		{"unknown status", "application/json", `{` + id + `,"status":"reticulating splines"}`, asJSON,
			"reticulating splines", ""},
		{"longest status", "application/json", `{` + id + `,"status":"` + strings.Repeat("s", 64) + `"}`, asJSON,
			schema.Status(strings.Repeat("s", 64)), ""},
		{"white space around", "application/json", "\r\n " + pending + "\n\n", asJSON, "processing", ""},
		{"more members", "application/json",
			`{"a":[{"status":"x"}],` + id + `,"status":"processing","b":{"identifier":7}}`, asJSON, "processing", ""},
		{"as large as can be", "application/json", pad(64 << 10), asJSON, "processing", ""},
		{"as deep as can be", "application/json", nested(31), asJSON, "processing", ""},

		// Only the members identifier and status must be valid.
		{"byte order mark", "application/json", "\ufeff" + pending, asJSON, "processing", ""},
		{"byte order mark, spaces", "application/json", "\ufeff \r\n" + pending + " ", asJSON, "processing", ""},
		{"error message is an object", "application/json", with(`"errorMessage":{"code":"E1"}`), asJSON, "processed",
			`{"code":"E1"}`},
		{"error message is an array", "application/json", with(`"errorMessage":["a", 1]`), asJSON, "processed",
			`["a", 1]`},
		{"error message is a number", "application/json", with(`"errorMessage":7`), asJSON, "processed", `7`},
		{"error message is true", "application/json", with(`"errorMessage":true`), asJSON, "processed", `true`},
		{"error message is null", "application/json", with(`"errorMessage":null`), asJSON, "processed", ``},
		{"error message is long", "application/json", with(`"errorMessage":"` + strings.Repeat("m", 501) + `"`), asJSON,
			"processed", strings.Repeat("m", 500) + "..."},
		{"lone surrogate", "application/json", with(`"originalFilename":"\ud83d.wav"`), asJSON, "processed", ""},
		{"lone surrogate in a name", "application/json", with(`"\udc00":1`), asJSON, "processed", ""},
		{"lone surrogate in the error message", "application/json", with(`"errorMessage":"a\ud83d"`), asJSON,
			"processed", "a\uFFFD"},
		{"another member twice", "application/json", with(`"a":1,"a":2`), asJSON, "processed", ""},
		{"the same status twice", "application/json", with(`"status":"processed"`), asJSON, "processed", ""},
		{"a status within a string", "application/json", with(`"a":"\",\"status\":\"processing\",\""`), asJSON,
			"processed", ""},
		{"invalid UTF-8", "application/json", with(`"x":"` + "\xff" + `"`), asPayload, "processed", ""},
		{"Latin-1 error message", "application/json; charset=iso-8859-1", with(`"errorMessage":"` + "\xe4" + `"`),
			asPayload, "processed", "\uFFFD"},
		{"control characters", "application/json", with(`"x":"` + "a\r\n\tb\x00" + `"`), asPayload, "processed", ""},
		{"control character in the error message", "application/json", with(`"errorMessage":"` + "a\nb" + `"`),
			asPayload, "processed", "\"a\nb\""},
		{"unknown escape", "application/json", with(`"x":"C:\dir\'"`), asPayload, "processed", ""},
		{"NaN", "application/json", with(`"x":NaN,"y":[-Infinity,01,.5,+1]`), asPayload, "processed", ""},
		{"comma too many", "application/json", with(`"x":[1,2,],"y":{"a":1,},`), asPayload, "processed", ""},
		{"deeper", "application/json", nested(32), asPayload, "processing", ""},
		{"objects, deeper", "application/json",
			with(`"x":` + strings.Repeat(`{"a":`, 32) + `1` + strings.Repeat("}", 32)), asPayload, "processed", ""},
		{"very deep", "application/json", nested(20000), asPayload, "processing", ""},
		{"longer than is read", "application/json", pad(64<<10 + 1), asPayload, "processing", ""},
		{"much longer than is read", "application/json", pad(10 << 20), asPayload, "processing", ""},

		{"longer than is read, status at its end", "application/json",
			`{` + id + `,"pad":"` + strings.Repeat("x", 64<<10) + `","status":"processed"}`, notAStatus, "", ""},
		{"HTML", "text/html", "<html>", notAStatus, "", ""},
		{"JSON as text", "text/plain", pending, notAStatus, "", ""},
		{"something like JSON", "application/jsonp", pending, notAStatus, "", ""},
		{"nothing", "application/json", "", notAStatus, "", ""},
		{"only a byte order mark", "application/json", "\ufeff", notAStatus, "", ""},
		{"two byte order marks", "application/json", "\ufeff\ufeff" + pending, notAStatus, "", ""},
		{"not JSON", "application/json", `{"identifier": oops`, notAStatus, "", ""},
		{"HTML as JSON", "application/json", `<html>` + pending, notAStatus, "", ""},
		{"half an object", "application/json", pending[:len(pending)-1], notAStatus, "", ""},
		{"array", "application/json", `[` + pending + `]`, notAStatus, "", ""},
		{"string", "application/json", `"processed"`, notAStatus, "", ""},
		{"null", "application/json", `null`, notAStatus, "", ""},
		{"trailing object", "application/json", pending + pending, notAStatus, "", ""},
		{"trailing garbage", "application/json", pending + "x", notAStatus, "", ""},
		{"trailing NUL", "application/json", pending + "\x00", notAStatus, "", ""},
		{"duplicate member", "application/json", `{` + id + `,"status":"processing","status":"processed"}`, notAStatus,
			"", ""},
		{"duplicate member in disguise", "application/json",
			`{` + id + `,"status":"processing","\u0073tatus":"processed"}`, notAStatus, "", ""},
		{"two identifiers", "application/json",
			`{` + id + `,"identifier":"00000000-c228-44a6-91bf-b52672569878","status":"processed"}`, notAStatus, "",
			""},
		{"no identifier", "application/json", `{"status":"processed"}`, notAStatus, "", ""},
		{"another identifier", "application/json",
			`{"identifier":"00000000-c228-44a6-91bf-b52672569878","status":"processed"}`, notAStatus, "", ""},
		{"identifier is a number", "application/json", `{"identifier":7,"status":"processed"}`, notAStatus, "", ""},
		{"no status", "application/json", `{` + id + `}`, notAStatus, "", ""},
		{"nested status", "application/json", `{` + id + `,"a":{"status":"processed"}}`, notAStatus, "", ""},
		{"a status that quotation marks let out", "application/json",
			`{` + id + `,"a":"b"","status":"processed","c":""}`, notAStatus, "", ""},
		{"a status that nested quotation marks let out", "application/json",
			`{` + id + `,"a":["b"]","c"],"status":"processed"}`, notAStatus, "", ""},
		{"empty status", "application/json", `{` + id + `,"status":""}`, notAStatus, "", ""},
		{"status is null", "application/json", `{` + id + `,"status":null}`, notAStatus, "", ""},
		{"status is an object", "application/json", `{` + id + `,"status":{"a":"processed"}}`, notAStatus, "", ""},
		{"status too long", "application/json", `{` + id + `,"status":"` + strings.Repeat("s", 65) + `"}`, notAStatus,
			"", ""},
		{"status breaks its line", "application/json", `{` + id + `,"status":"a\r\nb: c"}`, notAStatus, "", ""},
		{"status of bad UTF-8", "application/json", `{` + id + `,"status":"` + "processed\xff" + `"}`, notAStatus, "",
			""},
		{"status with a lone surrogate", "application/json", `{` + id + `,"status":"processed\ud83d"}`, notAStatus, "",
			""},
		{"deep and broken", "application/json",
			`{` + id + `,"status":"processed","x":` + strings.Repeat("[", 30000) + `}`, notAStatus, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, seen := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.contentType)
				_, _ = io.WriteString(w, tt.body)
			})
			c := newClient(t, server.URL, statusclient.Config{})
			if tt.want == notAStatus {
				if e := pollError(t, c, schema.FaultNotAStatus); e.StatusCode != http.StatusOK || !e.RetryAt.IsZero() {
					t.Errorf("error %#v, want status code 200 and no RetryAt", e)
				}
			} else {
				answer, err := c.Status(t.Context(), identifier, time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				raw, payload := strings.TrimSpace(strings.TrimPrefix(tt.body, "\ufeff")), ""
				if tt.want == asPayload {
					raw, payload = "", tt.body[:min(len(tt.body), 64<<10)]
				}
				gotRaw, gotPayload := answer.Document()
				if answer.Status != tt.status || answer.ErrorMessage != tt.message || string(gotRaw) != raw ||
					string(gotPayload) != payload {
					t.Errorf("answer %.300q", fmt.Sprint(answer))
				}
			}
			if seen.count() != 1 {
				t.Errorf("%d requests, want 1", seen.count())
			}
		})
	}
}

// nested returns a pending answer with nested arrays.
func nested(levels int) string {
	return `{"identifier":"` + identifier + `","status":"processing","x":` + strings.Repeat("[", levels) +
		strings.Repeat("]", levels) + `}`
}

// pad returns a pending answer of a size in bytes.
func pad(size int) string {
	const head = `{"identifier":"` + identifier + `","status":"processing","pad":"`
	return head + strings.Repeat("x", size-len(head)-2) + `"}`
}

// An answer does not share memory with later answers.
func TestStatusAnswerIsACopy(t *testing.T) {
	n := 0
	server, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		writes(fmt.Sprintf(`{"identifier":%q,"status":"s%d"}`, identifier, n))(w, r)
	})
	c := newClient(t, server.URL, statusclient.Config{})
	var answers []schema.Answer
	for range 20 {
		a, err := c.Status(t.Context(), identifier, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	for i, a := range answers {
		if want := fmt.Sprintf(`{"identifier":%q,"status":"s%d"}`, identifier, i+1); string(a.Text) != want {
			t.Errorf("answer %d changed to %s", i+1, a.Text)
		}
	}
}

func TestStatusBadIdentifierIsNotSent(t *testing.T) {
	server, seen := answering(t, writes(pending))
	c := newClient(t, server.URL, statusclient.Config{})
	for _, id := range []string{
		"", ".", "..", "../../x", "%2f", "*", ">", "\x00", "a\r\nX-Evil: 1", strings.Repeat("a", 10<<10), "ä",
		strings.ToUpper(identifier),
		identifier + "/", identifier[:35] + "/", identifier[:35] + "?", identifier[:35] + "\x00",
		identifier[:34] + "\r\n", identifier[:34] + "é", "{" + identifier + "}",
	} {
		e := pollErrorOf(t.Context(), t, c, id, time.Time{}, schema.FaultRejected)
		if e.StatusCode != 0 || e.Err == nil {
			t.Errorf("identifier %.40q: error %#v", id, e)
		}
	}
	if seen.count() != 0 {
		t.Errorf("%d requests, want none", seen.count())
	}
}

func TestStatusRefusesTLS11(t *testing.T) {
	server, seen := tlsServer(t, writes(pending), 0x0302)
	pollError(t, newClient(t, server.URL, statusclient.Config{RootCAs: poolOf(server)}), schema.FaultUnavailable)
	if seen.count() != 0 {
		t.Error("the request was sent over TLS 1.1")
	}
}

func TestStatusTLS(t *testing.T) {
	server, _ := tlsServer(t, writes(pending), 0)
	if _, err := newClient(t, server.URL, statusclient.Config{RootCAs: poolOf(server)}).Status(t.Context(), identifier,
		time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	e := pollError(t, newClient(t, server.URL, statusclient.Config{}), schema.FaultUnavailable)
	if refused := (*statusclient.CertificateError)(nil); !errors.As(e, &refused) {
		t.Errorf("error %v, want a CertificateError", e)
	}
}

func TestStatusDoesNotFollowRedirects(t *testing.T) {
	elsewhere, seen := answering(t, writes(pending))
	for _, code := range []int{301, 302, 303, 307, 308} {
		server, asked := answering(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/secret-path?x="+r.Header.Get("X-API-Token"), code)
		})
		e := pollError(t, newClient(t, server.URL, statusclient.Config{}), schema.FaultUnavailable)
		if e.StatusCode != code || !strings.Contains(e.Detail, strings.TrimPrefix(elsewhere.URL, "http://")) ||
			strings.Contains(e.Detail, "secret-path?") {
			t.Errorf("error %#v, want only the host of the redirect", e)
		}
		if asked.count() != 1 {
			t.Errorf("%d requests, want 1", asked.count())
		}
	}
	if seen.count() != 0 {
		t.Error("a redirect was followed")
	}
}

// The transport repeats a GET if a reused connection breaks. The vendor must receive one request per call.
func TestStatusNeverSendsTwice(t *testing.T) {
	url, wait := raw(t, func(number int, c net.Conn) bool {
		if number == 2 {
			return false
		}
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			len(pending), pending)
		return err == nil
	})
	c := newClient(t, url, statusclient.Config{})
	if _, err := c.Status(t.Context(), identifier, time.Time{}); err != nil {
		t.Fatal(err)
	}
	pollError(t, c, schema.FaultUnavailable)
	c.Close()
	if n := wait(); n != 2 {
		t.Errorf("%d requests for 2 calls, want 2", n)
	}
}

func TestStatusReusesConnections(t *testing.T) {
	var code, connections int
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, pending+strings.Repeat(" ", 2000))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections++
		}
	}
	server.Start()
	defer server.Close()
	c := newClient(t, server.URL, statusclient.Config{})
	for _, code = range []int{200, 404, 500, 401, 429, 200, 202, 302, 200} {
		_, _ = c.Status(t.Context(), identifier, time.Time{}) // the connection matters here
	}
	if connections != 1 {
		t.Errorf("%d connections for sequential requests, want 1", connections)
	}
}

func TestStatusTimeout(t *testing.T) {
	stalled := func(begin func(http.ResponseWriter)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			begin(w)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		code    int
	}{
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 0},
		{"half an answer", stalled(func(w http.ResponseWriter) { writes(pending[:20])(w, nil) }), 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, seen := answering(t, tt.handler)
			e := pollError(t, newClient(t, server.URL, statusclient.Config{Timeout: 500 * time.Millisecond}),
				schema.FaultUnavailable)
			if e.StatusCode != tt.code || !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("error %#v, want status code %d and DeadlineExceeded", e, tt.code)
			}
			if seen.count() != 1 {
				t.Errorf("%d requests, want 1", seen.count())
			}
		})
	}

	// The timeout applies even if the vendor continues to send single bytes.
	for name, slow := range map[string]func(http.ResponseWriter){
		"a slow answer":  func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/json") },
		"a slow refusal": func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			cutOff := make(chan struct{})
			server, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(cutOff)
				slow(w)
				_, _ = io.WriteString(w, pending[:1])
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-r.Context().Done():
						return
					case <-tick.C:
						_, _ = io.WriteString(w, " ")
						_ = http.NewResponseController(w).Flush()
					}
				}
			})
			_, err := newClient(t, server.URL, statusclient.Config{Timeout: 500 * time.Millisecond}).Status(t.Context(),
				identifier, time.Time{})
			if err == nil {
				t.Error("Status accepts an answer without an end")
			}
			<-cutOff // the connection is closed
		})
	}
	t.Run("a slow header", func(t *testing.T) {
		url, wait := raw(t, func(_ int, c net.Conn) bool {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX-Slow: " + strings.Repeat("x", 60<<10)) {
				<-tick.C
				if _, err := c.Write([]byte{b}); err != nil {
					return false
				}
			}
			t.Error("the client has read the whole header")
			return false
		})
		e := pollError(t, newClient(t, url, statusclient.Config{Timeout: 500 * time.Millisecond}),
			schema.FaultUnavailable)
		if !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("error %v, want DeadlineExceeded", e)
		}
		wait()
	})

	// A refusal with an incomplete body may be from a gateway.
	server, _ := answering(t, stalled(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errorMessage"`)
	}))
	pollError(t, newClient(t, server.URL, statusclient.Config{Timeout: 500 * time.Millisecond}), schema.FaultNotAStatus)
}

func TestStatusBrokenConnections(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	tests := []struct{ name, answer string }{
		{"closed at once", ""},
		{"no HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n"},
		{"half a header", head},
		{"truncated body", head + "Content-Length: 500\r\n\r\n" + pending},
		{"truncated chunk", head + "Transfer-Encoding: chunked\r\n\r\n40\r\n{"},
		{"no last chunk", head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(pending), pending)},
		{"truncated gzip",
			head + "Content-Encoding: gzip\r\nContent-Length: 500\r\n\r\n" + string(gzipped(t, []byte(pending)))[:30]},
		{"endless header", head + "X-Filler: " + strings.Repeat("x", 200<<10) + "\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, wait := raw(t, sends(tt.answer))
			pollError(t, newClient(t, url, statusclient.Config{}), schema.FaultUnavailable)
			if n := wait(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}

	t.Run("no listener", func(t *testing.T) {
		url, wait := raw(t, sends(""))
		wait()
		pollError(t, newClient(t, url, statusclient.Config{}), schema.FaultUnavailable)
	})
}
