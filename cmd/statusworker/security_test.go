package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/producer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

const (
	// canary is a token that must not appear anywhere, not even its beginning.
	canary          = "canary-5d9f3c1e-7a42-4b8e-9c65-0f1e2d3c4b5a"
	canaryBeginning = "canary-"
	// forgery imitates log lines in text and JSON, and controls a terminal.
	forgery = "\r\n{\"level\":\"error\",\"msg\":\"forged\",\"time\":\"2026-01-01T00:00:00Z\"}\n" +
		"2026-01-01T00:00:00Z ERROR forged" +
		"\n\x1b[31mforged\x1b[0m\u009b31m\x07\u2028"
)

// hostile is a vendor that repeats the token everywhere, and forges log lines.
type hostile struct {
	server *httptest.Server
	// elsewhere is the host that it redirects to.
	elsewhere *httptest.Server

	mu       sync.Mutex
	revoked  bool                        // all tokens are rejected
	first    map[string]http.HandlerFunc // of an interaction: the answer to its first poll
	calm     bool                        // a good answer follows each bad one, which keeps pauses short
	redirect int                         // requests to elsewhere
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{first: map[string]http.HandlerFunc{}}
	h.elsewhere = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.redirect++
	}))
	t.Cleanup(h.elsewhere.Close)
	h.server = httptest.NewServer(h)
	t.Cleanup(h.server.Close)
	return h
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	identifier := strings.Split(r.URL.Path, "/")[3]
	h.mu.Lock()
	answer, calm := h.first[identifier], h.calm
	if h.calm = answer != nil && !calm; h.calm {
		delete(h.first, identifier)
	}
	revoked := h.revoked
	h.mu.Unlock()
	switch {
	case revoked:
		says401(w, r)
	case answer != nil && calm:
		vendorSays(`{"identifier":%q,"status":"processing"}`, identifier)(w, r)
	case answer != nil:
		answer(w, r)
	default:
		vendorSays(`{"identifier":%q,"status":"processed","errorMessage":%q}`, identifier, canary)(w, r)
	}
}

func (h *hostile) revoke(revoked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked = revoked
}

func vendorSays(format string, args ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, format, args...)
	}
}

func says401(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", r.Header.Get("X-API-Token"))
	w.Header().Set("Retry-After", strings.Repeat("x", 40)+canary)
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintf(w, "%s the token %s is not valid %s", strings.Repeat("x", 20), canary, forgery)
}

// answers returns hostile answers. Each is for the first poll of one interaction.
func (h *hostile) answers() map[string]func(identifier string) http.HandlerFunc {
	refuse := func(code int, header, value, body string) func(string) http.HandlerFunc {
		return func(string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				if header != "" {
					w.Header().Set(header, value)
				}
				w.WriteHeader(code)
				_, _ = w.Write([]byte(body))
			}
		}
	}
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	status := func(status, message string) func(string) http.HandlerFunc {
		return func(identifier string) http.HandlerFunc {
			return vendorSays(`{"identifier":%q,"status":%s,"errorMessage":%s}`, identifier, quoted(status),
				quoted(message))
		}
	}
	long := strings.Repeat("x", 50) // quotations are truncated to 64 bytes
	return map[string]func(string) http.HandlerFunc{
		"401":          func(string) http.HandlerFunc { return says401 },
		"403":          refuse(403, "X-Token", canary, canary),
		"429":          refuse(429, "Retry-After", long+canary, canary),
		"500":          refuse(500, "Retry-After", long+canary, forgery+canary),
		"302":          refuse(302, "Location", h.elsewhere.URL+"/"+canary, canary),
		"307":          refuse(307, "Location", h.elsewhere.URL+"/", canary),
		"400":          refuse(400, "", "", forgery+canary),
		"404":          refuse(404, "", "", forgery+canary),
		"content type": refuse(200, "Content-Type", "text/"+long+canary, canary),
		"garbage":      refuse(200, "Content-Type", "application/json", forgery),
		"bad status":   status("processed"+forgery, canary),
		"odd status":   status(`x" level=error msg="forged`, canary),
		"token status": status(canary, canary),
		"failed":       status("processingFailed", forgery+canary),
		"another":      func(string) http.HandlerFunc { return vendorSays(`{"identifier":%q}`, long+canary) },
		"in disguise": func(id string) http.HandlerFunc {
			return vendorSays(`{"identifier":%q,"status":"processed","x":"\u0063%s"}`, id, canary[1:])
		},
		"deep": func(id string) http.HandlerFunc {
			return vendorSays(`{"identifier":%q,"status":"processed","x":%s%s}`, id, strings.Repeat("[", 9000),
				strings.Repeat("]", 9000))
		},
		"large": func(id string) http.HandlerFunc {
			return vendorSays(`{"identifier":%q,"status":"processed","x":%q}`, id, strings.Repeat(canary, 1<<15))
		},
		"content coded": refuse(200, "Content-Encoding", long+canary, canary),
	}
}

// forged returns declared messages and due messages whose subjects, payloads and headers forge log lines.
func forged() []*nats.Msg {
	quoted, _ := json.Marshal(forgery)
	subject := func(stage string) string { return "interactions." + stage + ".audio." + uuid.NewString() }
	return []*nats.Msg{
		{Subject: subject("declared"), Data: []byte(forgery)},
		{Subject: subject("declared"), Data: fmt.Appendf(nil, `{"interactionIdentifier":%s,"type":"audio"}`, quoted)},
		{Subject: subject("declared"), Data: fmt.Appendf(nil, `{%s:1,%[1]s:2}`, quoted)},
		{Subject: subject("declared"), Data: fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":%s}`, someID,
			quoted)},
		{Subject: "interactions.declared.audio.\x1b[31mforged", Data: []byte(`{}`)},
		{Subject: `interactions.declared.{"level":"error","msg":"forged"}.x`, Data: []byte(`{}`)},
		{Subject: subject("declared"), Data: []byte(`{}`),
			Header: nats.Header{schema.HeaderTraceparent: {"\x1b[31mforged"},
				schema.HeaderReplays: {"\x1b[31mforged"}}},
		{Subject: subject("poll"), Data: []byte(forgery), Header: nats.Header{schema.HeaderPoll: {"\x1b[31mforged"}}},
		{Subject: "interactions.poll.audio.\x1b[31mforged", Data: []byte(forgery), Header: nats.Header{
			schema.HeaderPoll: {"1"}, schema.HeaderGeneration: {time.Now().UTC().Format(time.RFC3339Nano)},
			schema.HeaderHistory: {"1 2026-11-27T01:02:03.456Z \x1b[31mforged", "\x1b[31mforged"}}},
	}
}

// With a hostile vendor and forged messages, the token does not appear in a worker's trace log, in published messages,
// or at another host. Every line of the log is the worker's own.
func TestHostileVendor(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t)
			h := newHostile(t)
			published := make(chan *nats.Msg, 10000)
			for _, subjects := range []string{"interactions.>", ns.SubjectsWorkers()} {
				if _, err := js.Conn().ChanSubscribe(subjects, published); err != nil {
					t.Fatal(err)
				}
			}
			interactions := map[string]bool{} // whether they have an outcome
			for _, answer := range h.answers() {
				identifier := declare(t, js)
				interactions[identifier] = false
				h.first[identifier] = answer(identifier)
			}
			c := command(t, "run", "--nats-url", at, "--base-url", h.server.URL+"/v1", "--log-level", "trace",
				"--log-format", format,
				"--audio-interval", "200ms", "--chat-interval", "200ms", "--transcript-interval", "200ms")
			c.env["ELEVATEAI_API_TOKEN"] = canary
			invalid := 0
			for _, m := range forged() {
				if _, err := js.PublishMsg(t.Context(), m); err != nil {
					t.Fatalf("%q: %v", m.Subject, err)
				}
				invalid++
			}
			c.start()

			seen, deadLetters := 0, 0
			// until reads published messages until enough is true.
			until := func(enough func(*nats.Msg) bool) {
				t.Helper()
				for {
					select {
					case m := <-published:
						seen++
						if text := fmt.Sprintf("%s %q %s", m.Subject, m.Header, m.Data); strings.Contains(text,
							canaryBeginning) {
							t.Errorf("the token shows in a message: %s", text)
						}
						if kind, identifier, ok := ns.SplitSubject(m.Subject); ok && strings.HasPrefix(m.Subject,
							"interactions.failed.") {
							if kind == string(schema.InvalidMessage) {
								deadLetters++
							}
							interactions[identifier] = true
						} else if ok && strings.HasPrefix(m.Subject, "interactions.processed.") {
							interactions[identifier] = true
						}
						if enough(m) {
							return
						}
					case <-c.ctx.Done():
						t.Fatalf("%d of %d dead letters of invalid messages, interactions %v; the log:\n%s",
							deadLetters, invalid, interactions, &c.stderr)
					}
				}
			}
			until(func(*nats.Msg) bool {
				for _, ended := range interactions {
					if !ended {
						return false
					}
				}
				return deadLetters == invalid
			})
			h.revoke(true)
			for range 3 {
				declare(t, js)
			}
			until(func(m *nats.Msg) bool {
				var a schema.Announcement
				return json.Unmarshal(m.Data, &a) == nil && a.Cause == "unauthorized" && strings.Contains(a.Detail,
					"401")
			})
			for _, args := range [][]string{
				{"status"}, {"status", "-o", "json"}, {"dlq", "ls"}, {"dlq", "ls", "-o", "json"}, {"dlq", "show",
					slices.Sorted(maps.Keys(interactions))[0]},
			} {
				shown := command(t, append(args, "--nats-url", at)...)
				shown.start().end() // show fails if that one was processed
				for _, o := range []*output{&shown.stdout, &shown.stderr} {
					hasNoCanary(t, o)
					if strings.ContainsFunc(o.String(),
						func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
						t.Errorf("a control character in the output of %v: %q", args, o)
					}
				}
			}
			c.stop()
			if code := c.end(); code != exitOK {
				t.Errorf("exit code %d after a stop, want 0", code)
			}

			hasNoCanary(t, &c.stderr)
			says(t, "the log", &c.stderr, "polling paused", "****", "forged") // otherwise the test is useless
			ownLines(t, format, &c.stderr)
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.redirect != 0 {
				t.Errorf("%d requests to another host", h.redirect)
			}
			t.Logf("%d messages, %d lines of log", seen, len(c.stderr.lines()))
		})
	}
}

func hasNoCanary(t *testing.T, o *output) {
	t.Helper()
	if strings.Contains(strings.ToLower(o.String()), canaryBeginning) {
		t.Errorf("the token appears:\n%s", o)
	}
}

// ownLines requires that all lines of a log are the worker's, without control characters.
func ownLines(t *testing.T, format string, log *output) {
	t.Helper()
	own := regexp.MustCompile(`^[0-9T:Z+-]+ (?:TRACE|DEBUG|INFO |WARN |ERROR) (\S.*?)(?:  [a-z_]+=.*)?$`)
	lines := log.lines()
	if len(lines) == 0 {
		t.Error("the log is empty")
	}
	for _, line := range lines {
		if strings.ContainsFunc(line, func(r rune) bool {
			return unicode.IsControl(r) || r == '\u2028' ||
				r == '\u2029'
		}) {
			t.Errorf("a control character in %q", line)
		}
		msg := ""
		if format == "json" {
			var record map[string]any
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Errorf("not a JSON object: %q", line)
			}
			msg, _ = record["msg"].(string)
		} else if match := own.FindStringSubmatch(line); match == nil {
			t.Errorf("not a log line: %q", line)
		} else {
			msg = match[1]
		}
		if msg == "" || strings.Contains(msg, "forged") {
			t.Errorf("not the worker's own: %q", line)
		}
	}
}

// Commands that show the vendor's answers do not show the token. (Add each such command here.)
func TestNoCommandShowsTheToken(t *testing.T) {
	t.Parallel()
	at := nobody(t) // the vendor is checked without a broker too
	h := newHostile(t)
	for name, first := range h.answers() {
		for _, args := range [][]string{{"doctor"}, {"doctor", "-o", "json"}} {
			t.Run(strings.Join(args, " ")+" "+name, func(t *testing.T) {
				t.Parallel()
				vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					first(strings.Split(r.URL.Path, "/")[3])(w, r)
				}))
				defer vendor.Close()
				c := command(t, append(args, "--nats-url", at, "--base-url", vendor.URL+"/v1")...)
				c.env["ELEVATEAI_API_TOKEN"] = canary
				c.start().end()
				hasNoCanary(t, &c.stdout)
				hasNoCanary(t, &c.stderr)
				if args[len(args)-1] == "json" {
					if f := findingOf(t, c, "vendor"); f.Result == doctor.Skip {
						t.Errorf("the vendor was not checked: %+v", f)
					}
				}
				if strings.ContainsFunc(c.stdout.String(),
					func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
					t.Errorf("a control character in %q", c.stdout.String())
				}
				for _, line := range c.stdout.lines() {
					if args[len(args)-1] == "doctor" && line != "" && !ofTheReport.MatchString(line) {
						t.Errorf("not the doctor's own: %q", line)
					}
				}
			})
		}
	}
}

// ofTheReport matches the lines of the doctor's report: a result and its check, a continuation, or the last line.
var ofTheReport = regexp.MustCompile(`^(PASS|WARN|FAIL|SKIP)  [a-z0-9 ]|^ {20}|^\d+ checks: `)

// evilIdentifiers returns identifiers that would exceed their token in a subject, segment in a URL, or line in a
// header.
func evilIdentifiers() []string {
	const guid = "bd5c92f3-c228-44a6-91bf-b52672569878"
	return []string{
		"..", ".", "../../x", guid[:33] + "/..", "%2f", guid[:33] + "%2f", "*", guid[:35] + "*", ">", guid[:35] + ">",
		guid + ".x", guid[:17] + "." + guid[18:],
		"\x00", guid[:35] + "\x00", guid + "\x00", "a\r\nX-Evil: 1", guid[:34] + "\r\n", guid + "\n",
		strings.Repeat("a", 10<<10), strings.Repeat(guid, 300),
		"ä", guid[:34] + "é", guid[:33] + "\u2028", "ｂｄ5c92f3-c228-44a6-91bf-b52672569878",
		guid + "?x=1", guid + "#x",
		"{" + guid + "}", " " + guid, guid + " ", "", strings.ReplaceAll(guid, "-", ""),
	}
}

// Evil identifiers do not reach a subject, a URL or a header: `declare`, the intake, and the delivery of due messages
// reject them. So do the status client and the schema, see their tests.
func TestEvilIdentifiersAreStopped(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	evil := evilIdentifiers()
	arguments := command(t, append([]string{"declare", "--nats-url", at, "--type", "audio", "--"}, evil...)...)
	var lines strings.Builder
	for _, identifier := range evil {
		line, _ := json.Marshal(map[string]string{"interactionIdentifier": identifier, "type": "audio"})
		lines.WriteString(string(line) + "\n")
	}
	input := command(t, "declare", "--nats-url", at)
	input.stdin = strings.NewReader(lines.String())
	for _, c := range []*call{arguments, input} {
		c.exits(exitFault).counts(producer.Counts{Invalid: len(evil)})
		for _, line := range withoutProgress(&c.stderr) {
			if strings.ContainsFunc(line, unicode.IsControl) || len(line) > 2000 {
				t.Errorf("declare prints %.300q", line)
			}
		}
	}
	if have := stored(t, js); len(have) != 0 {
		t.Fatalf("declare published %v", have)
	}

	v := vendor(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Processed(0) }})
	want := 0
	for _, identifier := range evil {
		line, _ := json.Marshal(map[string]string{"interactionIdentifier": identifier, "type": "audio"})
		messages := []*nats.Msg{{Subject: ns.DeclaredSubject(schema.Audio, uuid.NewString()), Data: line}}
		if len(identifier) < 1000 && identifier != "" && !strings.ContainsAny(identifier, " \r\n\t.") {
			// If a subject can contain it.
			messages = append(messages, &nats.Msg{Subject: ns.DeclaredSubject(schema.Audio, identifier),
				Data: line})
			if identifier != ">" { // matches no filter, so no worker ever receives a message on that subject
				messages = append(messages, &nats.Msg{Subject: ns.PollSubject(schema.Audio, identifier), Data: line,
					Header: nats.Header{
						schema.HeaderPoll:       {"1"},
						schema.HeaderGeneration: {time.Now().UTC().Format(time.RFC3339Nano)}}})
			}
		}
		for _, m := range messages {
			if _, err := js.PublishMsg(t.Context(), m); err == nil {
				want++
			} else {
				t.Logf("the broker rejects %q: %v", m.Subject, err)
			}
		}
	}
	c := command(t, "run", "--nats-url", at, "--base-url", v.URL(), "--audio-interval", "100ms", "--chat-interval",
		"100ms", "--transcript-interval", "100ms")
	c.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
	outcomes, err := js.OrderedConsumer(t.Context(), ns.StreamOutcomes(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	c.start()
	clean := regexp.MustCompile(`^interactions\.failed\.invalid_message\.[0-9A-Za-z_-]{1,64}$`)
	for n := range want {
		m, err := outcomes.Next(jetstream.FetchMaxWait(30 * time.Second))
		if err != nil {
			polls, _ := js.Stream(t.Context(), ns.StreamPolls())
			left, _ := polls.Info(t.Context(), jetstream.WithSubjectFilter(">"))
			t.Fatalf("%d of %d dead letters: %v; left are %v and %v; the log:\n%s", n, want, err, stored(t, js),
				left.State.Subjects, &c.stderr)
		}
		if !clean.MatchString(m.Subject()) {
			t.Errorf("an outcome on %q", m.Subject())
		}
	}
	// Due messages are processed roughly in order: a valid interaction behind the evil ones ends last.
	valid := declare(t, js)
	m, err := outcomes.Next(jetstream.FetchMaxWait(30 * time.Second))
	if err != nil || m.Subject() != ns.ProcessedSubject(schema.ToTranscript, valid) {
		t.Errorf("after the dead letters came %v (%v), want the outcome of the valid interaction", m, err)
	}
	c.stop()
	c.end()
	for _, p := range v.Polls() {
		if p.Identifier != valid {
			t.Errorf("the vendor was polled for %q", p.Identifier)
		}
	}
	t.Logf("%d messages with evil identifiers", want)
}
