package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const nodeName, nodeAddress = "machine", "10.0.0.2"

// node stands in for a kubelet. It runs each pod's container as a process of this machine: the program statusworker,
// whatever the image, with the container's arguments and environment, and with an address of its own for the pod. Files
// of secrets and config maps lie in a folder of the pod, so that each path of a mount is changed in arguments and
// environment. It does what the API server and the controllers need of a kubelet: it reports the phases, the exit code
// and what the readiness probe finds, restarts a container that ended, ends a deleted pod within its grace period, and
// serves logs. It enforces no security context, no limits and no network policies, and ignores liveness probes.
type node struct {
	dir    string
	client kubernetes.Interface
	pods   sync.Map // of types.UID: *pod
	last   atomic.Uint32
	work   sync.WaitGroup
}

// startNode registers the node and runs the pods that the scheduler assigns to it, until the test ends.
func startNode(t *testing.T, p *plane) {
	t.Helper()
	n := &node{dir: filepath.Join(p.dir, "node"), client: p.client}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		n.work.Wait()
		if t.Failed() {
			n.showLogs(t)
		}
	})
	n.serveLogs(t, p)
	n.register(t)
	n.work.Go(func() { n.heartbeat(ctx) })
	watch := cache.NewListWatchFromClient(p.client.CoreV1().RESTClient(), "pods", "",
		fields.OneTermEqualSelector("spec.nodeName", nodeName))
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{ListerWatcher: watch, ObjectType: &core.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { n.seen(ctx, o.(*core.Pod)) },
			UpdateFunc: func(_, o any) { n.seen(ctx, o.(*core.Pod)) },
		}})
	n.work.Go(func() { informer.Run(ctx.Done()) })
}

func (n *node) register(t *testing.T) {
	t.Helper()
	room := core.ResourceList{
		"cpu": resource.MustParse("64"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("200"),
	}
	machine := &core.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{
			core.LabelHostname: nodeName, core.LabelTopologyZone: "zone", core.LabelArchStable: "amd64",
			core.LabelOSStable: "linux"}},
		Status: core.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions:      []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue}},
			Addresses:       []core.NodeAddress{{Type: core.NodeInternalIP, Address: nodeAddress}},
			DaemonEndpoints: core.NodeDaemonEndpoints{KubeletEndpoint: core.DaemonEndpoint{Port: 10250}},
		},
	}
	if _, err := n.client.CoreV1().Nodes().Create(t.Context(), machine, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// heartbeat renews the lease by which the node lifecycle controller knows that the node lives.
func (n *node) heartbeat(ctx context.Context) {
	leases := n.client.CoordinationV1().Leases(core.NamespaceNodeLease)
	holder := nodeName
	for ctx.Err() == nil {
		now := metav1.NowMicro()
		lease := &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Name: nodeName},
			Spec: coordination.LeaseSpec{HolderIdentity: &holder, RenewTime: &now}}
		if old, err := leases.Get(ctx, nodeName, metav1.GetOptions{}); err == nil {
			lease.ResourceVersion = old.ResourceVersion
			_, _ = leases.Update(ctx, lease, metav1.UpdateOptions{})
		} else {
			_, _ = leases.Create(ctx, lease, metav1.CreateOptions{})
		}
		wait(ctx, 5*time.Second)
	}
}

// seen begins a pod that is new, and ends one that is deleted.
func (n *node) seen(ctx context.Context, object *core.Pod) {
	fresh := &pod{node: n, object: object.DeepCopy(), deleted: make(chan struct{})}
	known, old := n.pods.LoadOrStore(object.UID, fresh)
	if !old {
		number := n.last.Add(1)
		fresh.address = fmt.Sprintf("10.244.%d.%d", number/250, number%250+1)
		fresh.dir = filepath.Join(n.dir, object.Namespace, object.Name)
		n.work.Go(func() { fresh.run(ctx) })
	}
	if p := known.(*pod); object.DeletionTimestamp != nil {
		p.grace.Store(*object.DeletionGracePeriodSeconds)
		p.end.Do(func() { close(p.deleted) })
	}
}

// setStatus reports the status of a pod.
func (n *node) setStatus(ctx context.Context, object *core.Pod, status core.PodStatus) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": object.UID}, "status": status})
	if err != nil {
		panic(err)
	}
	for ctx.Err() == nil {
		_, err = n.client.CoreV1().Pods(object.Namespace).Patch(ctx, object.Name, types.StrategicMergePatchType, patch,
			metav1.PatchOptions{}, "status")
		if err == nil || wasDeleted(err) {
			return
		}
		wait(ctx, time.Second)
	}
}

// serveLogs serves the logs of pods where the API server asks for them.
func (n *node) serveLogs(t *testing.T, p *plane) {
	t.Helper()
	p.authority.issue(t, "kubelet", nodeAddress)
	listener, err := net.Listen("tcp", nodeAddress+":10250")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(n.dir, r.PathValue("namespace"), r.PathValue("pod"), logName))
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.ServeTLS(listener, p.file("kubelet.crt"), p.file("kubelet.key")) }()
	t.Cleanup(func() { _ = server.Close() })
}

func (n *node) showLogs(t *testing.T) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(n.dir, "*", "*", logName))
	if err != nil {
		t.Error(err)
	}
	for _, log := range logs[max(0, len(logs)-8):] {
		t.Logf("the end of %s:\n%s", log, tail(log, 8))
	}
}

// wait waits, until the context ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// writeFile writes a file and its folder.
func writeFile(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}
