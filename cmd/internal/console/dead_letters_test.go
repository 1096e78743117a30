package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"statusworker/schema"
)

// names returns the dead letters in a list.
func (a answer) names() (names []string) {
	for _, link := range a.all("a", "href") {
		if sequence, ok := strings.CutPrefix(link, "/dead-letters/"); ok {
			names = append(names, "@"+sequence)
		}
	}
	return names
}

// next returns the address of the next page, or "".
func (a answer) next() string {
	for n := range a.tree().Descendants() {
		if rel, _ := attributeOf(n, "rel"); rel == "next" {
			href, _ := attributeOf(n, "href")
			return href
		}
	}
	return ""
}

// The pages have every dead letter once, the newest first, whatever lies between them.
func TestPagesOfDeadLetters(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var want []string
	for i := range 120 {
		for range i % 7 {
			o := dead("", uuid.NewString())
			o.Destination = schema.ToCXAI
			s.store(o)
		}
		reason := schema.Reasons()[i%len(schema.Reasons())]
		want = append(want, fmt.Sprintf("@%d", s.store(dead(reason, uuid.NewString()))))
	}
	slices.Reverse(want)
	var got []string
	pages := 0
	for at := "/dead-letters"; at != ""; pages++ {
		page := s.get(at)
		got = append(got, page.names()...)
		at = page.next()
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("%d pages with\n%v, want\n%v", pages, got, want)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	chat, audio := dead(schema.NotFound, uuid.NewString()), dead(schema.Rejected, uuid.NewString())
	audio.Type, audio.Detail = schema.Audio, "ElevateAI said: <Gone>"
	audio.Origin.Subject = ns.DeclaredSubject(schema.Audio, audio.Identifier)
	s.store(chat, audio)
	for query, want := range map[string][]string{
		"":                                    {"@2", "@1"},
		"reason=not_found":                    {"@1"},
		"reason=":                             {"@2", "@1"},
		"type=audio":                          {"@2"},
		"type=audio&type=chat":                {"@2", "@1"},
		"detail=elevateai+SAID":               {"@2"},
		"detail=%3Cgone%3E":                   {"@2"},
		"newer-than=1h":                       {"@2", "@1"},
		"older-than=1h":                       nil,
		"newer-than=1h&reason=rejected":       {"@2"},
		"reason=rejected&type=chat":           nil,
		"before=2":                            {"@1"},
		"before=1":                            nil,
		"detail=" + url.QueryEscape("' OR 1"): nil,
	} {
		if got := s.get("/dead-letters?" + query).names(); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"reason=none", "type=video", "newer-than=yesterday", "older-than=-1h", "before=x",
		"newer-than=1h&older-than=2h"} {
		s.do(http.MethodGet, "/dead-letters?"+query, nil).has(http.StatusBadRequest)
	}
}

// What a producer, the vendor or a foreign client sent is text on every page.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable, announced(`{"state":"<script>alert(7)</script>","host":"<i>"}`))
	const hostile = `</td><script>alert(1)</script><img src=x onerror=alert(2)>"'` + "\u202e"
	o := dead(schema.Rejected, uuid.NewString())
	o.Detail = hostile
	o.Declaration = fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":"chat","x":"\u003cscript>alert(3)</script>"}`,
		o.Identifier)
	s.store(o)
	for subject, data := range map[string]string{
		ns.FailedSubject("<script>alert(4)</script>", "<b>x</b>"): "<script>alert(5)</script>",
		ns.WorkerSubject("<script>alert(6)</script>"):             `{`,
	} {
		_, err := s.js.Publish(s.ctx, subject, []byte(data))
		s.check(err)
	}
	scripts := len(s.get("/doctor").all("script", "src"))
	for _, path := range []string{"/", "/workers", "/dead-letters", "/dead-letters/1?payload=shown",
		"/dead-letters/2?payload=shown", "/dead-letters/confirm?do=purge-all",
		"/dead-letters?detail=" + url.QueryEscape(hostile)} {
		page := s.get(path)
		for _, element := range []string{"<script>", "<img", "<b>", "<i>"} {
			if strings.Contains(page.Body.String(), element) {
				t.Errorf("%s contains %s", path, element)
			}
		}
		if n := len(page.all("script", "src")); n != scripts {
			t.Errorf("%s has %d scripts", path, n)
		}
	}
	s.get("/dead-letters").shows(`</td><script>alert(1)</script>`)
	s.get("/dead-letters/1?payload=shown").shows(`alert(3)`)
	s.get("/dead-letters/2?payload=shown").shows(`<script>alert(5)</script>`)
}

// The page of a dead letter shows what producer and vendor sent on request only, and logs who asked.
func TestPayloadIsHidden(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	o := dead(schema.NotFound, uuid.NewString())
	o.Declaration = fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":"chat","customer":"s3cret"}`, o.Identifier)
	s.store(o, dead(schema.InvalidMessage, uuid.NewString()))
	page := s.get("/dead-letters/1").shows(schema.NotFound.Advice(), o.Detail, "Show what the producer")
	if strings.Contains(page.Body.String(), "s3cret") {
		t.Error("the declaration is on the page")
	}
	if n := len(s.logged("payload shown")); n != 0 {
		t.Errorf("%d payloads are logged as shown", n)
	}
	s.get("/dead-letters/1?payload=shown").shows(`"customer": "s3cret"`)
	if n := len(s.logged("payload shown")); n != 1 {
		t.Errorf("%d payloads are logged as shown, want 1", n)
	}
	if page = s.get("/dead-letters/2"); strings.Contains(page.Body.String(), "{oops") {
		t.Error("the payload is on the page")
	}
	s.do(http.MethodGet, "/dead-letters/3", nil).has(http.StatusNotFound)
	s.get("/dead-letters/@1").shows("Dead letter @1")
	s.do(http.MethodGet, "/dead-letters/x", nil).has(http.StatusBadRequest)
}
