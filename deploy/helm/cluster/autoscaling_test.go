package cluster

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// testAutoscaling lets KEDA scale the workers of the chart: a backlog adds workers, and without it they are removed.
func testAutoscaling(t *testing.T, p *plane, k kedaFiles) {
	const namespace, name = "autoscaling", "prod"
	startKEDA(t, p, k)
	p.namespace(t, namespace)
	s := startStage(t, p, namespace)
	h := newHelm(t, p, namespace)
	// The rate limit makes the backlog: 20 polls per second, with any number of workers.
	values := s.values(t, `
work: {maxPollsPerSecond: 20}
autoscaling:
  enabled: true
  source: nats-jetstream
  minReplicas: 1
  maxReplicas: 4
  natsJetstream: {account: "$G", lagThreshold: 50, pollingInterval: 1}
`)
	merge(values, map[string]any{"autoscaling": map[string]any{
		"natsJetstream": map[string]any{"monitoringEndpoint": s.monitoring}}})
	if _, err := h.install(t, namespace, name, values); err != nil {
		t.Fatal(err)
	}
	// The chart removes one worker in two minutes, after ten minutes. Another manager shortens that.
	quick := `{"spec":{"advanced":{"horizontalPodAutoscalerConfig":{"behavior":{"scaleDown":{
		"stabilizationWindowSeconds":5,"policies":[{"type":"Pods","value":4,"periodSeconds":15}]}}}}}}`
	scaled := p.resource(t, "keda.sh/v1alpha1", "ScaledObject", namespace)
	if _, err := scaled.Patch(t.Context(), "prod-statusworker", types.MergePatchType, []byte(quick),
		metav1.PatchOptions{FieldManager: "test"}); err != nil {
		t.Fatal(err)
	}
	replicas := func(what string, reached func(int32) bool) {
		t.Helper()
		eventually(t, what, func(ctx context.Context) error {
			found, err := p.client.AppsV1().Deployments(namespace).Get(ctx, "prod-statusworker", metav1.GetOptions{})
			if err != nil {
				return err
			}
			n := *found.Spec.Replicas
			if !reached(n) {
				return fmt.Errorf("spec.replicas %d: %s", n, p.autoscaler(ctx, namespace))
			}
			t.Logf("%s: spec.replicas %d; %s", what, n, p.autoscaler(ctx, namespace))
			return nil
		})
	}
	replicas("one worker without work", func(n int32) bool { return n == 1 })
	const interactions = 400
	s.declare(t, interactions)
	replicas("a backlog adds workers", func(n int32) bool { return n >= 3 })
	s.processed(t, interactions)
	replicas("without a backlog, workers are removed", func(n int32) bool { return n == 1 })
	h.uninstall(t, name)
	p.nothingLeft(t, namespace)
}

// autoscaler describes the HorizontalPodAutoscaler that KEDA made.
func (p *plane) autoscaler(ctx context.Context, namespace string) string {
	found, err := p.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{})
	if err != nil || len(found.Items) != 1 {
		return fmt.Sprintf("%d autoscalers, %v", len(found.Items), err)
	}
	status := found.Items[0].Status
	text := fmt.Sprintf("%d workers, desired %d", status.CurrentReplicas, status.DesiredReplicas)
	for _, m := range status.CurrentMetrics {
		if m.External != nil && m.External.Current.AverageValue != nil {
			text += fmt.Sprintf(", backlog per worker %s", m.External.Current.AverageValue)
		}
	}
	for _, c := range status.Conditions {
		if c.Status != "True" && (c.Type == "AbleToScale" || c.Type == "ScalingActive") {
			text += fmt.Sprintf("; %s %s: %s", c.Type, c.Status, c.Message)
		}
	}
	return text
}
