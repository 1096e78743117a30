package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// installCustomResources creates the custom resource definitions of KEDA, as its module has them, and of the Prometheus
// operator, as its generator makes them of the module with its types.
func installCustomResources(t *testing.T, p *plane) {
	t.Helper()
	keda, err := module(".", "github.com/kedacore/keda/v2")
	if err != nil {
		t.Fatal(err)
	}
	made := t.TempDir()
	generate := exec.Command(program("controller-gen"), "crd",
		"paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1", "output:dir="+made)
	if out, err := generate.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(keda.Dir, "config/crd/bases/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"servicemonitors", "prometheusrules"} {
		files = append(files, filepath.Join(made, "monitoring.coreos.com_"+name+".yaml"))
	}
	var names []string
	for _, file := range files {
		for _, definition := range readObjects(t, file) {
			p.apply(t, definition)
			names = append(names, definition.GetName())
		}
	}
	resource := p.resource(t, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "")
	for _, name := range names {
		eventually(t, name+" is served", func(ctx context.Context) error {
			found, err := resource.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			conditions, _, _ := unstructured.NestedSlice(found.Object, "status", "conditions")
			for _, c := range conditions {
				if c := c.(map[string]any); c["type"] == "Established" && c["status"] == "True" {
					return nil
				}
			}
			return fmt.Errorf("conditions %v", conditions)
		})
	}
}

// readObjects reads the objects of a file.
func readObjects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return objectsOf(t, string(text))
}

// objectsOf returns the objects of a text in YAML.
func objectsOf(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	documents := kyaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text)))
	defer documents.Close()
	for {
		document := make([]byte, 1<<20)
		n, err := documents.Read(document)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		object := map[string]any{}
		if err := yaml.Unmarshal(document[:n], &object); err != nil {
			t.Fatal(err)
		}
		if len(object) > 0 {
			found = append(found, &unstructured.Unstructured{Object: object})
		}
	}
}

// resource returns the client for objects of a kind.
func (p *plane) resource(t *testing.T, version, kind, namespace string) dynamic.ResourceInterface {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(version)
	object.SetKind(kind)
	mapping, err := p.mapper(t).RESTMapping(object.GroupVersionKind().GroupKind(), object.GroupVersionKind().Version)
	if err != nil {
		t.Fatal(err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return p.objects.Resource(mapping.Resource)
	}
	return p.objects.Resource(mapping.Resource).Namespace(namespace)
}

// apply applies an object, which the server must accept.
func (p *plane) apply(t *testing.T, object *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	made, err := p.tryApply(t, object)
	if err != nil {
		t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
	}
	return made
}

// tryApply applies an object. The server refuses one with a field that it does not know.
func (p *plane) tryApply(t *testing.T, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	t.Helper()
	text, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return p.resource(t, object.GetAPIVersion(), object.GetKind(), object.GetNamespace()).Patch(t.Context(),
		object.GetName(), types.ApplyPatchType, text,
		metav1.PatchOptions{FieldManager: "test", FieldValidation: metav1.FieldValidationStrict})
}

// testAccepted applies each object of the chart, hooks included, for each file of values that the chart's other tests
// render. The server accepts it, warns about nothing, and stores each field with its value. The namespaces admit only
// pods of the profile "restricted".
func testAccepted(t *testing.T, p *plane) {
	for _, values := range []string{"minimal", "typical", "everything", "naks", "console"} {
		t.Run(values, func(t *testing.T) {
			namespace := "accepted-" + values
			p.namespace(t, namespace)
			p.warnings.take()
			render := action.NewInstall(newHelm(t, p, namespace).config)
			render.DryRunStrategy, render.ReleaseName, render.Namespace = action.DryRunServer, "prod", namespace
			h := newHelm(t, p, namespace)
			made, err := render.RunWithContext(t.Context(), h.chart, readValues(t, values))
			if err != nil {
				t.Fatal(err)
			}
			text := as(made).Manifest
			for _, hook := range as(made).Hooks {
				text += "\n---\n" + hook.Manifest
			}
			found := objectsOf(t, text)
			for _, object := range found {
				stored := p.apply(t, object)
				for _, difference := range dropped("", object.Object, stored.Object) {
					t.Errorf("%s %s: %s", object.GetKind(), object.GetName(), difference)
				}
			}
			for _, warning := range p.warnings.take() {
				t.Errorf("the server warns: %s", warning)
			}
			if len(found) < 3 {
				t.Errorf("only %d objects", len(found))
			}
			// The pods of these objects could not work here.
			err = p.client.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d objects accepted, without a warning or a dropped field", len(found))
		})
	}
}

// dropped lists fields that differ in what the server stored.
func dropped(path string, want, have any) []string {
	switch want := want.(type) {
	case map[string]any:
		have, _ := have.(map[string]any)
		var list []string
		for key, value := range want {
			list = append(list, dropped(path+"."+key, value, have[key])...)
		}
		return list
	case []any:
		have, _ := have.([]any)
		if len(have) != len(want) {
			return []string{fmt.Sprintf("%s has %d elements, want %d", path, len(have), len(want))}
		}
		var list []string
		for i, value := range want {
			list = append(list, dropped(fmt.Sprintf("%s[%d]", path, i), value, have[i])...)
		}
		return list
	case nil:
		return nil // applied as absent
	}
	if fmt.Sprint(want) == fmt.Sprint(have) {
		return nil
	}
	a, errA := resource.ParseQuantity(fmt.Sprint(want))
	b, errB := resource.ParseQuantity(fmt.Sprint(have))
	if errA == nil && errB == nil && a.Cmp(b) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s is %v, want %v", path, have, want)}
}

// testRefused shows that the checks of testAccepted find faults: the server refuses a field that it does not know and a
// pod without security settings, and KEDA's webhook warns.
func testRefused(t *testing.T, p *plane) {
	const namespace = "refused"
	p.namespace(t, namespace)
	badRequest := func(err error) bool { return apierrors.IsBadRequest(err) || apierrors.IsInternalError(err) }
	for _, c := range []struct {
		name, object string
		is           func(error) bool
		warnings     int
	}{
		{"a field that Deployments do not have", `{apiVersion: apps/v1, kind: Deployment, spec: {replica: 1}}`,
			badRequest, 0},
		{"a field that ScaledObjects do not have", `{apiVersion: keda.sh/v1alpha1, kind: ScaledObject,
			spec: {scaleTargetRef: {name: a}, triggers: [], minReplica: 1}}`, badRequest, 0},
		{"a pod without security settings", `{apiVersion: v1, kind: Pod, spec: {containers: [{name: a, image: b}]}}`,
			apierrors.IsForbidden, 0},
		{"a setting without effect", `{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, spec: {minReplicaCount: 1,
			cooldownPeriod: 1, scaleTargetRef: {name: a}, triggers: [{type: cron, metadata: {}}]}}`,
			func(err error) bool { return err == nil }, 1},
	} {
		p.warnings.take()
		object := &unstructured.Unstructured{Object: parse(t, c.object)}
		object.SetName("refused")
		object.SetNamespace(namespace)
		if _, err := p.tryApply(t, object); !c.is(err) {
			t.Errorf("%s: %v", c.name, err)
		}
		if warnings := p.warnings.take(); len(warnings) != c.warnings {
			t.Errorf("%s: warnings %q, want %d", c.name, warnings, c.warnings)
		}
	}
}
