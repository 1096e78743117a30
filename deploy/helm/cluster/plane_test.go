package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	apiServer = "https://127.0.0.1:6443"
	// patience is how long a test waits for what takes seconds on an idle machine.
	patience = 5 * time.Minute
)

// plane is a running control plane.
type plane struct {
	dir       string
	authority *authority
	admin     *rest.Config
	client    kubernetes.Interface
	objects   dynamic.Interface
	warnings  *warnings
}

// user is an entry of kube-apiserver's file of tokens.
type user struct{ name, group, token string }

// startPlane starts a control plane without nodes and without custom resources.
func startPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{dir: t.TempDir(), warnings: &warnings{}}
	p.authority = newAuthority(t, p.dir)
	admin := user{"admin", "system:masters", rand.Text()}
	manager := user{"system:kube-controller-manager", "system:kube-controller-manager", rand.Text()}
	scheduler := user{"system:kube-scheduler", "system:kube-scheduler", rand.Text()}
	var tokens strings.Builder
	for _, u := range []user{admin, manager, scheduler} {
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", u.token, u.name, u.name, u.group)
	}
	p.write(t, "tokens.csv", tokens.String())
	p.authority.issue(t, "server", "localhost", "127.0.0.1", "10.96.0.1")
	p.authority.issue(t, "front-proxy")
	p.authority.issue(t, "service-accounts")

	start(t, p.dir, "etcd", nil, "--data-dir="+filepath.Join(p.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=default=http://127.0.0.1:2380")
	start(t, p.dir, "kube-apiserver", nil, "--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=127.0.0.1", "--secure-port=6443", "--advertise-address=10.0.0.1",
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC", "--token-auth-file="+p.file("tokens.csv"),
		"--tls-cert-file="+p.file("server.crt"), "--tls-private-key-file="+p.file("server.key"),
		"--client-ca-file="+p.file("ca.crt"), "--kubelet-certificate-authority="+p.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+p.file("service-accounts.key"),
		"--service-account-signing-key-file="+p.file("service-accounts.key"),
		// Aggregation, for KEDA's metrics.
		"--requestheader-client-ca-file="+p.file("ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file="+p.file("front-proxy.crt"), "--proxy-client-key-file="+p.file("front-proxy.key"))

	p.admin = p.as(admin.token)
	p.admin.WarningHandler = p.warnings
	p.admin.QPS = -1
	p.client = kubernetes.NewForConfigOrDie(p.admin)
	p.objects = dynamic.NewForConfigOrDie(p.admin)
	eventually(t, "kube-apiserver is ready", func(ctx context.Context) error {
		return p.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	managerConfig := p.kubeconfig(t, "manager", manager.token)
	schedulerConfig := p.kubeconfig(t, "scheduler", scheduler.token)
	start(t, p.dir, "kube-controller-manager", nil, "--kubeconfig="+managerConfig, "--bind-address=127.0.0.1",
		"--leader-elect=false", "--use-service-account-credentials", "--root-ca-file="+p.file("ca.crt"),
		"--service-account-private-key-file="+p.file("service-accounts.key"),
		"--horizontal-pod-autoscaler-sync-period=1s")
	start(t, p.dir, "kube-scheduler", nil, "--kubeconfig="+schedulerConfig, "--bind-address=127.0.0.1",
		"--leader-elect=false")
	eventually(t, "a namespace has its service account", func(ctx context.Context) error {
		_, err := p.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return p
}

func (p *plane) file(name string) string { return filepath.Join(p.dir, name) }

func (p *plane) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(p.file(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// as returns the configuration of a client with a token.
func (p *plane) as(token string) *rest.Config {
	tls := rest.TLSClientConfig{CAFile: p.file("ca.crt")}
	return &rest.Config{Host: apiServer, BearerToken: token, TLSClientConfig: tls}
}

// kubeconfig writes the file of a client with a token.
func (p *plane) kubeconfig(t *testing.T, name, token string) string {
	t.Helper()
	config := api.NewConfig()
	config.Clusters["it"] = &api.Cluster{Server: apiServer, CertificateAuthority: p.file("ca.crt")}
	config.AuthInfos[name] = &api.AuthInfo{Token: token}
	config.Contexts["it"] = &api.Context{Cluster: "it", AuthInfo: name}
	config.CurrentContext = "it"
	file := p.file(name + ".kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// mapper returns the resources that the server has now.
func (p *plane) mapper(t *testing.T) meta.RESTMapper {
	t.Helper()
	groups, err := restmapper.GetAPIGroupResources(p.client.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	return restmapper.NewDiscoveryRESTMapper(groups)
}

// namespace creates a namespace in which Kubernetes admits only pods of the strictest security profile. The test
// deletes nothing: the control plane ends with it.
func (p *plane) namespace(t *testing.T, name string) {
	t.Helper()
	labels := map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
	}
	_, err := p.client.CoreV1().Namespaces().Create(t.Context(),
		&core.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a program until the test ends. Its log is shown if the test fails.
func start(t *testing.T, dir, name string, env []string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	running := exec.Command(program(name), args...)
	running.Stdout, running.Stderr = log, log
	running.Env = append(os.Environ(), env...)
	running.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- running.Wait() }()
	t.Cleanup(func() {
		select {
		case err := <-ended:
			t.Errorf("%s ended during the test: %v", name, err)
			ended <- err
		default:
		}
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", name, tail(log.Name(), 15))
		}
		_ = running.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = running.Process.Kill()
			<-ended
		}
		log.Close()
	})
}

// listens waits until a server listens on an address.
func listens(t *testing.T, address string) {
	t.Helper()
	eventually(t, "a server listens on "+address, func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

// eventually repeats a check until it succeeds.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last error
	for {
		err := check(ctx)
		if err == nil && ctx.Err() == nil {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s: %v", patience, what, last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// warnings collects what the server warns about.
type warnings struct {
	lock sync.Mutex
	list []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(code int, _, text string) {
	if code != 299 || text == "" {
		return
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.list = append(w.list, text)
}

// take returns the warnings since the last call.
func (w *warnings) take() []string {
	w.lock.Lock()
	defer w.lock.Unlock()
	list := w.list
	w.list = nil
	return list
}
