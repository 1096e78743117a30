// Package console serves a web console for operators: an overview, one interaction, dead letters, workers, the checks
// of the broker, and, if writes are allowed, actions on them.
//
// A page is rendered on the server from what the broker answers at that time; the console stores nothing but the tasks
// that it runs. Pages work without JavaScript. With it, a part of some pages is replaced as it changes: the page's own
// address answers `Accept: text/event-stream` with that part, see [Console.live].
//
// Everything that is shown may come from a producer, the vendor or a foreign client. It is inserted by html/template as
// text, and the Content-Security-Policy allows no script and no style but the console's own two files.
package console

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/overview"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// Config configures a Console.
type Config struct {
	Namespace schema.Namespace
	// JS is a connection as an operator. A missing permission must be an error at once, see [permission.Wrap].
	JS jetstream.JetStream
	// Doctor runs the checks of the broker.
	Doctor func(context.Context) []doctor.Finding
	// Server is the address of the broker, without secrets.
	Server, Version string
	// AllowWrites enables the actions. Without it, every request that changes something is refused.
	AllowWrites bool
	// BasePath is what a proxy puts before every path, such as /statusworker; empty is nothing.
	BasePath string
	// Hosts are the names, without ports, by which browsers reach the console. Loopback names are always allowed.
	Hosts []string
	// Users identifies the user of a request. It is nil if everybody who reaches the console may use it.
	Users Users
	Log   logrus.FieldLogger
}

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	Config
	nc      *nats.Conn
	feed    *feed
	tasks   *tasks
	pages   map[string]*page
	handler http.Handler
	// checks has the last findings of the doctor.
	checks checks
	// stopping is closed when the console stops; it ends live pages.
	stopping chan struct{}
	stop     func()
}

// New returns a console. [Serve] runs it; otherwise call [Console.Run] beside a server for its [Console.Handler].
func New(cfg Config) *Console {
	c := &Console{
		Config: cfg, nc: cfg.JS.Conn(), feed: newFeed(overview.New(cfg.JS, cfg.Namespace, time.Now), cfg.JS.Conn()),
		tasks: newTasks(), stopping: make(chan struct{}),
	}
	c.stop = sync.OnceFunc(func() { close(c.stopping) })
	c.pages = c.parse()
	c.handler = c.guard(c.routes())
	return c
}

// Handler returns the handler of all requests.
func (c *Console) Handler() http.Handler { return c.handler }

// Run reads the state of the broker until ctx ends. Then it ends the tasks, and waits for them.
func (c *Console) Run(ctx context.Context) {
	c.feed.run(ctx)
	c.stop()
	c.tasks.end()
}

// routes are the pages and actions. Every action is a POST.
func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()
	get := func(pattern string, h handler) { mux.HandleFunc("GET "+pattern, c.handle(h)) }
	post := func(pattern string, h handler) { mux.HandleFunc("POST "+pattern, c.handle(c.writing(h))) }
	get("/{$}", c.live("overview", c.overviewPage))
	get("/workers", c.live("workers", c.workersPage))
	get("/interactions", c.findInteraction)
	get("/interactions/{id}", c.live("interaction", c.interactionPage))
	get("/dead-letters", c.deadLettersPage)
	get("/dead-letters/{sequence}", c.deadLetterPage)
	get("/doctor", c.doctorPage)
	get("/tasks", c.tasksPage)
	get("/tasks/{id}", c.live("task", c.taskPage))
	get("/dead-letters/confirm", c.writing(c.confirmPage))
	get("/lanes/{lane}", c.writing(c.lanePage))
	get("/declare", c.writing(c.declarePage))
	post("/dead-letters/{action}", c.deleteDeadLetters)
	post("/lanes/{lane}/{action}", c.changeLane)
	post("/declare", c.declare)
	post("/tasks/{id}/stop", c.stopTask)
	mux.HandleFunc("GET /static/{name}", c.static)
	mux.HandleFunc("/", c.handle(func(http.ResponseWriter, *http.Request) error {
		return &problem{http.StatusNotFound, "There is no such page.", nil}
	}))
	return mux
}

// handler handles a request. An error becomes a page.
type handler func(http.ResponseWriter, *http.Request) error

// problem is an error with its status code and a text for the user.
type problem struct {
	status int
	text   string
	err    error // optional
}

func (p *problem) Error() string { return p.text }

func (p *problem) Unwrap() error { return p.err }

// writing refuses a request that changes something, unless writes are allowed.
func (c *Console) writing(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !c.AllowWrites {
			c.record(r).Warn("action refused: the console is read-only")
			return &problem{http.StatusForbidden,
				"This console is read-only. Start it with --allow-writes to allow actions.", nil}
		}
		if err := r.ParseForm(); err != nil {
			return &problem{http.StatusBadRequest, "The form cannot be read: " + err.Error() + ".", err}
		}
		return h(w, r)
	}
}

// errDisconnected is the error of every request without a connection to the broker.
var errDisconnected = errors.New("no connection to NATS; reconnecting")

// refused is the problem of an invalid filter.
func refused(filter *dlq.FilterError) error {
	return &problem{http.StatusBadRequest, filter.Error() + ".", filter}
}

// asked turns the error of a request to the broker into a problem.
func (c *Console) asked(err error) error {
	var filter *dlq.FilterError
	var known *problem
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.As(err, &filter):
		return refused(filter)
	case errors.Is(err, errDisconnected):
		return &problem{http.StatusServiceUnavailable, "There is no connection to NATS. The console reconnects.", err}
	case errors.Is(err, nats.ErrPermissionViolation):
		return &problem{http.StatusBadGateway, "The NATS user of the console lacks a permission: " + err.Error() +
			". docs/permissions.md lists the permissions of the user operator.", err}
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{http.StatusGatewayTimeout, "NATS did not answer in time: " + err.Error() + ".", err}
	}
	return &problem{http.StatusBadGateway, advice.Streams(err, c.Namespace).Error() + ".", err}
}

// askTimeout limits the requests to the broker for one page.
const askTimeout = 20 * time.Second

// ask calls do, which makes requests to the broker for one page.
func (c *Console) ask(ctx context.Context, do func(context.Context) error) error {
	if !c.nc.IsConnected() {
		return c.asked(errDisconnected)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.asked(do(ctx))
}

// queue returns the dead-letter queue for reading.
func (c *Console) queue(ctx context.Context) (*dlq.Queue, error) {
	return dlq.New(ctx, adapter.New(c.JS), c.Namespace)
}

// link returns the address of a path of the console.
func (c *Console) link(path string) string { return strings.TrimSuffix(c.BasePath, "/") + path }

// with returns the address of a path with a query.
func (c *Console) with(path, query string) string {
	if query == "" {
		return c.link(path)
	}
	return c.link(path) + "?" + query
}

// redirect answers a POST with the page that shows its result.
func (c *Console) redirect(w http.ResponseWriter, r *http.Request, path string) {
	http.Redirect(w, r, c.link(path), http.StatusSeeOther)
}
