// Package test renders the chart with Helm's engine, and decodes the objects with the types of Kubernetes, the
// Prometheus operator and KEDA. It is a separate module, so that the main module does not have these dependencies.
package test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	chartFolder = "../statusworker"
	release     = "prod"
	namespace   = "pipeline"
)

// renderings are the values under testdata, from the required ones to all.
var renderings = []string{"minimal", "typical", "everything", "naks", "leaf"}

// render returns the objects of the chart for values, without unknown fields.
func render(t *testing.T, values map[string]any) (objects, error) {
	t.Helper()
	return renderAs(t, release, namespace, values)
}

// renderAs is render for a release of another name, in another namespace.
func renderAs(t *testing.T, release, namespace string, values map[string]any) (objects, error) {
	t.Helper()
	chart, err := loader.LoadDir(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	options := common.ReleaseOptions{Name: release, Namespace: namespace, IsInstall: true, Revision: 1}
	all, err := util.ToRenderValues(chart, values, options, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.RenderWithContext(t.Context(), chart, all)
	if err != nil {
		return nil, err
	}
	var found objects
	for name, text := range files {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		found = append(found, decode(t, name, text)...)
	}
	return found, nil
}

func mustRender(t *testing.T, name string) objects {
	t.Helper()
	found, err := render(t, readValues(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// readValues reads a file of testdata.
func readValues(t *testing.T, name string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// with sets values by their paths.
func with(values map[string]any, set map[string]any) map[string]any {
	for path, value := range set {
		at := values
		keys := strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		at[keys[len(keys)-1]] = value
	}
	return values
}

func decode(t *testing.T, name, text string) objects {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		apps.AddToScheme, batch.AddToScheme, core.AddToScheme, networking.AddToScheme, policy.AddToScheme,
		monitoring.AddToScheme, keda.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	strict := serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme, scheme,
		serializer.SerializerOptions{Yaml: true, Strict: true})
	var found objects
	documents := kyaml.NewYAMLReader(bufioReader(text))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if isBlank(document) {
			continue
		}
		object, _, err := strict.Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("%s is not valid: %v\n%s", name, err, document)
		}
		found = append(found, object)
	}
}
