package cluster

import "testing"

// TestCluster runs its parts in one control plane, because starting one takes long.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	p := startPlane(t)
	startNode(t, p)
	installCustomResources(t, p)
	k := prepareKEDA(t, p)
	startKEDAWebhooks(t, p, k)
	t.Run("accepted", func(t *testing.T) { testAccepted(t, p) })
	t.Run("refused", func(t *testing.T) { testRefused(t, p) })
	t.Run("release", func(t *testing.T) { testRelease(t, p) })
	t.Run("conflicts", func(t *testing.T) { testConflicts(t, p) })
	t.Run("autoscaling", func(t *testing.T) { testAutoscaling(t, p, k) })
}
