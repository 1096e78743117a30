package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"statusworker/schema"
)

// The page of an interaction shows its state. An identifier is accepted in upper case.
func TestInteraction(t *testing.T) {
	t.Parallel()
	s := newStage(t, writable)
	failed, waiting, unknown := s.deadLetters(schema.NotFound, 1)[0], uuid.NewString(), uuid.NewString()
	_, err := s.js.Publish(s.ctx, ns.DeclaredSubject(schema.Chat, waiting),
		[]byte(`{"interactionIdentifier":"`+waiting+`","type":"chat"}`))
	s.check(err)
	s.get("/interactions/"+failed).shows("dead_lettered", "not_found", schema.NotFound.Text(), "why "+failed, "@1",
		"this one")
	s.get("/interactions/"+strings.ToUpper(waiting)).shows("declared chat", "None is stored", "Refresh")
	s.get("/interactions/" + unknown).shows("unknown")
	found := s.do(http.MethodGet, "/interactions?id=+"+strings.ToUpper(failed)+"+", nil).has(http.StatusSeeOther)
	if at := found.Header().Get("Location"); at != "/interactions/"+failed {
		t.Errorf("redirected to %s", at)
	}
	s.do(http.MethodGet, "/interactions?id=x", nil).has(http.StatusBadRequest).shows("Not an identifier")
	s.do(http.MethodGet, "/interactions/x", nil).has(http.StatusNotFound)
	s.get("/interactions").shows("Find an interaction")
}
