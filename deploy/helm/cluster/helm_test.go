package cluster

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	release "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

const chartFolder = "../statusworker"

// helm is Helm's library for the releases of a namespace, set as the command `helm` sets it.
type helm struct {
	config *action.Configuration
	chart  *chart.Chart
	// logs has the logs of hooks that Helm fetched.
	logs bytes.Buffer
}

func newHelm(t *testing.T, p *plane, namespace string) *helm {
	t.Helper()
	file := p.kubeconfig(t, "helm-"+namespace, p.admin.BearerToken)
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &file, &namespace
	flags.WrapConfigFn = func(c *rest.Config) *rest.Config {
		c.WarningHandler = p.warnings
		return c
	}
	h := &helm{config: action.NewConfiguration()}
	h.config.SetLogger(slog.NewTextHandler(io.Discard, nil))
	if err := h.config.Init(flags, namespace, "secret"); err != nil {
		t.Fatal(err)
	}
	h.config.SetHookOutputFunc(func(_, _, _ string) io.Writer { return &h.logs })
	var err error
	if h.chart, err = loader.LoadDir(chartFolder); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *helm) install(t *testing.T, namespace, name string, values map[string]any) (*release.Release, error) {
	t.Helper()
	install := action.NewInstall(h.config)
	install.ReleaseName, install.Namespace = name, namespace
	install.WaitStrategy, install.Timeout = kube.StatusWatcherStrategy, patience
	done, err := install.RunWithContext(t.Context(), h.chart, values)
	return as(done), err
}

func (h *helm) upgrade(t *testing.T, namespace, name string, values map[string]any,
	set ...func(*action.Upgrade),
) (*release.Release, error) {
	t.Helper()
	upgrade := action.NewUpgrade(h.config)
	upgrade.Namespace, upgrade.ServerSideApply = namespace, "auto"
	upgrade.WaitStrategy, upgrade.Timeout = kube.StatusWatcherStrategy, patience
	for _, s := range set {
		s(upgrade)
	}
	done, err := upgrade.RunWithContext(t.Context(), name, h.chart, values)
	return as(done), err
}

func (h *helm) rollback(name string, revision int, set ...func(*action.Rollback)) error {
	rollback := action.NewRollback(h.config)
	rollback.Version, rollback.ServerSideApply = revision, "auto"
	rollback.WaitStrategy, rollback.Timeout = kube.StatusWatcherStrategy, patience
	for _, s := range set {
		s(rollback)
	}
	return rollback.Run(name)
}

func (h *helm) uninstall(t *testing.T, name string) {
	t.Helper()
	uninstall := action.NewUninstall(h.config)
	uninstall.WaitStrategy, uninstall.Timeout = kube.StatusWatcherStrategy, patience
	if _, err := uninstall.Run(name); err != nil {
		t.Fatal(err)
	}
}

func as(done any) *release.Release {
	found, _ := done.(*release.Release)
	return found
}

// readValues reads values of the chart's other tests.
func readValues(t *testing.T, name string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../test/testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}
