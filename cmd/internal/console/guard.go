package console

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"statusworker/schema"
	"statusworker/statusclient"
)

const (
	// maxForm is the maximum size of a form in bytes: some 20,000 identifiers.
	maxForm = 1 << 20
	// localUser is the user of a console without users.
	localUser = "local"
)

// policy allows the console's own style sheet, script and images, connections and forms to the console itself, and
// nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guard checks each request before it reaches a page: the name by which the console was reached, the user, and the
// origin of a request that changes something.
func (c *Console) guard(pages http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.record(r).WithField("origin", schema.Printable(r.Header.Get("Origin"))).Warn("cross-origin request refused")
		answer(w, http.StatusForbidden, "cross-origin request refused")
	}))
	// It redirects the base path itself, and refuses every path beside it.
	under := http.NewServeMux()
	under.Handle(c.link("/"), http.StripPrefix(strings.TrimSuffix(c.BasePath, "/"), origins.Handler(pages)))
	mux := http.NewServeMux()
	// The probes of Kubernetes use the pod's address, and have no user.
	mux.HandleFunc("GET "+c.link("/livez"), func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET "+c.link("/readyz"), func(w http.ResponseWriter, _ *http.Request) {
		if !c.nc.IsConnected() {
			answer(w, http.StatusServiceUnavailable, errDisconnected.Error())
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !c.named(r.Host) {
			c.record(r).WithField("host", schema.Printable(r.Host)).Warn("request for another host refused")
			answer(w, http.StatusMisdirectedRequest, "the console is not served under this host name; "+
				"--host sets its names")
			return
		}
		user := localUser
		if c.Users != nil {
			var problem error
			if user, problem = c.Users.Of(r); problem != nil {
				c.record(r).WithError(problem).Warn("request without a valid user refused")
				c.Users.Demand(w)
				return
			}
		}
		r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		under.ServeHTTP(w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // no-referrer would remove the origin of forms
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// answer answers with one line of text.
func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

// named reports whether the console may be reached by the name in a Host header. Another name may be that of a hostile
// page whose address was changed to the console's.
func (c *Console) named(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	return statusclient.IsLoopback(name) || slices.ContainsFunc(c.Hosts, func(allowed string) bool {
		return strings.EqualFold(name, allowed)
	})
}

type userKey struct{}

// userOf returns the user of a request that passed the guard.
func userOf(r *http.Request) string {
	user, _ := r.Context().Value(userKey{}).(string)
	return user
}

// record returns a log entry about a request.
func (c *Console) record(r *http.Request) *logrus.Entry {
	return c.Log.WithFields(logrus.Fields{
		"user": userOf(r), "remote": r.RemoteAddr, "method": r.Method, "path": schema.Printable(r.URL.Path),
	})
}
