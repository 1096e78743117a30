package console

import "net/http"

func (c *Console) interactionPage(*http.Request) (loaded, error) {
	return loaded{}, &problem{http.StatusNotFound, "not yet", nil}
}
