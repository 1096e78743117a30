package schema_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"statusworker/schema"
)

var update = flag.Bool("update", false,
	"rewrite testdata/outcomes, and the documents' parts that are generated from the tables")

const (
	guid       = "bd5c92f3-c228-44a6-91bf-b52672569878"
	traceState = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

var (
	stored   = time.Date(2022, 6, 17, 21, 23, 7, 500_000_000, time.UTC)
	observed = time.Date(2022, 6, 17, 21, 29, 8, 250_000_000, time.UTC)
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answer(status schema.Status, message string) json.RawMessage {
	quoted := "null"
	if message != "" {
		quoted = `"` + message + `"`
	}
	return json.RawMessage(`{"identifier":"` + guid + `","status":"` + string(status) +
		`","declared":"2022-06-17T21:23:06.137087Z","uploaded":null,"downloaded":"2022-06-17T21:24:53.639208Z",` +
		`"processed":"2022-06-17T21:29:05.071Z","errorMessage":` + quoted + `}`)
}

// historyTo returns a history that ends with statuses.
func historyTo(last ...schema.Status) []schema.StatusChange {
	history := []schema.StatusChange{
		{Status: schema.StatusFilePendingDownload, At: stored.Add(30612 * time.Millisecond), Poll: 1},
		{Status: schema.StatusProcessing, At: stored.Add(2*time.Minute + 1231*time.Millisecond), Poll: 4},
	}
	for _, s := range last {
		history = append(history, schema.StatusChange{Status: s, At: observed, Poll: 12})
	}
	return history
}

// outcomeOf returns an outcome of the declared message in a file, without destination and reason.
func outcomeOf(t testing.TB, file string) schema.Outcome {
	t.Helper()
	d, err := schema.Decode(testdata(t, "declared/"+file))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return schema.Outcome{
		Identifier: d.Identifier, Type: d.Type, Declaration: d.Declaration, Observed: observed,
		Origin: schema.Origin{
			Stream: ns.StreamDeclared(), Subject: ns.DeclaredSubject(d.Type, d.Identifier), Sequence: 42,
			Deliveries: 1,
			Stored:     stored, Polls: 12, Traceparent: d.Traceparent,
		},
	}
}

// outcomes are one of each kind, by the name of its golden file.
func outcomes(t testing.TB) map[string]schema.Outcome {
	t.Helper()
	all := make(map[string]schema.Outcome)
	files := map[schema.Destination]string{schema.ToCXAI: "declared-cloudevent.json", schema.Unrouted: "declared.json"}
	for _, d := range schema.Destinations() {
		o := outcomeOf(t, cmp.Or(files[d], "declared-vendor.json"))
		o.Destination, o.Answer = d, answer(schema.StatusProcessed, "")
		o.History = historyTo(schema.StatusProcessed)
		all["processed-"+string(d)] = o
	}
	broken := outcomeOf(t, "declared.json")
	broken.Destination = schema.ToCXAI
	broken.AnswerPayload = []byte(`{"identifier":"` + guid + `","status":"processed","x":"` + "\xff" + `"}`)
	all["processed-cxai-payload"] = broken

	failed := func(r schema.Reason, detail string, a json.RawMessage, last ...schema.Status) {
		o := outcomeOf(t, "declared-uppercase.json")
		o.History = historyTo(last...)
		o.Reason, o.Detail, o.Answer = r, detail, a
		all["failed-"+string(r)] = o
	}
	for _, s := range schema.Statuses() {
		if s.Meaning() == schema.Failed {
			failed(s.Reason(), "ElevateAI's errorMessage: no speech", answer(s, "no speech"), s)
		}
	}
	failed(schema.VendorFailed, `ElevateAI's status is "transcriptionFailed"; ElevateAI's errorMessage: no speech`,
		answer("transcriptionFailed", "no speech"), "transcriptionFailed")
	failed(schema.NotFound, "ElevateAI did not know the interaction at 3 consecutive polls over 5m", nil)
	failed(schema.Rejected, "ElevateAI refused the interaction at 3 consecutive polls over 5m", nil)
	failed(schema.DeadlineExceeded,
		`no final status 24h after it was declared, the deadline is 24h; the last status is "processing"`,
		answer(schema.StatusProcessing, ""))
	failed(schema.InternalError, "a worker panicked at 3 consecutive deliveries: index out of range", nil)
	long := outcomeOf(t, "declared.json")
	long.Reason, long.Detail = schema.ProcessingFailed, "no speech"
	long.AnswerPayload, long.AnswerSize = []byte(`{"status":"processingFailed"`), 70000
	all["failed-processing_failed-payload"] = long

	invalid := func(name, subject, message string) {
		_, err := ns.DecodeFrom(subject, []byte(message))
		if err == nil {
			t.Fatalf("%s: the message is valid", name)
		}
		kind, _, _ := ns.SplitSubject(subject)
		o := schema.Outcome{
			Identifier: ns.DeadLetterToken(subject, 42), Type: schema.Type(kind), Reason: schema.InvalidMessage,
			Detail: err.Error(), Observed: observed,
			Origin: schema.Origin{Stream: ns.StreamDeclared(), Subject: subject, Sequence: 42, Deliveries: 1,
				Stored: stored},
		}
		if schema.CheckJSON([]byte(message)) == nil {
			o.Declaration = json.RawMessage(message)
		} else {
			o.Payload = []byte(message)
		}
		all[name] = o
	}
	invalid("failed-invalid_message", ns.DeclaredSubject(schema.Audio, guid),
		`{"interactionIdentifier":"`+guid+`","type":"video"}`)
	invalid("failed-invalid_message-payload", "interactions.declared.video.*", "not JSON \xff\x00\r\n")
	invalid("failed-invalid_message-empty", ns.DeclaredSubject(schema.Chat, guid), "")
	invalid("failed-invalid_message-array", ns.DeclaredSubject(schema.Chat, "nobody"), "[1, 2]")
	return all
}

func TestOutcomeWireForm(t *testing.T) {
	reasons, destinations := make(map[schema.Reason]bool), make(map[schema.Destination]bool)
	for name, o := range outcomes(t) {
		reasons[o.Reason], destinations[o.Destination] = true, true
		t.Run(name, func(t *testing.T) {
			got, err := o.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			file := "outcomes/" + name + ".json"
			if *update {
				if err := os.WriteFile(filepath.Join("testdata", file), got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := testdata(t, file); !bytes.Equal(got, want) {
				t.Errorf("%s:\ngot  %s\nwant %s\nrun go test ./schema -update, and review the difference",
					file, got, want)
			}
			if err := validate(t, schemaOf(o), got); err != nil {
				t.Error(err)
			}
			checkReadBack(t, o, got)
		})
	}
	for _, r := range schema.Reasons() {
		if !reasons[r] {
			t.Errorf("no golden file for reason %s", r)
		}
	}
	for _, d := range schema.Destinations() {
		if !destinations[d] {
			t.Errorf("no golden file for destination %s", d)
		}
	}
}

func schemaOf(o schema.Outcome) string {
	if o.Failed() {
		return failedSchema
	}
	return processedSchema
}

// checkReadBack reads a marshalled outcome with the CloudEvents SDK.
func checkReadBack(t *testing.T, o schema.Outcome, message []byte) {
	t.Helper()
	var e event.Event
	if err := json.Unmarshal(message, &e); err != nil {
		t.Fatal(err)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	kind, dataSchema := schema.EventProcessed, schema.DataSchemaProcessed
	if o.Failed() {
		kind, dataSchema = schema.EventFailed, schema.DataSchemaFailed
	}
	trace, _ := e.Extensions()["traceparent"].(string)
	for _, tt := range []struct{ attribute, got, want string }{
		{"specversion", e.SpecVersion(), "1.0"},
		{"id", e.ID(), o.ID()},
		{"source", e.Source(), "/statusworker"},
		{"type", e.Type(), kind},
		{"subject", e.Subject(), o.Identifier},
		{"time", e.Time().Format(time.RFC3339Nano), "2022-06-17T21:29:08.25Z"},
		{"datacontenttype", e.DataContentType(), "application/json"},
		{"dataschema", e.DataSchema(), dataSchema},
		{"traceparent", trace, o.Origin.Traceparent},
	} {
		if tt.got != tt.want {
			t.Errorf("%s is %q, want %q", tt.attribute, tt.got, tt.want)
		}
	}
	var data struct {
		InteractionIdentifier, Type, Destination, Reason string
		Answer, Declaration                              json.RawMessage
		AnswerPayload, Payload                           []byte
		AnswerSize, PayloadSize                          int
		DeclaredAt, ObservedAt                           time.Time
		Polls                                            uint64
		History                                          []schema.StatusChange
		Source                                           schema.Origin
	}
	if err := e.DataAs(&data); err != nil {
		t.Fatal(err)
	}
	if data.InteractionIdentifier != o.Identifier || data.Type != string(o.Type) ||
		data.Destination != string(o.Destination) || data.Reason != string(o.Reason) {
		t.Errorf("data has %s %s %s%s", data.InteractionIdentifier, data.Type, data.Destination, data.Reason)
	}
	if !data.DeclaredAt.Equal(stored) || !data.ObservedAt.Equal(observed) || data.Polls != o.Origin.Polls {
		t.Errorf("data has declared %s, observed %s, polls %d", data.DeclaredAt, data.ObservedAt, data.Polls)
	}
	if data.History == nil || !slices.Equal(data.History, o.History) {
		t.Errorf("history %v, want %v", data.History, o.History)
	}
	if !bytes.Equal(data.Payload, o.Payload) || data.PayloadSize != len(o.Payload) {
		t.Errorf("payload %q of %d bytes, want %q", data.Payload, data.PayloadSize, o.Payload)
	}
	if !bytes.Equal(data.AnswerPayload, o.AnswerPayload) {
		t.Errorf("answer payload %q, want %q", data.AnswerPayload, o.AnswerPayload)
	}
	if want := max(o.AnswerSize, len(o.AnswerPayload)); data.AnswerSize != want {
		t.Errorf("answer size %d, want %d", data.AnswerSize, want)
	}
	if want := compact(t, o.Declaration); string(data.Declaration) != want {
		t.Errorf("declaration %s, want %s", data.Declaration, want)
	}
	if want := compact(t, o.Answer); string(data.Answer) != want {
		t.Errorf("answer %s, want %s", data.Answer, want)
	}
	if source := data.Source; o.Failed() &&
		(source.Subject != o.Origin.Subject || source.Sequence != 42 || !source.Stored.Equal(stored)) {
		t.Errorf("source %+v, want %+v", data.Source, o.Origin)
	}
}

func compact(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	if raw == nil {
		return "null"
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDeclarationIsPublishedVerbatim(t *testing.T) {
	const declaration = `{"zulu":1e400,"big":12345678901234567890,"precise":0.10000000000000000001,"minus":-0,` +
		`"html":"<b>&</b>","raw":"ü 😀 ` + "\u2028\u2029\u007f" + `","escaped":"\u00fc\ud83d\ude00\/\u003c",` +
		`"type":"audio","Types":"also kept",` +
		`"interactionIdentifier":"BD5C92F3-C228-44A6-91BF-B52672569878","alpha":[{},[],null,true," a b "],"":"no name"}`
	spaced := " \n" + strings.NewReplacer(`,"`, "\r\n , \t\"", `":`, "\" : ").Replace(declaration) + "\t\n"
	cloudEvent := `{"specversion":"1.0","id":"1","source":"s","type":"t","data":` + spaced + `}`

	for name, message := range map[string]string{"bare": declaration, "spaced": spaced, "CloudEvent": cloudEvent} {
		t.Run(name, func(t *testing.T) {
			d, err := schema.Decode([]byte(message))
			if err != nil {
				t.Fatal(err)
			}
			for kind, o := range map[string]schema.Outcome{
				"processed": {Identifier: d.Identifier, Type: d.Type, Destination: schema.ToTranscript,
					Answer: answer(schema.StatusProcessed, ""), Declaration: d.Declaration},
				"failed": {Identifier: d.Identifier, Type: d.Type, Reason: schema.NotFound, Declaration: d.Declaration},
			} {
				b, err := o.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(b), `"declaration":`+declaration+`,`) {
					t.Errorf("%s: the declaration is not verbatim:\ngot  %s\nwant %s", kind, b, declaration)
				}
				if err := validate(t, schemaOf(o), b); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			}
		})
	}
}

func TestMarshalIsDeterministic(t *testing.T) {
	elsewhere := time.FixedZone("elsewhere", 5*60*60+1800)
	for name, o := range outcomes(t) {
		first, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		o.Observed, o.Origin.Stored = o.Observed.In(elsewhere), o.Origin.Stored.In(elsewhere)
		again, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Errorf("%s: two results for the same facts:\n%s\n%s", name, first, again)
		}
	}
}

func TestReadProcessed(t *testing.T) {
	for name, o := range outcomes(t) {
		event, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		read, err := schema.ReadProcessed(event)
		if o.Failed() {
			if err == nil || !strings.Contains(err.Error(), schema.EventFailed) {
				t.Errorf("%s: error %v, want one that names its type", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := read.Marshal()
		if err != nil || !bytes.Equal(again, event) {
			t.Errorf("%s: after ReadProcessed and Marshal:\n%s\nwant\n%s (%v)", name, again, event, err)
		}
	}
	if _, err := schema.ReadProcessed([]byte("nonsense")); err == nil {
		t.Error("ReadProcessed accepts text that is not JSON")
	}
}

func TestOutcomeID(t *testing.T) {
	o := schema.Outcome{Identifier: guid, Destination: schema.ToCXAI, Origin: schema.Origin{Stored: stored}}
	if got, want := o.ID(), guid+"/cxai/1655500987500000000"; got != want {
		t.Errorf("ID() = %s, want %s", got, want)
	}
	seen := map[string]string{o.ID(): "cxai"}
	other, failed, later := o, o, o
	other.Destination = schema.ToTranscript
	failed.Destination, failed.Reason = "", schema.NotFound
	later.Origin.Stored = stored.Add(1)
	for name, o := range map[string]schema.Outcome{"transcript": other, "failed": failed, "declared again": later} {
		if was, ok := seen[o.ID()]; ok {
			t.Errorf("%s and %s have the same ID %s", name, was, o.ID())
		}
		seen[o.ID()] = name
	}
}

func TestMarshalEdges(t *testing.T) {
	base := func() schema.Outcome {
		return schema.Outcome{Identifier: guid, Type: schema.Audio, Reason: schema.InvalidMessage, Observed: observed,
			Origin: schema.Origin{Stored: stored}}
	}
	for _, tt := range []struct {
		name   string
		change func(*schema.Outcome)
		has    string
		hasNot string
		fails  bool
	}{
		{name: "payload at its limit",
			change: func(o *schema.Outcome) { o.Payload = make([]byte, schema.MaxPayloadBytes) },
			has:    `"payloadSize":65536,`},
		{name: "payload cut", change: func(o *schema.Outcome) { o.Payload = make([]byte, schema.MaxPayloadBytes+1) },
			has: `"payloadSize":65537,`},
		{name: "detail at its limit",
			change: func(o *schema.Outcome) { o.Detail = strings.Repeat("x", schema.MaxDetailBytes) },
			hasNot: "(2048 bytes)"},
		{name: "detail cut", change: func(o *schema.Outcome) { o.Detail = strings.Repeat("ü", schema.MaxDetailBytes) },
			has: `... (4096 bytes)"`},
		{name: "answer at its limit", change: func(o *schema.Outcome) { o.Answer = objectOf(schema.MaxPayloadBytes) },
			hasNot: "answerPayload"},
		{name: "answer cut", change: func(o *schema.Outcome) { o.Answer = objectOf(schema.MaxPayloadBytes + 1) },
			has: `"answerSize":65537,"declaration"`},
		{name: "declaration cut",
			change: func(o *schema.Outcome) { o.Declaration = objectOf(schema.MaxPayloadBytes + 1) },
			has:    `"payloadSize":65537,`},
		{name: "JSON beside a payload",
			change: func(o *schema.Outcome) { o.Answer, o.AnswerPayload, o.AnswerSize = objectOf(40), []byte("x"), 99 },
			hasNot: "answerPayload"},
		{name: "detail of bad UTF-8", change: func(o *schema.Outcome) { o.Detail = "a\xffb" },
			has: "\"detail\":\"a\uFFFDb\""},
		{name: "empty answer", change: func(o *schema.Outcome) { o.Answer = json.RawMessage{} }, has: `"answer":null,`},
		{name: "empty declaration", change: func(o *schema.Outcome) { o.Declaration = json.RawMessage{} },
			has: `"declaration":null,`},
		{name: "trace context", change: func(o *schema.Outcome) { o.Origin.Traceparent = traceState },
			has: `"traceparent":"` + traceState + `"`},
		{name: "malformed trace context", change: func(o *schema.Outcome) { o.Origin.Traceparent = "x\r\ny" },
			hasNot: "traceparent"},
		{name: "answer that is not JSON", change: func(o *schema.Outcome) { o.Answer = json.RawMessage("<html>") },
			has: `"answer":null,"answerPayload":"PGh0bWw+","answerSize":6,`},
		{name: "answer of bad UTF-8",
			change: func(o *schema.Outcome) { o.Answer = json.RawMessage("{\"status\":\"\xff\"}") },
			has:    `"answer":null,"answerPayload":"`},
		{name: "declaration that is not JSON", change: func(o *schema.Outcome) { o.Declaration = json.RawMessage("{") },
			has: `"declaration":null,"payload":"ew==","payloadSize":1,`},
		{name: "year 10000",
			change: func(o *schema.Outcome) { o.Observed = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
			fails:  true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := base()
			tt.change(&o)
			b, err := o.Marshal()
			if tt.fails {
				if err == nil || !strings.Contains(err.Error(), o.ID()) {
					t.Errorf("error %v, want one with the ID", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.has != "" && !bytes.Contains(b, []byte(tt.has)) {
				t.Errorf("no %s in %.300s", tt.has, b)
			}
			if tt.hasNot != "" && bytes.Contains(b, []byte(tt.hasNot)) {
				t.Errorf("%s in %.300s", tt.hasNot, b)
			}
			if err := validate(t, failedSchema, b); err != nil {
				t.Error(err)
			}
		})
	}
}

// objectOf returns a JSON object of a size in bytes.
func objectOf(size int) json.RawMessage {
	const head = `{"status":"processing","x":"`
	return json.RawMessage(head + strings.Repeat("x", size-len(head)-2) + `"}`)
}

func TestOutcomeSubject(t *testing.T) {
	for name, o := range outcomes(t) {
		kind := string(o.Reason) + string(o.Destination)
		gotKind, gotIdentifier, ok := ns.SplitSubject(ns.OutcomeSubject(o))
		if !ok || gotKind != kind || gotIdentifier != o.Identifier {
			t.Errorf("%s: subject %s does not have %s and %s", name, ns.OutcomeSubject(o), kind, o.Identifier)
		}
	}
}
