package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const logName = "container.log"

// pod is a pod whose container runs as a process.
type pod struct {
	node    *node
	object  *core.Pod
	dir     string
	address string
	grace   atomic.Int64
	end     sync.Once
	deleted chan struct{}
}

// run runs the container from begin to end.
func (p *pod) run(ctx context.Context) {
	code, began := p.runContainer(ctx)
	for p.object.Spec.RestartPolicy == core.RestartPolicyAlways && began && !p.over(ctx, 5*time.Second) {
		code, began = p.runContainer(ctx)
	}
	if began && ctx.Err() == nil {
		phase := core.PodSucceeded
		if code != 0 {
			phase = core.PodFailed
		}
		p.report(ctx, phase, false, core.ContainerState{Terminated: &core.ContainerStateTerminated{
			ExitCode: int32(code), Reason: string(phase), FinishedAt: metav1.Now()}}) //nolint:gosec // an exit code
	}
	select {
	case <-ctx.Done():
	case <-p.deleted:
		now := int64(0)
		_ = p.node.client.CoreV1().Pods(p.object.Namespace).Delete(ctx, p.object.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.object.UID}})
	}
}

// over waits, and reports whether the pod was deleted meanwhile.
func (p *pod) over(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return true
	case <-p.deleted:
		return true
	case <-time.After(d):
		return false
	}
}

// runContainer runs the container's process, and reports whether it began.
func (p *pod) runContainer(ctx context.Context) (code int, began bool) {
	container := p.object.Spec.Containers[0]
	var command *exec.Cmd
	for command == nil {
		made, err := p.command(ctx, container)
		if err == nil {
			command = made
			break
		}
		p.report(ctx, core.PodPending, false, core.ContainerState{Waiting: &core.ContainerStateWaiting{
			Reason: "CreateContainerConfigError", Message: err.Error()}})
		if p.over(ctx, time.Second) {
			return 0, false
		}
	}
	if err := command.Start(); err != nil {
		return 127, true
	}
	running := core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: metav1.Now()}}
	p.report(ctx, core.PodRunning, container.ReadinessProbe == nil, running)
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	ready, deleted := false, p.deleted
	var kill <-chan time.Time
	for {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return exit.ExitCode(), true
			}
			return 0, true
		case <-ctx.Done():
			_ = command.Process.Kill()
			<-ended
			return 0, true
		case <-deleted:
			_ = command.Process.Signal(syscall.SIGTERM)
			deleted, kill = nil, time.After(time.Duration(p.grace.Load())*time.Second)
		case <-kill:
			_ = command.Process.Kill()
		case <-time.After(300 * time.Millisecond):
			if now := p.probe(ctx, container); now != ready && container.ReadinessProbe != nil {
				ready = now
				p.report(ctx, core.PodRunning, ready, running)
			}
		}
	}
}

// command returns the container's process, after writing the files that it mounts.
func (p *pod) command(ctx context.Context, container core.Container) (*exec.Cmd, error) {
	moved := []string{}
	for _, mount := range container.VolumeMounts {
		folder := filepath.Join(p.dir, mount.MountPath)
		if err := p.mount(ctx, mount.Name, folder); err != nil {
			return nil, err
		}
		moved = append(moved, mount.MountPath+"/", folder+"/")
	}
	paths := strings.NewReplacer(moved...)
	// All processes share the ports: what would listen on all addresses listens on that of the pod.
	listen := func(text string) string {
		if strings.HasPrefix(text, ":") {
			return p.address + text
		}
		return paths.Replace(text)
	}
	var args []string
	for _, arg := range container.Args {
		args = append(args, listen(arg))
	}
	command := exec.Command(program("statusworker"), args...)
	command.Env = []string{"STATUSWORKER_ADMIN_ADDR=" + p.address + ":8080"}
	for _, variable := range container.Env {
		value, err := p.value(ctx, variable)
		if err != nil {
			return nil, err
		}
		command.Env = append(command.Env, variable.Name+"="+listen(value))
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(p.dir, logName))
	if err != nil {
		return nil, err
	}
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return command, nil
}

// value returns the value of a variable.
func (p *pod) value(ctx context.Context, variable core.EnvVar) (string, error) {
	switch from := variable.ValueFrom; {
	case from == nil:
		return variable.Value, nil
	case from.FieldRef != nil && from.FieldRef.FieldPath == "spec.nodeName":
		return nodeName, nil
	case from.SecretKeyRef != nil:
		files, err := p.files(ctx, from.SecretKeyRef.Name, "")
		if err != nil {
			return "", err
		}
		value, ok := files[from.SecretKeyRef.Key]
		if !ok {
			return "", fmt.Errorf("the secret %s has no key %s", from.SecretKeyRef.Name, from.SecretKeyRef.Key)
		}
		return string(value), nil
	}
	return "", fmt.Errorf("the variable %s has a source that is not known", variable.Name)
}

// mount writes the files of a volume.
func (p *pod) mount(ctx context.Context, name, folder string) error {
	for _, volume := range p.object.Spec.Volumes {
		if volume.Name != name {
			continue
		}
		var items []core.KeyToPath
		var files map[string][]byte
		var err error
		switch {
		case volume.Secret != nil:
			items = volume.Secret.Items
			files, err = p.files(ctx, volume.Secret.SecretName, "")
		case volume.ConfigMap != nil:
			items = volume.ConfigMap.Items
			files, err = p.files(ctx, "", volume.ConfigMap.Name)
		default:
			err = fmt.Errorf("the volume %s has a source that is not known", name)
		}
		if err != nil {
			return err
		}
		if items == nil {
			for key := range files {
				items = append(items, core.KeyToPath{Key: key, Path: key})
			}
		}
		for _, item := range items {
			data, ok := files[item.Key]
			if !ok {
				return fmt.Errorf("the source of the volume %s has no key %s", name, item.Key)
			}
			if err := writeFile(filepath.Join(folder, item.Path), data); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("the pod has no volume %s", name)
}

// files returns the files of a secret or of a config map.
func (p *pod) files(ctx context.Context, secret, configMap string) (map[string][]byte, error) {
	if secret != "" {
		found, err := p.node.client.CoreV1().Secrets(p.object.Namespace).Get(ctx, secret, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return found.Data, nil
	}
	found, err := p.node.client.CoreV1().ConfigMaps(p.object.Namespace).Get(ctx, configMap, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for key, text := range found.Data {
		files[key] = []byte(text)
	}
	return files, nil
}

// probe asks the container's readiness probe.
func (p *pod) probe(ctx context.Context, container core.Container) bool {
	if container.ReadinessProbe == nil {
		return true
	}
	get := container.ReadinessProbe.HTTPGet
	port := get.Port.IntVal
	for _, named := range container.Ports {
		if named.Name == get.Port.StrVal {
			port = named.ContainerPort
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		fmt.Sprintf("http://%s:%d%s", p.address, port, get.Path), nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode < http.StatusBadRequest
}

// report sets the status of the pod.
func (p *pod) report(ctx context.Context, phase core.PodPhase, ready bool, state core.ContainerState) {
	container := p.object.Spec.Containers[0]
	is := core.ConditionFalse
	if ready {
		is = core.ConditionTrue
	}
	now := metav1.Now()
	started := phase == core.PodRunning
	status := core.PodStatus{Phase: phase, HostIP: nodeAddress, StartTime: &now,
		ContainerStatuses: []core.ContainerStatus{{Name: container.Name, Image: container.Image, Ready: ready,
			Started: &started, State: state, ContainerID: "process://" + string(p.object.UID)}}}
	for _, condition := range []core.PodConditionType{core.PodInitialized, core.ContainersReady, core.PodReady} {
		value := is
		if condition == core.PodInitialized {
			value = core.ConditionTrue
		}
		status.Conditions = append(status.Conditions,
			core.PodCondition{Type: condition, Status: value, LastTransitionTime: now})
	}
	if phase == core.PodRunning {
		status.PodIP = p.address
		status.PodIPs = []core.PodIP{{IP: p.address}}
	}
	p.node.setStatus(ctx, p.object, status)
}

// wasDeleted reports whether an object no longer exists, or exists again with another UID.
func wasDeleted(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }
