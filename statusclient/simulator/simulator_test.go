package simulator_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

func TestLifecycle(t *testing.T) {
	now := newClock()
	s := start(t, simulator.Config{Now: now.Now, Speed: 2})
	s.Declare(strings.ToUpper(identifier), simulator.Processed(60*time.Second))
	at, status, ok := s.ReachedAt(identifier)
	if want := now.Now().Add(30 * time.Second); !ok || status != schema.StatusProcessed || !at.Equal(want) {
		t.Errorf("ReachedAt() = %v, %s, %t, want %v", at, status, ok, want)
	}
	var seen []string
	for range 7 {
		a := poll(t, s, identifier)
		if a.StatusCode != http.StatusOK || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") ||
			a.object["identifier"] != identifier {
			t.Fatalf("answer %d %v %s", a.StatusCode, a.Header, a.body)
		}
		seen = append(seen, a.object["status"].(string))
		now.Advance(5 * time.Second)
	}
	statuses := []string{"declared", "filePendingDownload", "fileDownloading", "fileDownloaded",
		"filePendingProcessing", "processing", "processed"}
	if !slices.Equal(seen, statuses) {
		t.Errorf("statuses %v, want %v", seen, statuses)
	}
	want := `{"identifier":"` + identifier + `","status":"processed",` +
		`"declared":"2026-03-01T12:00:00.123456Z","uploaded":null,` +
		`"downloaded":"2026-03-01T12:00:15.123456Z","processed":"2026-03-01T12:00:30.123Z","errorMessage":null}`
	if a := poll(t, s, identifier); string(a.body) != want {
		t.Errorf("answer\n%s, want\n%s", a.body, want)
	}
	s.Forget(identifier)
	if a := poll(t, s, identifier); a.StatusCode != http.StatusNotFound || a.object["errorMessage"] == "" {
		t.Errorf("answer about a deleted interaction: %d %s", a.StatusCode, a.body)
	}
}

func TestScripts(t *testing.T) {
	s := start(t, simulator.Config{Default: func(id string) simulator.Script {
		if id == other {
			return simulator.Constant("reticulating")
		}
		return simulator.Never()
	}})
	if a := poll(t, s, identifier); a.object["status"] != "processing" {
		t.Errorf("answer with Never: %s", a.body)
	}
	if _, _, ok := s.ReachedAt(identifier); ok {
		t.Error("ReachedAt with Never, want none")
	}
	if a := poll(t, s, other); a.object["status"] != "reticulating" {
		t.Errorf("answer with Constant: %s", a.body)
	}
	s.Declare(other, simulator.Failed(schema.StatusProcessingFailed, 0))
	if a := poll(t, s, other); a.object["status"] != "processingFailed" || a.object["errorMessage"] == nil ||
		a.object["processed"] != nil {
		t.Errorf("answer with Failed: %s", a.body)
	}
}

func TestToken(t *testing.T) {
	s := start(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Never() }})
	for _, wrong := range []string{"", "wrong"} {
		a := poll(t, s, identifier, "X-API-Token", wrong)
		if a.StatusCode != http.StatusUnauthorized || a.object["errorMessage"] == nil {
			t.Errorf("token %q: %d %s", wrong, a.StatusCode, a.body)
		}
	}
	s.SetToken("another")
	if a := poll(t, s, identifier); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("the old token: %d", a.StatusCode)
	}
	if a := poll(t, s, identifier, "X-API-Token", "another"); a.StatusCode != http.StatusOK {
		t.Errorf("the new token: %d", a.StatusCode)
	}
	if a := ask(t, http.MethodPost, s.URL()+"/interactions", "{}"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("declaring with the old token: %d", a.StatusCode)
	}
	if c := s.Counts(); c.Polls != 4 || c.Codes[401] != 3 || c.Codes[200] != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestDeclareAndFetch(t *testing.T) {
	s := start(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Processed(0) }})
	declare := func(members string) string {
		t.Helper()
		a := ask(t, http.MethodPost, s.URL()+"/interactions/",
			`{"languageTag":"en-us","vertical":"default",`+members+`}`)
		id, _ := a.object["interactionIdentifier"].(string)
		if a.StatusCode != http.StatusCreated || schema.CheckIdentifier(id) != nil {
			t.Fatalf("declaring %s: %d %s", members, a.StatusCode, a.body)
		}
		return id
	}
	const fetched = `"downloadUri":"https://files.example.com/a.wav"`
	audio := declare(`"type":"audio","audioTranscriptionMode":"highAccuracy","includeAiResults":true,` + fetched)
	bare := declare(`"type":"audio","model":"echo","includeAiResults":false,` + fetched)
	chat := declare(`"type":"chat"`)
	for _, tt := range []struct {
		id, path string
		code     int
		member   string
	}{
		{audio, "transcript", 200, "allParticipants"},
		{audio, "transcripts", 200, "allParticipants"},
		{audio, "transcripts/punctuated", 200, "sentenceSegments"},
		{audio, "ai", 200, "allParticipants"},
		{bare, "transcripts", 200, "allParticipants"},
		{bare, "ai", 400, "errorMessage"},
		{chat, "transcripts", 400, "errorMessage"},
		{chat, "transcripts/punctuated", 400, "errorMessage"},
		{chat, "ai", 200, "allParticipants"},
		{other, "ai", 404, "errorMessage"},
		{audio, "nonsense", 404, "errorMessage"},
	} {
		a := ask(t, http.MethodGet, s.URL()+"/interactions/"+tt.id+"/"+tt.path, "")
		if a.StatusCode != tt.code || a.object[tt.member] == nil {
			t.Errorf("%s: %d %s", tt.path, a.StatusCode, a.body)
		}
	}
	s.Declare(other, simulator.Never())
	if a := ask(t, http.MethodGet, s.URL()+"/interactions/"+other+"/ai", ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("results of an interaction in processing: %d", a.StatusCode)
	}
	for _, body := range []string{
		``, `[]`, `{}`, `{"type":"video","languageTag":"en","vertical":"default"}`,
		`{"type":"audio","vertical":"default"}`,
		`{"type":"audio","languageTag":"en"}`,
		`{"type":"audio","languageTag":"en","vertical":"default","audioTranscriptionMode":"fast"}`,
		`{"type":"audio","languageTag":"en","vertical":"default","model":"big"}`,
		`{"type":"audio","languageTag":"en","vertical":"default","downloadUri":"a.wav"}`,
		`{"type":"audio","languageTag":"en","vertical":"default","includeAiResults":"yes"}`,
	} {
		if a := ask(t, http.MethodPost, s.URL()+"/interactions", body); a.StatusCode != http.StatusBadRequest ||
			a.object["errorMessage"] == nil {
			t.Errorf("declaring %s: %d %s", body, a.StatusCode, a.body)
		}
	}
}

func TestUpload(t *testing.T) {
	s := start(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Processed(0) }})
	a := ask(t, http.MethodPost, s.URL()+"/interactions", `{"type":"audio","languageTag":"en","vertical":"default"}`)
	id := a.object["interactionIdentifier"].(string)
	if a := poll(t, s, id); a.object["status"] != "filePendingUpload" || a.object["uploaded"] != nil {
		t.Errorf("before the upload: %s", a.body)
	}
	if _, _, ok := s.ReachedAt(id); ok {
		t.Error("ReachedAt before the upload, want none")
	}
	url := s.URL() + "/interactions/" + id + "/upload"
	if a := ask(t, http.MethodPost, url, "RIFF", "Content-Type", "audio/wav"); a.StatusCode != http.StatusBadRequest {
		t.Errorf("an upload that is not multipart: %d", a.StatusCode)
	}
	form := func(files int) (string, string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for range files {
			part, _ := w.CreateFormFile("file", "a.wav") // to memory
			_, _ = part.Write([]byte("RIFF"))
		}
		_ = w.Close()
		return b.String(), w.FormDataContentType()
	}
	for _, tt := range []struct{ files, code int }{{0, 400}, {2, 400}, {1, 200}, {1, 400}} {
		body, contentType := form(tt.files)
		if a := ask(t, http.MethodPost, url, body, "Content-Type", contentType); a.StatusCode != tt.code {
			t.Errorf("%d files: %d %s, want %d", tt.files, a.StatusCode, a.body, tt.code)
		}
	}
	if a := poll(t, s, id); a.object["status"] != "processed" || a.object["uploaded"] == nil ||
		a.object["downloaded"] != nil {
		t.Errorf("after the upload: %s", a.body)
	}
	body, contentType := form(1)
	a = ask(t, http.MethodPost, s.URL()+"/interactions/"+other+"/upload", body, "Content-Type", contentType)
	if a.StatusCode != http.StatusNotFound {
		t.Errorf("an upload to an unknown interaction: %d", a.StatusCode)
	}
}

func TestFaults(t *testing.T) {
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		fault simulator.Fault
		name  string
		code  int
		check func(t *testing.T, a answer)
	}{
		{simulator.Refusal(401), "401", 401, nil},
		{simulator.Refusal(403), "403", 403, nil},
		{simulator.Refusal(404), "404", 404, nil},
		{simulator.Refusal(400), "400", 400, nil},
		{simulator.Refusal(500), "500", 500, func(t *testing.T, a answer) {
			if a.object["errorMessage"] == nil {
				t.Errorf("body %s", a.body)
			}
		}},
		{simulator.Refusal(503), "503", 503, nil},
		{simulator.Throttle(1500 * time.Millisecond), "429", 429, header("Retry-After", "2")},
		{simulator.ThrottleUntil(until), "429", 429, header("Retry-After", "Wed, 02 Jan 2030 03:04:05 GMT")},
		{simulator.Fault{Kind: simulator.Delayed, Delay: time.Millisecond}, "delayed", 200, status("processing")},
		{simulator.Fault{Kind: simulator.WrongType}, "wrong type", 200, header("Content-Type", "text/html")},
		{simulator.Fault{Kind: simulator.WrongIdentifier}, "wrong identifier", 200, func(t *testing.T, a answer) {
			if a.object["identifier"] == identifier || a.object["status"] == nil {
				t.Errorf("body %s", a.body)
			}
		}},
		{simulator.Fault{Kind: simulator.NotJSON}, "not json", 200, func(t *testing.T, a answer) {
			if json.Valid(a.body) {
				t.Errorf("body %s", a.body)
			}
		}},
		{simulator.Fault{Kind: simulator.Gzipped}, "gzipped", 200, func(t *testing.T, a answer) {
			z, err := gzip.NewReader(bytes.NewReader(a.body))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if err != nil || !strings.Contains(string(b), `"status":"processing"`) ||
				a.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("body %s, %v", b, err)
			}
		}},
		{simulator.Fault{Kind: simulator.Huge}, "huge", 200, func(t *testing.T, a answer) {
			if len(a.body) != 10<<20 || !json.Valid(a.body) {
				t.Errorf("body of %d bytes", len(a.body))
			}
		}},
		{simulator.Fault{Kind: simulator.Redirected, Location: "https://elsewhere.example.com/"}, "redirected", 307,
			header("Location", "https://elsewhere.example.com/")},
		{simulator.Fault{Kind: simulator.OtherStatus, Status: "dreaming"}, "other status", 200, status("dreaming")},
		{simulator.Page(402), "foreign", 402, func(t *testing.T, a answer) {
			header("Content-Type", "text/html")(t, a)
			if !strings.HasPrefix(string(a.body), "<html>") {
				t.Errorf("body %s", a.body)
			}
		}},
		{simulator.NoSuchResource(), "foreign", 404, func(t *testing.T, a answer) {
			if a.object["message"] == nil || a.object["errorMessage"] != nil {
				t.Errorf("body %s", a.body)
			}
		}},
		{simulator.Fault{Kind: simulator.Odd, Prefix: simulator.ByteOrderMark}, "odd", 200,
			func(t *testing.T, a answer) {
				if rest, ok := strings.CutPrefix(string(a.body), "\xef\xbb\xbf"); !ok || !json.Valid([]byte(rest)) {
					t.Errorf("body %q", a.body)
				}
			}},
		{simulator.Fault{Kind: simulator.Odd, Members: `"errorMessage":{"code":"E1"},"originalFilename":"\ud83d"`},
			"odd", 200, func(t *testing.T, a answer) {
				if _, ok := a.object["errorMessage"].(map[string]any); !ok ||
					strings.Count(string(a.body), "errorMessage") != 1 ||
					!strings.HasSuffix(string(a.body), `"\ud83d"}`) {
					t.Errorf("body %s", a.body)
				}
				status("processing")(t, a)
			}},
		{simulator.Fault{Kind: simulator.Unsolicited}, "unsolicited", 200, status("processing")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, simulator.Config{})
			s.Declare(identifier, simulator.Never().With(tt.fault))
			a := poll(t, s, identifier)
			if a.StatusCode != tt.code {
				t.Errorf("status code %d, want %d", a.StatusCode, tt.code)
			}
			if tt.check != nil {
				tt.check(t, a)
			}
			if p := s.Polls()[0]; p.Fault != tt.name || p.StatusCode != tt.code || p.Number != 1 ||
				p.Identifier != identifier {
				t.Errorf("poll %+v", p)
			}
		})
	}
}

func header(name, want string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func status(want string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		if a.object["status"] != want {
			t.Errorf("body %s, want status %s", a.body, want)
		}
	}
}

func TestBrokenConnections(t *testing.T) {
	for _, kind := range []simulator.Kind{simulator.Reset, simulator.Truncated} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s TLS %t", kind, secure), func(t *testing.T) {
				s := start(t, simulator.Config{TLS: secure})
				s.Declare(identifier, simulator.Never().With(simulator.Fault{Kind: kind}.On(1, 1)))
				transport := &http.Transport{}
				defer transport.CloseIdleConnections()
				if secure {
					pool := x509.NewCertPool()
					if !pool.AppendCertsFromPEM(s.CertificatePEM()) {
						t.Fatal("not a certificate")
					}
					transport.TLSClientConfig = &tls.Config{RootCAs: pool}
				}
				get := func() (int, error) {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, statusURL(s, identifier), nil)
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("X-API-Token", simulator.DefaultToken)
					resp, err := transport.RoundTrip(r)
					if err != nil {
						return 0, err
					}
					defer func() { _ = resp.Body.Close() }()
					_, err = io.ReadAll(resp.Body)
					return resp.StatusCode, err
				}
				if code, err := get(); err == nil {
					t.Errorf("status code %d, want none", code)
				}
				if code, err := get(); err != nil || code != 200 {
					t.Errorf("the second poll: %d, %v", code, err)
				}
			})
		}
	}
}

func TestFaultsByNumberAndGlobally(t *testing.T) {
	s := start(t, simulator.Config{})
	s.Declare(identifier, simulator.Never().With(simulator.Refusal(503).On(2, 3), simulator.Refusal(404).On(5, 0)))
	var codes []int
	for range 6 {
		codes = append(codes, poll(t, s, identifier).StatusCode)
	}
	if fmt.Sprint(codes) != "[200 503 503 200 404 404]" {
		t.Errorf("status codes %v", codes)
	}
	s.Declare(other, simulator.Never())
	s.SetFaults(simulator.Refusal(401))
	if a := poll(t, s, other); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("with a fault for all: %d", a.StatusCode)
	}
	a := ask(t, http.MethodPost, s.URL()+"/interactions", `{"type":"chat","languageTag":"en","vertical":"default"}`)
	if a.StatusCode != http.StatusUnauthorized {
		t.Errorf("declaring with a fault for all: %d", a.StatusCode)
	}
	s.SetFaults()
	if a := poll(t, s, other); a.StatusCode != http.StatusOK {
		t.Errorf("after the fault: %d", a.StatusCode)
	}
	if c := s.Counts(); c.Faults["401"] != 1 || c.Faults["503"] != 2 || c.Codes[404] != 2 {
		t.Errorf("counts %+v", c)
	}
}

// Polls with a fault of a share depend on the seed, and their number is about the share.
func TestFaultShare(t *testing.T) {
	const polls = 400
	run := func(seed uint64) (met []int) {
		s := start(t, simulator.Config{Seed: seed, Default: func(string) simulator.Script { return simulator.Never() }})
		s.SetFaults(simulator.Refusal(500).Sometimes(0.25))
		for range polls {
			poll(t, s, identifier)
		}
		for _, p := range s.Polls() {
			if p.Fault != "" {
				met = append(met, p.Number)
			}
		}
		return met
	}
	first := run(1)
	if len(first) < polls/8 || len(first) > polls*3/8 {
		t.Errorf("%d of %d polls have the fault, want about a quarter", len(first), polls)
	}
	if again := run(1); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Error("different polls with the same seed")
	}
	if another := run(2); fmt.Sprint(another) == fmt.Sprint(first) {
		t.Error("the same polls with another seed")
	}
}

func TestHangingRequestsEndWithClose(t *testing.T) {
	s := start(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Never() }})
	s.SetFaults(simulator.Fault{Kind: simulator.Hangs}.On(1, 5),
		simulator.Fault{Kind: simulator.Delayed, Delay: time.Hour})
	var running sync.WaitGroup
	for range 10 {
		running.Go(func() {
			if a, err := try(t.Context(), t, http.MethodGet, statusURL(s, identifier), ""); err == nil {
				t.Errorf("a hanging request was answered: %s", a.body)
			}
		})
	}
	if err := s.WaitPollsOf(t.Context(), identifier, 10); err != nil {
		t.Fatal(err)
	}
	s.Close()
	running.Wait()
	if c := s.Counts(); c.Codes[0] != 5 || c.Faults["hangs"] != 5 {
		t.Errorf("counts %+v", c)
	}
	s.Close() // again
}

func TestHangingRequestEndsWithItsClient(t *testing.T) {
	s := start(t, simulator.Config{})
	s.SetFaults(simulator.Fault{Kind: simulator.Hangs})
	ctx, cancel := context.WithCancel(t.Context())
	s.OnPoll(func(simulator.Poll) { cancel() })
	if _, err := try(ctx, t, http.MethodGet, statusURL(s, identifier), ""); err == nil {
		t.Error("the request was answered")
	}
}

func TestGzipWhereAccepted(t *testing.T) {
	s := start(t, simulator.Config{Default: func(string) simulator.Script { return simulator.Processed(0) }})
	if a := poll(t, s, identifier, "Accept-Encoding", "gzip, deflate, br"); a.Header.Get("Content-Encoding") != "" {
		t.Error("a small answer is compressed")
	}
	const results = "/transcripts/punctuated"
	plain := ask(t, http.MethodGet, s.URL()+"/interactions/"+identifier+results, "")
	zipped := ask(t, http.MethodGet, s.URL()+"/interactions/"+identifier+results, "", "Accept-Encoding",
		"gzip, deflate, br")
	if plain.Header.Get("Content-Encoding") != "" || zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("Content-Encoding %q and %q", plain.Header.Get("Content-Encoding"),
			zipped.Header.Get("Content-Encoding"))
	}
	z, err := gzip.NewReader(bytes.NewReader(zipped.body))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, plain.body) {
		t.Errorf("decompressed: %s, %v", b, err)
	}
}
