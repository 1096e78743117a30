package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/statusclient/simulator"
)

// The intervals are longer than five times the difference between the servers' clocks: see [clock.Apart].
var processSettings = settings{
	intervals: consumer.Intervals{Audio: 3 * time.Second, Chat: 2 * time.Second, Transcript: 2 * time.Second},
	deadline:  2 * time.Minute, grace: 6 * time.Second, timeout: 2 * time.Second, shutdown: 4 * time.Second,
}

// TestProcesses runs three nats-servers with clocks 300 ms apart, and three workers, as processes.
func TestProcesses(t *testing.T) {
	play(t, "processes", processSettings, startProcesses)
}

const (
	servers = 3
	workers = 3
)

// clocks are how far the clocks of the servers are ahead.
var clocks = [servers]time.Duration{-150 * time.Millisecond, 0, 150 * time.Millisecond}

// processes is the tier of processes. Each worker reaches each server through a link of its own, and each server each
// other one.
type processes struct {
	run     *run
	vendor  *simulator.Simulator
	nodes   []*node
	workers []*worker
	js      jetstream.JetStream
	builds  []string // of the worker
	server  string

	mu   sync.Mutex
	busy map[any]bool
}

// node is a server.
type node struct {
	*program
	url, folder, config string
	ahead               time.Duration
	// routes are the links to the other servers, by their index.
	routes map[int]*link
	// limited is the configuration with a storage limit.
	limited string
	disk    string // the mounted file system, or empty
	down    atomic.Bool
}

// worker is a slot in which a worker runs.
type worker struct {
	*program
	links []*link // by server
	env   []string
	admin string
	build int
	idle  usage // before the first interaction
}

// usage is what a worker uses, from its metrics.
type usage struct{ goroutines, files, memory float64 }

func startProcesses(r *run) tier {
	t := r.t
	vendor, err := simulator.Start(simulator.Config{CountOnly: true})
	harness.Check(t, err)
	t.Cleanup(vendor.Close)
	p := &processes{run: r, vendor: vendor, busy: map[any]bool{}, builds: workerBuilds(t), server: natsServer(t)}
	p.configure(t)
	ctx := harness.Context(t, time.Minute)
	for _, n := range p.nodes {
		harness.Check(t, p.launch(n))
	}
	p.js = harness.JetStream(t, p.Brokers(), steady()...)
	harness.Check(t, harness.Eventually(ctx, "JetStream", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := p.js.AccountInfo(ctx)
		return err
	}))
	harness.Check(t, p.provision(ctx))
	for _, w := range p.workers {
		harness.Check(t, p.work(w))
	}
	harness.Check(t, p.Recover(ctx))
	for _, w := range p.workers {
		w.idle, err = w.usage(ctx)
		harness.Check(t, err)
	}
	return p
}

// natsServer builds the nats-server of go.mod. In runs that are longer than the default, its clock can be shifted.
func natsServer(t *testing.T) string {
	if *flagDuration > smoke {
		return shiftedServer(t)
	}
	path := filepath.Join(t.TempDir(), "nats-server")
	build(t, nil, "-ldflags=-s -w", "-o", path, "github.com/nats-io/nats-server/v2")
	return path
}

// workerBuilds builds the worker twice, with different versions.
func workerBuilds(t *testing.T) []string {
	folder := t.TempDir()
	builds := []string{harness.WorkerBinary(t), filepath.Join(folder, "statusworker-other")}
	build(t, nil, "-ldflags=-s -w -X main.version=0.0.0-other", "-o", builds[1], "statusworker/cmd/statusworker")
	return builds
}

// build runs `go build`.
func build(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build"}, args...)...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// configure writes the configuration of the servers, and creates the links and the workers' environments.
func (p *processes) configure(t *testing.T) {
	ports := harness.FreePorts(t, 2*servers+workers)
	folder := t.TempDir()
	for i := range servers {
		n := &node{
			program: newProgram(t, folder, fmt.Sprintf("n%d", i+1)), ahead: clocks[i], routes: map[int]*link{},
			url:    fmt.Sprintf("nats://127.0.0.1:%d", ports[i]),
			folder: filepath.Join(folder, fmt.Sprintf("n%d", i+1)),
			config: filepath.Join(folder, fmt.Sprintf("n%d.conf", i+1)),
		}
		harness.Check(t, os.Mkdir(n.folder, 0o700))
		n.disk = mounted(t, n.folder)
		var routes []string
		for j := range servers {
			if i != j {
				n.routes[j] = startLink(t, fmt.Sprintf("127.0.0.1:%d", ports[servers+j]))
				routes = append(routes, fmt.Sprintf("%q", "nats://"+n.routes[j].address()))
			}
		}
		// Clients and routes know only the addresses of links: what a server advertises is refused.
		text := fmt.Sprintf(`
server_name: n%d
listen: 127.0.0.1:%d
jetstream { store_dir: %q, sync_interval: always, max_file_store: 8GB, max_memory_store: 256MB }
cluster { name: test, listen: 127.0.0.1:%d, no_advertise: true, advertise: "127.0.0.1:1", routes: [%s] }
system_account: SYS
no_auth_user: app
accounts {
	SYS { users: [{user: sys, password: sys}] }
	APP { jetstream: LIMIT, users: [{user: app, password: app}] }
}
`, i+1, ports[i], n.folder, ports[servers+i], strings.Join(routes, ", "))
		n.limited = strings.Replace(text, "LIMIT", "{max_file: 1, max_memory: 1}", 1)
		harness.Check(t, os.WriteFile(n.config, []byte(strings.Replace(text, "LIMIT", "enabled", 1)), 0o600))
		p.nodes = append(p.nodes, n)
	}
	for i := range workers {
		w := &worker{
			program: newProgram(t, folder, fmt.Sprintf("worker-%d", i+1)),
			admin:   fmt.Sprintf("127.0.0.1:%d", ports[2*servers+i]),
		}
		var urls []string
		for _, n := range p.nodes {
			l := startLink(t, strings.TrimPrefix(n.url, "nats://"))
			w.links = append(w.links, l)
			urls = append(urls, "nats://"+l.address())
		}
		w.env = append(p.run.settings.env(), "NATS_URL="+strings.Join(urls, ","), "ELEVATEAI_BASE_URL="+p.vendor.URL(),
			"ELEVATEAI_API_TOKEN="+simulator.DefaultToken, "STATUSWORKER_ADMIN_ADDR="+w.admin,
			"STATUSWORKER_LOG_LEVEL=debug")
		p.workers = append(p.workers, w)
	}
}

// launch starts a server and does not wait until it is ready.
func (p *processes) launch(n *node) error {
	err := n.start(p.server, []string{fmt.Sprintf("%s=%d", clockVariable, n.ahead.Nanoseconds())}, "-c", n.config)
	n.down.Store(err != nil)
	return err
}

// work starts a worker and does not wait until it works.
func (p *processes) work(w *worker) error { return w.start(p.builds[w.build], w.env, "run") }

func (p *processes) logged(id string) (lines []string) {
	for _, w := range p.workers {
		lines = append(lines, w.lines(id)...)
	}
	return lines
}

// provision runs `statusworker provision`.
func (p *processes) provision(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, p.builds[0], "provision", "--redelivery", string(p.run.settings.mode),
		"--replicas", fmt.Sprint(servers))
	cmd.Env = append(p.run.settings.env(), "NATS_URL="+p.Brokers(), "ELEVATEAI_BASE_URL="+p.vendor.URL(),
		"HOME="+os.Getenv("HOME"))
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("statusworker provision: %w\n%s", err, output)
	}
	return nil
}

func (p *processes) Brokers() string {
	var urls []string
	for _, n := range p.nodes {
		urls = append(urls, n.url)
	}
	return strings.Join(urls, ",")
}

func (p *processes) Vendor() *simulator.Simulator { return p.vendor }

func (p *processes) Versions() []string {
	return []string{"nats-server " + server.VERSION, "nats.go " + nats.Version}
}

// Recover waits until all replicas of all streams and consumers are current, and the workers are ready. NATS sometimes
// does not restore a replica of a consumer after its server had no space or was killed: then a leader and a second
// replica are enough. A worker or server that has ended is started again, as a platform does.
func (p *processes) Recover(ctx context.Context) error {
	const patience = 45 * time.Second
	began := time.Now()
	for _, n := range p.nodes {
		if !n.running() {
			p.run.t.Logf("%s: server %s has ended by itself: %s\n%s", p.run.since(began), n.name, n.end(), n.tail(10))
			if err := p.launch(n); err != nil {
				return err
			}
		}
	}
	err := harness.Eventually(ctx, "all replicas", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		tolerated := 0
		if time.Since(began) > patience {
			tolerated = 1
		}
		return p.current(ctx, tolerated)
	})
	if err != nil {
		return err
	}
	if time.Since(began) > patience {
		p.run.t.Logf("%s: a replica is missing", p.run.since(time.Now()))
	}
	for _, w := range p.workers {
		err := harness.Eventually(ctx, w.name, func(ctx context.Context) error {
			if !w.running() {
				p.run.violated("worker", "", w.name+" has ended by itself", nil)
				return p.work(w)
			}
			return w.ready(ctx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// current returns an error unless all replicas of all streams and consumers are current, except a number of each.
func (p *processes) current(ctx context.Context, tolerated int) error {
	streams := p.js.StreamNames(ctx)
	var names []string
	for name := range streams.Name() {
		names = append(names, name)
	}
	if err := streams.Err(); err != nil {
		return err
	}
	if len(names) == 0 {
		return errors.New("no streams")
	}
	for _, name := range names {
		stream, err := p.js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		if err := healthy(name, stream.CachedInfo().Cluster, tolerated); err != nil {
			return err
		}
		if name == ns.StreamOutcomes() {
			continue // its consumers are those of single reads, and may be listed when they are gone
		}
		consumers := stream.ConsumerNames(ctx)
		for c := range consumers.Name() {
			info, err := stream.Consumer(ctx, c)
			if err != nil {
				return fmt.Errorf("consumer %s/%s: %w", name, c, err)
			}
			if err := healthy(name+"/"+c, info.CachedInfo().Cluster, tolerated); err != nil {
				return err
			}
		}
		if err := consumers.Err(); err != nil {
			return err
		}
	}
	return nil
}

func healthy(what string, c *jetstream.ClusterInfo, tolerated int) error {
	if c == nil || c.Leader == "" {
		return fmt.Errorf("%s has no leader", what)
	}
	for _, r := range c.Replicas {
		if r.Offline || !r.Current {
			if tolerated--; tolerated < 0 {
				return fmt.Errorf("replica %s of %s: offline %t, current %t", r.Name, what, r.Offline, r.Current)
			}
		}
	}
	return nil
}

// Stop checks I9, and ends all workers with SIGTERM.
func (p *processes) Stop(ctx context.Context) error {
	if *flagDuration > smoke && p.run.empty {
		for _, w := range p.workers {
			p.atRest(ctx, w)
		}
	}
	errs := make([]error, len(p.workers))
	var wg sync.WaitGroup
	for i, w := range p.workers {
		wg.Go(func() { errs[i] = p.terminate(ctx, w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// atRest checks that a worker uses about as much as before the first interaction, when idle connections were closed.
func (p *processes) atRest(ctx context.Context, w *worker) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	err := harness.Eventually(ctx, w.name+" to be at rest", func(ctx context.Context) error {
		now, err := w.usage(ctx)
		if err != nil {
			return err
		}
		return now.atRest(w.idle)
	})
	if err != nil {
		p.run.violated("I9", "", err.Error(), nil)
	}
}

func (w *worker) usage(ctx context.Context) (usage, error) {
	metrics, err := w.get(ctx, "/metrics")
	if err != nil {
		return usage{}, err
	}
	return usageIn(metrics)
}

// atRest returns an error unless a worker uses about as much as before the first interaction.
func (u usage) atRest(idle usage) error {
	if u.goroutines > idle.goroutines+10 || u.files > idle.files+5 || u.memory > idle.memory+64<<20 {
		return fmt.Errorf("it uses %+v, and used %+v before the first interaction", u, idle)
	}
	return nil
}

// usageIn returns the usage in the metrics of a worker.
func usageIn(metrics string) (u usage, err error) {
	for name, value := range map[string]*float64{
		"go_goroutines": &u.goroutines, "process_open_fds": &u.files, "process_resident_memory_bytes": &u.memory,
	} {
		_, rest, _ := strings.Cut(metrics, "\n"+name+" ")
		text, _, _ := strings.Cut(rest, "\n")
		if *value, err = strconv.ParseFloat(text, 64); err != nil {
			return u, fmt.Errorf("metric %s: %w", name, err)
		}
	}
	return u, nil
}

// graceful is how long a worker may take to end after SIGTERM, in addition to its timeout: docs/reliability.md, I10.
const graceful = 5 * time.Second

// loading is how long a process may take to start on a busy machine until it handles signals.
const loading = 3 * time.Second

// terminate ends a worker with SIGTERM, and checks I10.
func (p *processes) terminate(ctx context.Context, w *worker) error {
	began, age := time.Now(), w.age()
	if err := w.signal(syscall.SIGTERM); err != nil {
		return err
	}
	limit := p.run.settings.shutdown + graceful
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	code, err := w.await(bounded)
	if err != nil {
		p.run.violated("I10", "", fmt.Sprintf("%s has not ended %s after SIGTERM", w.name, time.Since(began)), nil)
		w.kill()
		return nil
	}
	if code != 0 && (code != -1 || age > loading) { // -1: the signal ended it before it handled signals
		p.run.violated("I10", "", fmt.Sprintf("%s exited with %d after SIGTERM, want 0", w.name, code), nil)
	}
	return nil
}

// take reserves a target for a fault, at random. It reports false if all are reserved.
func take[T comparable](p *processes, r *rand.Rand, from []T) (T, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range r.Perm(len(from)) {
		if !p.busy[from[i]] {
			p.busy[from[i]] = true
			return from[i], true
		}
	}
	var none T
	return none, false
}

func (p *processes) free(target any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, target)
}

// leads describes what a server leads, and whether others are down.
func (p *processes) leads(ctx context.Context, n *node) string {
	var down int
	for _, other := range p.nodes {
		if other != n && other.down.Load() {
			down++
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	state := "leads no stream"
	for _, name := range []string{ns.StreamOutcomes(), ns.StreamDeclared(), ns.StreamPolls()} {
		stream, err := p.js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
		case err != nil:
			state = "while electing"
		case stream.CachedInfo().Cluster != nil && stream.CachedInfo().Cluster.Leader == n.name:
			state = "leads " + name
		}
	}
	if down > 0 {
		state = fmt.Sprintf("%d others down", down)
	}
	return state
}

// load describes what a worker does, from its metrics.
func (w *worker) load(ctx context.Context) string {
	if !w.running() {
		return "not running"
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if w.ready(ctx) != nil {
		return "not ready"
	}
	metrics, err := w.get(ctx, "/metrics")
	if err != nil {
		return "not ready"
	}
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "statusworker_polls_in_flight{") && !strings.HasSuffix(line, " 0\n") {
			return "polls in flight"
		}
	}
	return "no poll in flight"
}

// ready returns an error unless /readyz reports that the worker works.
func (w *worker) ready(ctx context.Context) error {
	_, err := w.get(ctx, "/readyz")
	return err
}

func (w *worker) get(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// request sends a request to the API of JetStream.
func (p *processes) request(ctx context.Context, subject string, body any, response any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	m, err := p.js.Conn().RequestWithContext(ctx, subject, data)
	if err != nil {
		return fmt.Errorf("requesting %s: %w", subject, err)
	}
	var rejected struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &rejected); err != nil {
		return fmt.Errorf("decoding the response to %s: %w", subject, err)
	}
	if rejected.Error != nil {
		return fmt.Errorf("requesting %s: %w", subject, rejected.Error)
	}
	if response == nil {
		return nil
	}
	return json.Unmarshal(m.Data, response)
}
