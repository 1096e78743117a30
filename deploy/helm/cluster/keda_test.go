package cluster

import (
	"context"
	"path/filepath"
	"testing"

	authentication "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// kedaFiles is what KEDA's programs share.
type kedaFiles struct {
	config string // the folder with KEDA's manifests
	env    []string
}

// prepareKEDA creates the service account of KEDA's own manifests, with its roles. KEDA's programs run as that account.
func prepareKEDA(t *testing.T, p *plane) kedaFiles {
	t.Helper()
	keda, err := module(".", "github.com/kedacore/keda/v2")
	if err != nil {
		t.Fatal(err)
	}
	k := kedaFiles{config: filepath.Join(keda.Dir, "config")}
	for _, file := range []string{
		"general/namespace.yaml", "service_account/service_account.yaml", "rbac/role.yaml", "rbac/role_binding.yaml",
		"metrics-server/role.yaml", "metrics-server/role_binding.yaml",
	} {
		for _, object := range readObjects(t, filepath.Join(k.config, file)) {
			p.apply(t, object)
		}
	}
	seconds := int64(2 * 3600)
	token, err := p.client.CoreV1().ServiceAccounts("keda").CreateToken(t.Context(), "keda-operator",
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: &seconds}},
		metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := p.kubeconfig(t, "keda", token.Status.Token)
	k.env = []string{"KUBECONFIG=" + kubeconfig, "WATCH_NAMESPACE=", "POD_NAMESPACE=keda", "POD_NAME=keda",
		"KEDA_CLUSTER_OBJECT_NAMESPACE=keda"}
	p.authority.issue(t, "tls", "127.0.0.1", "keda-metrics-apiserver.keda.svc")
	return k
}

// startKEDAWebhooks starts KEDA's admission webhooks. KEDA's manifest ignores a webhook that fails; here the object is
// refused.
func startKEDAWebhooks(t *testing.T, p *plane, k kedaFiles) {
	t.Helper()
	start(t, p.dir, "keda-webhooks", k.env, "--cert-dir="+p.dir, "--port=9443",
		"--metrics-bind-address=127.0.0.1:8084", "--health-probe-bind-address=127.0.0.1:8085")
	for _, object := range readObjects(t, filepath.Join(k.config, "webhooks/validation_webhooks.yaml")) {
		hooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
		if err != nil {
			t.Fatal(err)
		}
		for _, hook := range hooks {
			hook := hook.(map[string]any)
			path, _, _ := unstructured.NestedString(hook, "clientConfig", "service", "path")
			hook["clientConfig"] = map[string]any{
				"url": "https://127.0.0.1:9443" + path, "caBundle": p.authority.encoded(t)}
			hook["failurePolicy"] = "Fail"
		}
		if err := unstructured.SetNestedSlice(object.Object, hooks, "webhooks"); err != nil {
			t.Fatal(err)
		}
		listens(t, "127.0.0.1:9443")
		p.apply(t, object)
	}
}

// startKEDA starts KEDA's operator and metrics adapter.
func startKEDA(t *testing.T, p *plane, k kedaFiles) {
	t.Helper()
	start(t, p.dir, "keda-operator", k.env, "--cert-dir="+p.dir, "--metrics-bind-address=127.0.0.1:8082",
		"--health-probe-bind-address=127.0.0.1:8081", "--metrics-service-bind-address=127.0.0.1:9666",
		"--zap-log-level=info")
	listens(t, "127.0.0.1:9666")
	kubeconfig := p.file("keda.kubeconfig")
	start(t, p.dir, "keda-adapter", k.env, "--secure-port=6444", "--bind-address=127.0.0.1", "--port=8083",
		"--cert-dir="+p.dir, "--tls-cert-file="+p.file("tls.crt"), "--tls-private-key-file="+p.file("tls.key"),
		"--client-ca-file="+p.file("ca.crt"), "--metrics-service-address=127.0.0.1:9666",
		"--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--lister-kubeconfig="+kubeconfig)

	// The API server reaches the adapter by the name of a service, as in a cluster.
	p.apply(t, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": "keda-metrics-apiserver", "namespace": "keda"},
		"spec":     map[string]any{"type": "ExternalName", "externalName": "localhost"},
	}})
	for _, object := range readObjects(t, filepath.Join(k.config, "metrics-server/api_service.yaml")) {
		if err := unstructured.SetNestedField(object.Object, int64(6444), "spec", "service", "port"); err != nil {
			t.Fatal(err)
		}
		bundle := p.authority.encoded(t)
		if err := unstructured.SetNestedField(object.Object, bundle, "spec", "caBundle"); err != nil {
			t.Fatal(err)
		}
		p.apply(t, object)
	}
	eventually(t, "the API server serves KEDA's metrics", func(ctx context.Context) error {
		return p.client.Discovery().RESTClient().Get().AbsPath("/apis/external.metrics.k8s.io/v1beta1").Do(ctx).Error()
	})
}
