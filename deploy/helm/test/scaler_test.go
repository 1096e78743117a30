package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"
)

// cluster has the objects that `lookup` finds.
type cluster struct{ dynamic.Interface }

func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	group, err := schema.ParseGroupVersion(apiVersion)
	resource, _ := meta.UnsafeGuessKindToResource(group.WithKind(kind))
	return c.Resource(resource), true, err
}

// fields is an entry of managedFields for fields of a Deployment's spec.
func fields(manager string, operation metav1.ManagedFieldsOperationType, subresource string, spec ...string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, Subresource: subresource, APIVersion: "apps/v1", FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:` + strings.Join(spec, `":{},"f:`) + `":{}}}`)}
}

// Enabling autoscaling for running workers keeps their number, and does not set a number that another manager owns.
func TestAutoscalingKeepsTheNumber(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := apps.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	chart, err := loader.LoadDir(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	const apply, update = metav1.ManagedFieldsOperationApply, metav1.ManagedFieldsOperationUpdate
	scaled := fields("kube-controller-manager", update, "scale", "replicas")
	status := metav1.ManagedFieldsEntry{Manager: "kube-controller-manager", Operation: update, Subresource: "status", APIVersion: "apps/v1", FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:replicas":{}}}`)}
	type entries = []metav1.ManagedFieldsEntry
	for _, c := range []struct {
		name    string
		values  string
		managed entries
		want    int32 // 0: not set
	}{
		{"no autoscaling", "minimal", nil, 3},
		{"no autoscaling, and scaled", "minimal", entries{fields("helm", apply, "", "template"), scaled}, 3},
		{"no managed fields", "naks", nil, 10},
		{"Helm updates", "naks", entries{fields("helm", update, "", "replicas", "template"), status}, 10},
		{"Helm updates, and it was scaled", "naks", entries{fields("helm", update, "", "template"), scaled, status}, 10},
		{"another manager applies", "naks", entries{fields("kubectl", apply, "", "paused"), fields("helm", update, "", "replicas")}, 10},
		{"Helm applies, and set the number", "naks", entries{fields("helm", apply, "", "replicas", "template"), status}, 10},
		{"a controller that embeds Helm applies, and set the number", "naks", entries{fields("helm-controller", apply, "", "replicas"), fields("helm", update, "", "template")}, 10},
		{"Helm applies, and it was scaled", "naks", entries{fields("helm", apply, "", "template"), status, scaled}, 0},
		{"Helm applies, set the number, and it was scaled to the same", "naks", entries{fields("helm", apply, "", "replicas", "template"), scaled}, 0},
		{"Helm applies, and set no number", "naks", entries{fields("helm", apply, "", "template"), status}, 0},
		{"Helm applies, and the number was edited", "naks", entries{fields("helm", apply, "", "template"), fields("kubectl-edit", update, "", "replicas")}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			running := one[*apps.Deployment](t, mustRender(t, "minimal"))
			*running.Spec.Replicas = 10
			running.ManagedFields = c.managed
			all, err := util.ToRenderValues(chart, readValues(t, c.values), common.ReleaseOptions{Name: release, Namespace: namespace, IsUpgrade: true, Revision: 2}, nil)
			if err != nil {
				t.Fatal(err)
			}
			files, err := engine.RenderWithClientProvider(chart, all, cluster{fake.NewSimpleDynamicClient(scheme, running)})
			if err != nil {
				t.Fatal(err)
			}
			have := int32(0)
			if n := one[*apps.Deployment](t, decode(t, c.name, files["statusworker/templates/deployment.yaml"])).Spec.Replicas; n != nil {
				have = *n
			}
			if have != c.want {
				t.Errorf("%d replicas after an upgrade of 10 workers, want %d", have, c.want)
			}
		})
	}
}

const (
	ofA     = `{namespace="pipeline",job="prod-statusworker",instance="a",`
	buckets = `statusworker_poll_lateness_seconds_bucket` + ofA + `lane="audio",le=`
)

// The results of the scaler's queries in Prometheus.
func TestScalerQueries(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("STATUSWORKER_REQUIRE_ENGINE") == "1" {
			t.Fatalf("STATUSWORKER_REQUIRE_ENGINE=1 requires promtool as well: install it (Debian: prometheus): %v", err)
		}
		t.Skipf("SKIPPED: the scaler's queries were NOT tested: install promtool to run this test: %v", err)
	}
	query := map[string]string{}
	for _, trigger := range one[*keda.ScaledObject](t, mustRender(t, "naks")).Spec.Triggers {
		query[trigger.Name] = trigger.Metadata["query"]
	}
	type series map[string]any
	info := series{"series": `statusworker_build_info` + ofA + `version="v1"}`, "values": "1x80"}
	state := func(working string) series {
		return series{"series": `statusworker_worker_state` + ofA + `state="working"}`, "values": working}
	}
	took := func(lane, seconds string) series {
		return series{"series": `statusworker_poll_duration_seconds_sum` + ofA + `lane="` + lane + `"}`, "values": seconds}
	}
	late := []series{
		{"series": buckets + `"1"}`, "values": "0x80"},
		{"series": buckets + `"60"}`, "values": "0+10x80"},
		{"series": buckets + `"+Inf"}`, "values": "0+10x80"},
	}
	idle := []series{
		{"series": buckets + `"1"}`, "values": "5x80"},
		{"series": buckets + `"60"}`, "values": "5x80"},
		{"series": buckets + `"+Inf"}`, "values": "5x80"},
	}
	other := []series{{"series": `statusworker_build_info{namespace="pipeline",job="another",instance="b",version="v1"}`, "values": "1x80"}}
	value := func(v float64) []any { return []any{map[string]any{"labels": "{}", "value": v}} }
	nothing := []any{}
	var tests []any
	for _, c := range []struct {
		name    string
		series  []series
		trigger string
		want    []any
	}{
		{"polls are late", append(late, info, state("1x80")), "lateness", value(57.05)},
		{"there are no polls", append(idle, info, state("1x80")), "lateness", value(0)},
		{"all workers are paused", append(late, info, state("0x80")), "lateness", value(0)},
		{"late after a pause", append(late, info, state("1x20 0x10 1x50")), "lateness", value(0)},
		{"late long after a pause", append(late, info, state("1x10 0x10 1x60")), "lateness", value(57.05)},
		{"no metrics of workers", other, "lateness", nothing},
		{"two lanes poll", append(other, took("audio", "0+150x80"), took("chat", "0+300x80")), "load", value(30)},
		{"no lane polls", []series{took("audio", "7x80"), took("chat", "0x80")}, "load", value(0)},
		{"no metrics of polls", other, "load", nothing},
	} {
		if query[c.trigger] == "" {
			t.Fatalf("no trigger %s", c.trigger)
		}
		tests = append(tests, map[string]any{
			"name": c.name, "interval": "15s", "input_series": c.series,
			"promql_expr_test": []any{map[string]any{"expr": query[c.trigger], "eval_time": "10m", "exp_samples": c.want}},
		})
	}
	text, err := yaml.Marshal(map[string]any{"evaluation_interval": "15s", "tests": tests})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "queries.test.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
