package console_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/schema"
)

// pausedUntil returns until when the consumer of a lane is paused, or nil.
func (s *stage) pausedUntil(t schema.Type) *time.Time {
	s.t.Helper()
	c, err := s.js.Consumer(s.ctx, ns.StreamPolls(), ns.PollConsumer(t))
	s.check(err)
	if !c.CachedInfo().Paused {
		return nil
	}
	return c.CachedInfo().Config.PauseUntil
}

// ends follows the redirect to a task, and waits until it has ended.
func (a answer) ends(s *stage) answer {
	s.t.Helper()
	at := a.has(http.StatusSeeOther).Header().Get("Location")
	for {
		page := s.get(at)
		if !strings.Contains(page.text(), "running") {
			return page
		}
		if s.ctx.Err() != nil {
			s.t.Fatalf("the task has not ended:\n%s", page.text())
		}
		s.until(at)
	}
}

// A replay changes the dead letters that were counted, and none that was stored later.
func TestReplayOfAFilter(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	ids := s.deadLetters(schema.NotFound, 3)
	s.deadLetters(schema.Rejected, 2)
	page := s.get("/dead-letters/confirm?do=replay-all&reason=not_found").shows("Replay 3 dead letters?",
		"statusworker dlq replay --reason not_found")
	later := s.deadLetters(schema.NotFound, 1)
	if n := s.messages(ns.StreamOutcomes(), ">"); n != 6 {
		t.Errorf("%d outcomes after the question, want 6", n)
	}
	s.do(http.MethodPost, "/dead-letters/replay", page.fields()).ends(s).shows("done", "3 of 3", "replayed 3",
		"unchanged 0")
	for _, id := range ids {
		if n := s.messages(ns.StreamDeclared(), ns.DeclaredSubject(schema.Chat, id)); n != 1 {
			t.Errorf("%d declared messages of %s, want 1", n, id)
		}
	}
	if n := s.messages(ns.StreamOutcomes(), ns.FailedSubjects(later[0])); n != 1 {
		t.Error("the dead letter that was stored later is gone")
	}
	if n := s.messages(ns.StreamOutcomes(), ">"); n != 3 {
		t.Errorf("%d outcomes, want 3", n)
	}
	s.get("/tasks").shows("Replay of 3 dead letters", "done")
	for message, fields := range map[string]map[string]any{
		"task started": {"action": "replay", "selection": "--reason not_found", "user": "local", "total": 3},
		"task ended":   {"action": "replay", "replayed": 3, "unchanged": 0, "stopped": false},
	} {
		entries := s.logged(message)
		if len(entries) != 1 {
			t.Fatalf("%d entries %q", len(entries), message)
		}
		for name, want := range fields {
			if got := entries[0].Data[name]; got != want {
				t.Errorf("%s: %s is %v, want %v", message, name, got, want)
			}
		}
	}
}

func TestPurgeOfASelection(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	s.deadLetters(schema.NotFound, 4)
	page := s.get("/dead-letters/confirm?do=purge-selected&id=@2&id=@4&reason=rejected").shows("Purge 2 dead letters?",
		"deletes the dead letters permanently", "statusworker dlq purge @2 @4")
	s.do(http.MethodPost, "/dead-letters/purge", page.fields()).ends(s).shows("done", "deleted 2")
	if got, want := s.get("/dead-letters").names(), []string{"@3", "@1"}; !slices.Equal(got, want) {
		t.Errorf("the dead letters are %v, want %v", got, want)
	}
	s.get("/dead-letters/confirm?do=purge-selected&id=@2").shows("No dead letter matches")
	s.do(http.MethodPost, "/dead-letters/purge", page.fields()).ends(s).shows("done", "0 of 2", "deleted 0",
		"No longer stored: 2 dead letters")
}

// An action needs a selection, and the moment of the page that asked for confirmation.
func TestWrongForms(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	s.deadLetters(schema.NotFound, 1)
	for path, want := range map[string]int{
		"/dead-letters/confirm?do=replay-selected":           http.StatusBadRequest,
		"/dead-letters/confirm?do=destroy-all":               http.StatusNotFound,
		"/dead-letters/confirm?do=replay-selected&id=a+b":    http.StatusBadRequest,
		"/dead-letters/confirm?do=replay-all&newer-than=now": http.StatusBadRequest,
		"/lanes/video": http.StatusNotFound,
		"/tasks/none":  http.StatusNotFound,
	} {
		s.do(http.MethodGet, path, nil).has(want)
	}
	for _, c := range []struct {
		path string
		form url.Values
		want int
	}{
		{"/dead-letters/replay", url.Values{}, http.StatusBadRequest},
		{"/dead-letters/purge", url.Values{"as-of": {"soon"}}, http.StatusBadRequest},
		{"/dead-letters/purge", url.Values{"as-of": {"9-1"}, "reason": {"none"}}, http.StatusBadRequest},
		{"/dead-letters/destroy", url.Values{"as-of": {"9-1"}}, http.StatusNotFound},
		{"/lanes/audio/pause", url.Values{"for": {"0s"}}, http.StatusBadRequest},
		{"/lanes/audio/pause", url.Values{"for": {"8d"}}, http.StatusBadRequest},
		{"/lanes/audio/pause", url.Values{}, http.StatusBadRequest},
		{"/lanes/audio/delete", url.Values{}, http.StatusNotFound},
		{"/lanes/video/pause", url.Values{"for": {"1h"}}, http.StatusNotFound},
		{"/declare", url.Values{"type": {"chat"}}, http.StatusBadRequest},
		{"/declare", url.Values{"ids": {uuid.NewString()}, "type": {"video"}}, http.StatusBadRequest},
		{"/declare", url.Values{"ids": {uuid.NewString()}, "type": {"chat"}, "data": {"[]"}}, http.StatusBadRequest},
		{"/declare", url.Values{"ids": {strings.Repeat("x ", 5001)}, "type": {"chat"}}, http.StatusBadRequest},
		{"/declare", url.Values{"ids": {strings.Repeat("x", 2<<20)}, "type": {"chat"}}, http.StatusBadRequest},
		{"/tasks/none/stop", url.Values{}, http.StatusNotFound},
		{"/none", url.Values{}, http.StatusNotFound},
	} {
		if a := s.do(http.MethodPost, c.path, c.form); a.Code != c.want {
			t.Errorf("%s with %.60v: status %d, want %d", c.path, c.form, a.Code, c.want)
		}
	}
	s.unchanged()
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	s.get("/lanes/audio").shows("open", "consumer pause INTERACTIONS_POLLS poll-audio")
	began := time.Now()
	s.do(http.MethodPost, "/lanes/audio/pause", url.Values{"for": {"1h"}}).has(http.StatusSeeOther)
	until := s.pausedUntil(schema.Audio)
	if until == nil || until.Sub(began) < time.Hour || until.Sub(began) > time.Hour+time.Minute {
		t.Fatalf("paused until %v", until)
	}
	if other := s.pausedUntil(schema.Chat); other != nil {
		t.Errorf("the consumer of the lane chat is paused until %v", other)
	}
	s.get("/").shows("consumer poll-audio is paused until")
	s.get("/lanes/audio").shows("paused", "Resume")
	s.do(http.MethodPost, "/lanes/audio/resume", url.Values{}).has(http.StatusSeeOther)
	if until := s.pausedUntil(schema.Audio); until != nil {
		t.Errorf("paused until %v after it was resumed", until)
	}
	entries := s.logged("lane changed")
	if len(entries) != 2 || entries[0].Data["action"] != "pause" || entries[0].Data["until"] == nil ||
		entries[1].Data["action"] != "resume" || entries[1].Data["until"] != nil {
		t.Errorf("logged %v", entries)
	}
	s.do(http.MethodPost, "/lanes/intake/pause", url.Values{"for": {"15m"}}).has(http.StatusSeeOther)
	c, err := s.js.Consumer(s.ctx, ns.StreamDeclared(), ns.ConsumerIntake())
	s.check(err)
	if !c.CachedInfo().Paused {
		t.Error("the intake is not paused")
	}
	s.get("/").shows("the consumer intake is paused until")
}

func TestDeclare(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	one, two := uuid.NewString(), uuid.NewString()
	form := url.Values{"ids": {strings.ToUpper(one) + "\n" + two + " nonsense " + one}, "type": {"chat"},
		"ai-results": {"no"}, "data": {`{"customer":"c1"}`}}
	s.do(http.MethodPost, "/declare", form).ends(s).shows("done", "declared 2", "already waiting 1", "invalid 1",
		"nonsense")
	stream, err := s.js.Stream(s.ctx, ns.StreamDeclared())
	s.check(err)
	m, err := stream.GetLastMsgForSubject(s.ctx, ns.DeclaredSubject(schema.Chat, one))
	s.check(err)
	if d, err := schema.Decode(m.Data); err != nil || d.Identifier != one {
		t.Errorf("declared %s: %v", m.Data, err)
	}
	for _, part := range []string{`"includeAiResults":false`, `"customer":"c1"`} {
		if !strings.Contains(string(m.Data), part) {
			t.Errorf("declared %s, want %s in it", m.Data, part)
		}
	}
	if entries := s.logged("task started"); len(entries) != 1 || entries[0].Data["action"] != "declare" ||
		!strings.Contains(entries[0].Data["identifiers"].(string), two) {
		t.Errorf("logged %v", entries)
	}
}

// A task that waits can be stopped; what it has not done yet is unchanged.
func TestStopOfATask(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	id := s.deadLetters(schema.NotFound, 1)[0]
	// An older declared message makes the replay wait.
	_, err := s.js.Publish(s.ctx, ns.DeclaredSubject(schema.Audio, id), []byte("{}"))
	s.check(err)
	page := s.get("/dead-letters/confirm?do=replay-selected&id=@1")
	at := s.do(http.MethodPost, "/dead-letters/replay", page.fields()).has(http.StatusSeeOther).Header().Get("Location")
	s.do(http.MethodPost, at+"/stop", url.Values{}).ends(s).shows("stopped")
	if n := s.messages(ns.StreamOutcomes(), ">"); n != 1 {
		t.Errorf("%d outcomes, want 1", n)
	}
}
