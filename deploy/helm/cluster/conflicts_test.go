package cluster

import (
	"fmt"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// testConflicts upgrades while another manager owns the number of workers. Helm applies on the server.
func testConflicts(t *testing.T, p *plane) {
	const namespace, name, deployment = "conflicts", "prod", "prod-statusworker"
	p.namespace(t, namespace)
	h := newHelm(t, p, namespace)
	// No node has the label: the pods are not started.
	values := func(more string) map[string]any {
		v := readValues(t, "minimal")
		merge(v, parse(t, `{provision: {enabled: false}, nodeSelector: {never: "true"}, replicas: 3}`))
		merge(v, parse(t, more))
		return v
	}
	quick := func(u *action.Upgrade) { u.WaitStrategy = kube.HookOnlyStrategy }
	force := func(u *action.Upgrade) { u.ForceConflicts = true }
	is := func(want int32) {
		t.Helper()
		found, err := p.client.AppsV1().Deployments(namespace).Get(t.Context(), deployment, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if *found.Spec.Replicas != want {
			t.Errorf("%d replicas, want %d", *found.Spec.Replicas, want)
		}
	}
	scale := func(manager string, replicas int) {
		t.Helper()
		patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
		_, err := p.client.AppsV1().Deployments(namespace).Patch(t.Context(), deployment, types.MergePatchType,
			[]byte(patch), metav1.PatchOptions{FieldManager: manager}, "scale")
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error) {
		t.Helper()
		if apierrors.ReasonForError(err) != metav1.StatusReasonConflict {
			t.Fatalf("%v, want a conflict", err)
		}
		if !strings.Contains(err.Error(), ".spec.replicas") {
			t.Errorf("%v: does not name the field", err)
		}
	}
	upgrade := func(more string, set ...func(*action.Upgrade)) error {
		_, err := h.upgrade(t, namespace, name, values(more), append(set, quick)...)
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	install := action.NewInstall(h.config)
	install.ReleaseName, install.Namespace, install.ServerSideApply = name, namespace, true
	install.WaitStrategy = kube.HookOnlyStrategy
	_, err := install.RunWithContext(t.Context(), h.chart, values(""))
	must(err)
	is(3)

	// `kubectl scale`: the next upgrade is a conflict, and changes nothing, until it is forced.
	scale("kubectl", 5)
	refused(upgrade(`podLabels: {changed: "1"}`))
	is(5)
	must(upgrade(`podLabels: {changed: "1"}`, force))
	is(3)

	// Enabling autoscaling keeps the number, and so does each upgrade with it.
	const autoscaling = `autoscaling: {enabled: true, source: nats-jetstream,
  natsJetstream: {monitoringEndpoint: "nats:8222", account: "$G"}}`
	must(upgrade(autoscaling))
	is(3)
	scale("kube-controller-manager", 7)
	must(upgrade(autoscaling + "\npodLabels: {changed: '2'}"))
	is(7)

	// Disabling it needs force, and removes the ScaledObject.
	refused(upgrade(""))
	is(7)
	must(upgrade("", force))
	is(3)
	p.scaledObjects(t, namespace, 0)

	// So does rolling back to before it.
	must(upgrade(autoscaling))
	scale("kube-controller-manager", 6)
	p.scaledObjects(t, namespace, 1)
	rollback := func(force bool) error {
		return h.rollback(name, 3, func(r *action.Rollback) {
			r.WaitStrategy, r.ForceConflicts = kube.HookOnlyStrategy, force
		})
	}
	must(rollback(true))
	is(3)
	p.scaledObjects(t, namespace, 0)

	// A rollback without force is refused. Helm then compares with the revision that failed, which has no ScaledObject,
	// and a second rollback leaves it. docs/deploy.md says how to delete it.
	must(upgrade(autoscaling))
	scale("kube-controller-manager", 6)
	refused(rollback(false))
	is(6)
	must(rollback(true))
	is(3)
	p.scaledObjects(t, namespace, 1)
	left := p.resource(t, "keda.sh/v1alpha1", "ScaledObject", namespace)
	must(left.Delete(t.Context(), "prod-statusworker", metav1.DeleteOptions{}))
	h.uninstall(t, name)
	p.nothingLeft(t, namespace)
}

// scaledObjects checks how many ScaledObjects exist.
func (p *plane) scaledObjects(t *testing.T, namespace string, want int) {
	t.Helper()
	found, err := p.resource(t, "keda.sh/v1alpha1", "ScaledObject", namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Items) != want {
		t.Errorf("%d ScaledObjects, want %d", len(found.Items), want)
	}
}
