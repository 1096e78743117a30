package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// testRelease installs, upgrades, rolls back and uninstalls the chart with Helm. The hook provisions NATS, and the
// workers process interactions after each step.
func testRelease(t *testing.T, p *plane) {
	const namespace, name = "release", "prod"
	p.namespace(t, namespace)
	s := startStage(t, p, namespace)
	h := newHelm(t, p, namespace)
	processed := uint64(0)
	works := func() {
		t.Helper()
		s.declare(t, 3)
		processed += 3
		s.processed(t, processed)
	}
	p.warnings.take()

	first := s.values(t, `{replicas: 1, networkPolicy: {enabled: true}}`)
	if _, err := h.install(t, namespace, name, first); err != nil {
		t.Fatal(err)
	}
	p.workers(t, namespace, 1, "1s")
	p.noHooks(t, namespace)
	works()

	second := s.values(t, `{replicas: 2, networkPolicy: {enabled: true}, timing: {chatInterval: 2s}}`)
	if _, err := h.upgrade(t, namespace, name, second); err != nil {
		t.Fatal(err)
	}
	p.workers(t, namespace, 2, "2s")
	p.noHooks(t, namespace)
	works()

	// The streams would need a change, and the values do not allow it: the hook fails, Helm shows its log and leaves
	// the workers as they are. The job is kept.
	refused := s.values(t, `{replicas: 3, timing: {chatInterval: 3s}, provision: {maxAge: 720h}}`)
	if _, err := h.upgrade(t, namespace, name, refused); err == nil {
		t.Error("the upgrade succeeded, although the hook must fail")
	}
	if log := h.logs.String(); !strings.Contains(log, "INTERACTIONS_OUTCOMES") || !strings.Contains(log, "30d") {
		t.Errorf("Helm did not show what differs, but %q", log)
	}
	p.workers(t, namespace, 2, "2s")
	jobs, err := p.client.BatchV1().Jobs(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(jobs.Items) != 1 || jobs.Items[0].Status.Failed != 1 {
		t.Errorf("jobs %+v, %v: want the failed one", jobs.Items, err)
	}
	works()

	merge(refused, parse(t, `provision: {update: true}`))
	if _, err := h.upgrade(t, namespace, name, refused); err != nil {
		t.Fatal(err)
	}
	p.workers(t, namespace, 3, "3s")
	p.noHooks(t, namespace)
	works()

	if err := h.rollback(name, 2); err != nil {
		t.Fatal(err)
	}
	p.workers(t, namespace, 2, "2s")
	works()
	if history, err := action.NewHistory(h.config).Run(name); err != nil || len(history) != 5 {
		t.Errorf("%d revisions, %v: want 5", len(history), err)
	}

	for _, warning := range p.warnings.take() {
		t.Errorf("the server warns: %s", warning)
	}
	h.uninstall(t, name)
	p.nothingLeft(t, namespace)
}

// workers waits until a number of workers is ready, and checks which chat interval they have.
func (p *plane) workers(t *testing.T, namespace string, count int32, chatInterval string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d workers are ready", count), func(ctx context.Context) error {
		found, err := p.client.AppsV1().Deployments(namespace).Get(ctx, "prod-statusworker", metav1.GetOptions{})
		if err != nil {
			return err
		}
		status := found.Status
		if status.ObservedGeneration != found.Generation || status.ReadyReplicas != count || status.Replicas != count {
			return fmt.Errorf("generation %d, status %+v", found.Generation, status)
		}
		for _, variable := range found.Spec.Template.Spec.Containers[0].Env {
			if variable.Name == "STATUSWORKER_CHAT_INTERVAL" && variable.Value != chatInterval {
				return fmt.Errorf("chat interval %s, want %s", variable.Value, chatInterval)
			}
		}
		return nil
	})
}

// noHooks checks that Helm deleted the hooks.
func (p *plane) noHooks(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, "the hooks are deleted", func(ctx context.Context) error {
		left := p.left(ctx, t, namespace, "app.kubernetes.io/component=provision")
		if len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
}

// nothingLeft waits until no object of the release exists.
func (p *plane) nothingLeft(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, "nothing is left after uninstalling", func(ctx context.Context) error {
		if left := p.left(ctx, t, namespace, "app.kubernetes.io/instance"); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
}

// left lists the objects of all kinds that have a label.
func (p *plane) left(ctx context.Context, t *testing.T, namespace, label string) []string {
	t.Helper()
	lists, err := p.client.Discovery().ServerPreferredNamespacedResources()
	if err != nil && len(lists) == 0 {
		t.Fatal(err)
	}
	var left []string
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range list.APIResources {
			if !slices.Contains(kind.Verbs, "list") || kind.Kind == "Event" || kind.Kind == "Endpoints" {
				continue
			}
			found, err := p.objects.Resource(group.WithResource(kind.Name)).Namespace(namespace).List(ctx,
				metav1.ListOptions{LabelSelector: label})
			if err != nil {
				if ctx.Err() != nil {
					return left
				}
				t.Fatalf("%s: %v", kind.Name, err)
			}
			for _, object := range found.Items {
				left = append(left, object.GetKind()+" "+object.GetName())
			}
		}
	}
	return left
}
