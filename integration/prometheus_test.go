package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// Prometheus scrapes workers under load, with an outage of the vendor. Every query of the dashboard returns data, the
// metrics change, and the alerts fire.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv(harness.EnvRequireEngine) == "1" {
			t.Fatalf(
				"%s=1 requires Prometheus too: install it (Debian package prometheus): %v",
				harness.EnvRequireEngine,
				err,
			)
		}
		t.Skipf("SKIPPED: dashboard and alerts were NOT tested: install prometheus to run this test: %v", err)
	}
	server := harness.StartServer(t)
	s := newScenario(t, setting{name: "prometheus", url: server.URL, mode: consumer.Schedule,
		env: []string{"STATUSWORKER_DEADLINE=2m", "STATUSWORKER_MAX_POLLS_PER_SECOND=300"}})
	var targets []string
	for range 2 {
		w := s.start()
		line, err := w.AwaitLine(s.ctx, adminAddress.String())
		harness.Check(t, err)
		targets = append(targets, adminAddress.FindStringSubmatch(line)[1])
	}
	p := startPrometheus(t, program, targets)
	_, err = s.js.CreateConsumer(s.ctx, ns.StreamOutcomes(),
		jetstream.ConsumerConfig{Durable: "transcripts", AckPolicy: jetstream.AckExplicitPolicy})
	harness.Check(t, err) // it reads nothing, so that outcomes are unread

	never := simulator.Never()
	var stuck []interaction
	for range 8 { // enough for each worker to distinguish a failing vendor from failing interactions
		i := interaction{what: "stuck", identifier: uuid.NewString(), typ: schema.Chat, script: &never}
		s.vendor.Declare(i.identifier, never)
		s.types[i.identifier] = i.typ
		harness.Check(t, s.publish(i))
		stuck = append(stuck, i)
	}
	s.declareAll(ageless(mixed(300, 4*time.Second))) // the deadline is two minutes
	harness.Check(t, s.oracle.Await(s.ctx, s.want))
	// A rate needs two scrapes with a change between them.
	p.eventually(s.ctx, `sum(increase(statusworker_processed_events_total[1m])) > 0`)
	p.eventually(s.ctx, `count(statusworker_lane_due) > 0`)

	dashboard := readDashboard(t)
	for _, q := range dashboard {
		p.eventually(s.ctx, q)
	}
	// After the first scrapes, so that the metrics change.
	s.declareAll(append(processed(time.Second), failing(schema.Chat, time.Second)[:3]...))
	s.start() // it gets a share of the rate limit of the others
	for _, moved := range []string{
		"polls_total", "processed_events_total", "dead_letters_total", "poll_duration_seconds_count",
		"poll_lateness_seconds_count", "declared_to_outcome_seconds_count", "taken_in_total", "oldest_polled_seconds",
		"progress_timestamp_seconds", "rate_limit_share",
	} {
		p.eventually(s.ctx, fmt.Sprintf("changes(statusworker_%s[3m]) > 0", moved))
	}
	p.alerts(s.ctx, "StatusworkerDeadLetters")

	s.vendor.SetFaults(simulator.Refusal(http.StatusServiceUnavailable))
	for _, q := range []string{
		`statusworker_worker_state{state="working"} == 0`, `statusworker_pause_cause{cause="unavailable"} == 1`,
		`statusworker_pauses_total{cause="unavailable"} > 0`, `statusworker_polls_total{result="unavailable"} > 0`,
	} {
		p.eventually(s.ctx, q)
	}
	fired := p.alerts(s.ctx, "StatusworkerPaused")
	s.vendor.SetFaults()
	// At least one of them: a worker without a due interaction continues to probe.
	p.eventually(s.ctx, `max(statusworker_worker_state{state="working"}) == 1`)
	p.quiet(s.ctx, "StatusworkerPaused")
	note(t, "scenario=prometheus queries=%d alert=%s", len(dashboard), fired)

	// Let the remaining interactions end.
	for _, i := range stuck {
		s.vendor.Declare(i.identifier, simulator.Processed(0))
		s.want.Add(i.identifier, "processed.cxai")
	}
	s.finish()
}

// dashboardVariables sets the variables of the dashboard.
var dashboardVariables = strings.NewReplacer("$__rate_interval", "1m", "$namespace", ".*", "$nats_namespace", ".*",
	"$job", ".*")

// readDashboard returns every query of the dashboard, as Grafana sends it for all namespaces and jobs and a short step.
func readDashboard(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/statusworker.json")
	harness.Check(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	harness.Check(t, json.Unmarshal(text, &dashboard))
	var queries []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries = append(
				queries,
				dashboardVariables.Replace(target.Expr),
			)
		}
	}
	if len(queries) == 0 {
		t.Fatal("the dashboard has no queries")
	}
	return queries
}

// prometheus is a running Prometheus.
type prometheus struct {
	t   *testing.T
	url string
}

// startPrometheus starts a Prometheus that scrapes targets every second, with the shipped rules and shorter waits.
func startPrometheus(t *testing.T, program string, targets []string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := os.ReadFile("../deploy/prometheus/rules.yaml")
	harness.Check(t, err)
	rules = regexp.MustCompile(`for: \d+m`).ReplaceAll(rules, []byte("for: 2s"))
	harness.Check(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), rules, 0o600))
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: statusworker
    static_configs: [{targets: ["%s"]}]
`, strings.Join(targets, `", "`))
	harness.Check(t, os.WriteFile(filepath.Join(dir, "prometheus.yaml"), []byte(config), 0o600))
	address := fmt.Sprintf("127.0.0.1:%d", harness.FreePorts(t, 1)[0])
	harness.StartProcess(t, "prometheus", program, nil, "--config.file="+filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	return &prometheus{t: t, url: "http://" + address}
}

// get sends a request to the API, and decodes the member data of the response.
func (p *prometheus) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// eventually waits until a query returns data.
func (p *prometheus) eventually(ctx context.Context, query string) {
	p.t.Helper()
	bounded, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	harness.Check(p.t, harness.Eventually(bounded, "data for "+query, func(ctx context.Context) error {
		var data struct {
			Result []json.RawMessage `json:"result"`
		}
		if err := p.get(ctx, "/api/v1/query?query="+url.QueryEscape(query), &data); err != nil {
			return err
		}
		if len(data.Result) == 0 {
			return fmt.Errorf("no data for %s", query)
		}
		return nil
	}))
}

// firing returns the firing alert of that name, or an empty string.
func (p *prometheus) firing(ctx context.Context, name string) (string, error) {
	var data struct {
		Alerts []struct {
			Labels map[string]string `json:"labels"`
			State  string            `json:"state"`
		} `json:"alerts"`
	}
	if err := p.get(ctx, "/api/v1/alerts", &data); err != nil {
		return "", err
	}
	for _, a := range data.Alerts {
		if a.Labels["alertname"] == name && a.State == "firing" {
			return fmt.Sprintf("%s/%s", name, a.State), nil
		}
	}
	return "", nil
}

// alerts waits until an alert fires.
func (p *prometheus) alerts(ctx context.Context, name string) (fired string) {
	p.t.Helper()
	bounded, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	harness.Check(p.t, harness.Eventually(bounded, "the alert "+name, func(ctx context.Context) (err error) {
		if fired, err = p.firing(ctx, name); err == nil && fired == "" {
			err = fmt.Errorf("%s does not fire", name)
		}
		return err
	}))
	return fired
}

// quiet waits until an alert no longer fires.
func (p *prometheus) quiet(ctx context.Context, name string) {
	p.t.Helper()
	bounded, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	harness.Check(p.t, harness.Eventually(bounded, "the end of the alert "+name, func(ctx context.Context) error {
		fired, err := p.firing(ctx, name)
		if err == nil && fired != "" {
			err = fmt.Errorf("%s still fires", name)
		}
		return err
	}))
}
