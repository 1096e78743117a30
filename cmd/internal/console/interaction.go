package console

import (
	"net/http"
	"strings"

	"statusworker/schema"
)

// findData is the data of the page that finds an interaction.
type findData struct{ Identifier, Problem string }

// findInteraction redirects to the page of an interaction. Without an identifier it shows the form.
func (c *Console) findInteraction(w http.ResponseWriter, r *http.Request) error {
	identifier := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("id")))
	if identifier == "" {
		return c.show(w, r, "find", findData{})
	}
	if err := schema.CheckIdentifier(identifier); err != nil {
		f := c.frame(r, "find", findData{identifier, "Not an identifier: " + err.Error() + "."})
		return c.render(w, http.StatusBadRequest, f)
	}
	c.redirect(w, r, "/interactions/"+identifier)
	return nil
}
