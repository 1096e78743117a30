// Package cluster runs the chart in a real Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler, with KEDA, NATS and the worker as processes of this machine. Only the kubelet is the test's own (see
// node_test.go). All of it runs in a network namespace of its own, so that no port is visible outside of it. The module
// is separate from that of the chart's other tests, because building it takes long.
package cluster

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// programsVariable has the folder of the programs. It is set for the process in the network namespace.
const programsVariable = "STATUSWORKER_TEST_CLUSTER_PROGRAMS"

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(programsVariable) != "" {
		os.Exit(m.Run())
	}
	code, err := isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// isolate builds the programs and runs the tests in a network namespace, in which all addresses of 10.0.0.0/8 are
// this machine: the service addresses and one address for each pod.
func isolate() (code int, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return 0, err
	}
	programs := filepath.Join(cache, "statusworker-cluster")
	if err := build(programs); err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	const prepare = `ip link set lo up && ip route add local 10.0.0.0/8 dev lo && exec "$0" "$@"`
	tests := exec.Command("/bin/sh", append([]string{"-c", prepare, self}, os.Args[1:]...)...)
	tests.Stdout, tests.Stderr = os.Stdout, os.Stderr
	tests.Env = append(os.Environ(), programsVariable+"="+programs,
		"HTTP_PROXY=", "HTTPS_PROXY=", "http_proxy=", "https_proxy=")
	// The first process of a namespace of processes: whichever way the tests end, so do all programs that they started.
	runtime.LockOSThread()
	tests.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	if id := os.Getuid(); id != 0 {
		tests.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		tests.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
		tests.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err = tests.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return 1, nil
	}
	return 0, err
}

// build builds the programs into a folder, each with the dependencies that its own module requires. A program that
// is up to date is not linked again.
func build(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	keda, err := module(".", "github.com/kedacore/keda/v2")
	if err != nil {
		return err
	}
	kubernetes, err := module("programs", "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	// Without a version, the API server answers v0.0.0, which the chart's kubeVersion rejects.
	version := "-X k8s.io/component-base/version.gitVersion=" + kubernetes.Version
	for _, p := range []struct{ name, at, what, flags string }{
		{"etcd", "programs", "go.etcd.io/etcd/server/v3", ""},
		{"kube-apiserver", "programs", "k8s.io/kubernetes/cmd/kube-apiserver", version},
		{"kube-controller-manager", "programs", "k8s.io/kubernetes/cmd/kube-controller-manager", version},
		{"kube-scheduler", "programs", "k8s.io/kubernetes/cmd/kube-scheduler", version},
		// KEDA's module is built where it is, because it replaces a module.
		{"keda-operator", keda.Dir, "./cmd/operator", ""},
		{"keda-adapter", keda.Dir, "./cmd/adapter", ""},
		{"keda-webhooks", keda.Dir, "./cmd/webhooks", ""},
		{"controller-gen", ".", "sigs.k8s.io/controller-tools/cmd/controller-gen", ""},
		{"statusworker", "../../..", "./cmd/statusworker", ""},
	} {
		goBuild := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-w -s "+p.flags,
			"-o", filepath.Join(folder, p.name), p.what)
		goBuild.Dir = p.at
		goBuild.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := goBuild.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s in %s: %w\n%s", p.what, p.at, err, out)
		}
	}
	return nil
}

type moduleInfo struct{ Version, Dir string }

// module downloads a module that another one requires.
func module(folder, path string) (found moduleInfo, err error) {
	download := exec.Command("go", "mod", "download", "-json", path)
	download.Dir = folder
	out, err := download.Output()
	if err != nil {
		return found, fmt.Errorf("download %s: %w\n%s", path, err, out)
	}
	return found, json.Unmarshal(out, &found)
}

func program(name string) string { return filepath.Join(os.Getenv(programsVariable), name) }

// tail returns the last lines of a log.
func tail(file string, lines int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
