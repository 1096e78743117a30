package simulator

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"statusworker/schema"
)

// reply is an answer before a fault is applied.
type reply struct {
	code  int
	body  []byte
	large bool // compress the answer if the client accepts that, as the vendor does with results
}

func jsonReply(code int, v any) reply {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // all values are of this package
	}
	return reply{code: code, body: b}
}

// refuse returns an error in the vendor's format.
func refuse(code int, message string) reply {
	return jsonReply(code, map[string]string{"errorMessage": message})
}

func (s *Simulator) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/interactions/{identifier}/status", s.serveStatus)
	mux.HandleFunc("POST /v1/interactions", s.serve(s.declare))
	mux.HandleFunc("POST /v1/interactions/{$}", s.serve(s.declare)) // the path in the vendor's SDKs
	mux.HandleFunc("POST /v1/interactions/{identifier}/upload", s.serve(s.upload))
	mux.HandleFunc("GET /v1/interactions/{identifier}/transcript", s.serve(s.result(transcript, audioOnly)))
	mux.HandleFunc("GET /v1/interactions/{identifier}/transcripts", s.serve(s.result(transcript, audioOnly)))
	mux.HandleFunc("GET /v1/interactions/{identifier}/transcripts/punctuated", s.serve(s.result(punctuated, audioOnly)))
	mux.HandleFunc("GET /v1/interactions/{identifier}/ai", s.serve(s.result(cxAI, aiOnly)))
	mux.HandleFunc("/", s.serve(func(*http.Request) reply { return refuse(http.StatusNotFound, "no such resource") }))
	return mux
}

// serveStatus answers a poll.
func (s *Simulator) serveStatus(w http.ResponseWriter, r *http.Request) {
	at := receivedAt(r, s.cfg.Now())
	identifier := strings.ToLower(r.PathValue("identifier"))
	from, _ := netip.ParseAddrPort(r.RemoteAddr) // a listener of a test may have no such address

	s.mu.Lock()
	number := s.arrived(identifier, at)
	p := Poll{Identifier: identifier, Number: number, At: at, From: from}
	i := s.interactions[identifier]
	if i == nil && s.cfg.Default != nil {
		i = &interaction{script: s.cfg.Default(identifier), declared: at, began: at, audio: true, ai: true}
		s.interactions[identifier] = i
	}
	fault, met := firstMatch(s.faults, s.cfg.Seed, identifier, number)
	if !met && i != nil {
		fault, met = firstMatch(i.script.Faults, s.cfg.Seed, identifier, number)
	}
	var rep reply
	switch {
	case r.Header.Get("X-API-Token") != s.token:
		rep = refuse(http.StatusUnauthorized, "the API token is missing or wrong")
	case i == nil:
		rep = refuse(http.StatusNotFound, "no such interaction")
	default:
		a := i.answer(identifier, at, s.cfg.Speed)
		switch {
		case met && fault.Kind == OtherStatus:
			a.Status = fault.Status
		case met && fault.Kind == WrongIdentifier:
			a.Identifier = newIdentifier()
		}
		rep = jsonReply(http.StatusOK, a)
		p.Status = schema.Status(a.Status)
	}
	p.StatusCode = rep.code
	if met {
		p.Fault = fault.name()
		p.StatusCode = fault.code(rep.code)
		if !fault.keepsAnswer() {
			p.Status = ""
		}
	}
	s.note(p)
	hook := s.onPoll
	s.mu.Unlock()

	if hook != nil {
		hook(p)
	}
	s.write(w, r, rep, fault)
}

// serve answers a request other than a poll.
func (s *Simulator) serve(answer func(*http.Request) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		identifier := strings.ToLower(r.PathValue("identifier"))
		s.mu.Lock()
		fault, met := firstMatch(s.faults, s.cfg.Seed, identifier, 0)
		authorized := r.Header.Get("X-API-Token") == s.token
		s.mu.Unlock()
		var rep reply
		switch {
		case met && fault.code(http.StatusOK) != http.StatusOK: // the request has no effect
		case !authorized:
			rep = refuse(http.StatusUnauthorized, "the API token is missing or wrong")
		default:
			rep = answer(r)
		}
		s.write(w, r, rep, fault)
	}
}

// declaration is the documented request body. Other members are ignored.
type declaration struct {
	Type                   string  `json:"type"`
	LanguageTag            string  `json:"languageTag"`
	Vertical               string  `json:"vertical"`
	AudioTranscriptionMode *string `json:"audioTranscriptionMode"`
	Model                  *string `json:"model"`
	DownloadURI            *string `json:"downloadUri"`
	IncludeAIResults       *bool   `json:"includeAiResults"`
	OriginalFilename       *string `json:"originalFilename"`
	ExternalIdentifier     *string `json:"externalIdentifier"`
}

func (d declaration) check() error {
	switch {
	case !schema.Type(d.Type).Valid():
		return fmt.Errorf("type is %q; must be audio, transcript or chat", d.Type)
	case d.LanguageTag == "":
		return errors.New("languageTag is missing")
	case d.Vertical == "":
		return errors.New("vertical is missing")
	case !isOneOf(d.AudioTranscriptionMode, "highSpeed", "highAccuracy"):
		return fmt.Errorf("audioTranscriptionMode is %q; must be highSpeed or highAccuracy", *d.AudioTranscriptionMode)
	case !isOneOf(d.Model, "cx", "echo"):
		return fmt.Errorf("model is %q; must be cx or echo", *d.Model)
	}
	if d.DownloadURI != nil {
		if u, err := url.Parse(*d.DownloadURI); err != nil || u.Host == "" {
			return errors.New("downloadUri is not an absolute URI")
		}
	}
	return nil
}

// isOneOf reports whether an optional value is missing or allowed.
func isOneOf(value *string, allowed ...string) bool {
	return value == nil || slices.Contains(allowed, *value)
}

// defaultDuration is how long an interaction that was declared over HTTP takes without [Config.Default].
const defaultDuration = time.Minute

const maxRequest = 1 << 20

func (s *Simulator) declare(r *http.Request) reply {
	var d declaration
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err == nil {
		err = json.Unmarshal(body, &d)
	}
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	identifier := newIdentifier()
	script := Processed(defaultDuration)
	if s.cfg.Default != nil {
		script = s.cfg.Default(identifier)
	}
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interactions[identifier] = &interaction{
		script: script, declared: now, began: now,
		audio:        schema.Type(d.Type) == schema.Audio,
		ai:           d.IncludeAIResults == nil || *d.IncludeAIResults,
		awaitsUpload: schema.Type(d.Type) == schema.Audio && d.DownloadURI == nil,
	}
	return jsonReply(http.StatusCreated, map[string]string{"interactionIdentifier": identifier})
}

func (s *Simulator) upload(r *http.Request) reply {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "multipart/form-data" {
		return refuse(http.StatusBadRequest, "the body is not multipart/form-data")
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	files := 0
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
		if part.FileName() != "" {
			files++
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
	}
	if files != 1 {
		return refuse(http.StatusBadRequest, fmt.Sprintf("the body has %d files; must be 1", files))
	}
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.interactions[strings.ToLower(r.PathValue("identifier"))]
	switch {
	case i == nil:
		return refuse(http.StatusNotFound, "no such interaction")
	case !i.awaitsUpload:
		return refuse(http.StatusBadRequest, "the interaction does not wait for a file")
	}
	i.awaitsUpload, i.uploaded, i.began = false, now, now
	return jsonReply(http.StatusOK, map[string]string{})
}

func audioOnly(i *interaction) bool { return i.audio }
func aiOnly(i *interaction) bool    { return i.ai }

// result returns a handler that answers with v for processed interactions that have this result.
func (s *Simulator) result(v any, has func(*interaction) bool) func(*http.Request) reply {
	rep := jsonReply(http.StatusOK, v)
	rep.large = true
	return func(r *http.Request) reply {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := s.interactions[strings.ToLower(r.PathValue("identifier"))]
		switch {
		case i == nil:
			return refuse(http.StatusNotFound, "no such interaction")
		case !has(i):
			return refuse(http.StatusBadRequest, "the interaction was declared without such results")
		case i.status(s.cfg.Now(), s.cfg.Speed).Status != schema.StatusProcessed:
			return refuse(http.StatusNotFound, "the interaction is not processed")
		}
		return rep
	}
}

// newIdentifier returns a random GUID in lower case.
func newIdentifier() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never returns an error
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
