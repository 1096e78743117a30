package test

import (
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
)

// named returns the object of a type with the name of the console, or without it.
func named[T interface {
	meta.Object
	comparable
}](t *testing.T, in objects, console bool) T {
	t.Helper()
	var found []T
	for _, o := range in {
		if o, ok := o.(T); ok && strings.HasSuffix(o.GetName(), "-console") == console {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects of type %T, want one", len(found), *new(T))
	}
	return found[0]
}

// The console is off by default. Its objects select its own pods, and not the workers.
func TestConsole(t *testing.T) {
	for _, name := range renderings {
		for _, o := range mustRender(t, name) {
			if m := metaOf(t, o); strings.Contains(m.GetName(), "console") {
				t.Errorf("%s has the %T %s", name, o, m.GetName())
			}
		}
	}
	for _, m := range lint.RunAll(chartFolder, readValues(t, "console"), namespace).Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
	found := mustRender(t, "console")
	worker, console := named[*apps.Deployment](t, found, false), named[*apps.Deployment](t, found, true)
	service, policy := named[*core.Service](t, found, true), named[*networking.NetworkPolicy](t, found, true)
	for what, selector := range map[string]*meta.LabelSelector{
		"deployment": console.Spec.Selector, "service": {MatchLabels: service.Spec.Selector}, "policy": &policy.Spec.PodSelector,
	} {
		s, err := meta.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		if !s.Matches(labels.Set(console.Spec.Template.Labels)) || s.Matches(labels.Set(worker.Spec.Template.Labels)) {
			t.Errorf("%s: selector %s", what, s)
		}
	}
	for what, selector := range map[string]*meta.LabelSelector{
		"workers": worker.Spec.Selector, "workers' service": {MatchLabels: named[*core.Service](t, found, false).Spec.Selector},
	} {
		s, err := meta.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		if s.Matches(labels.Set(console.Spec.Template.Labels)) {
			t.Errorf("the selector of the %s, %s, matches the console", what, s)
		}
	}
	c := console.Spec.Template.Spec.Containers[0]
	if service.Spec.Ports[0].TargetPort.StrVal != c.Ports[0].Name || c.Ports[0].ContainerPort != 8090 {
		t.Errorf("the service has %v, the container %v", service.Spec.Ports, c.Ports)
	}
	if in := policy.Spec.Ingress; len(in) != 1 || len(in[0].From) != 1 || in[0].Ports[0].Port.IntVal != 8090 {
		t.Errorf("the policy allows %v", in)
	}
	var out []int32
	for _, rule := range policy.Spec.Egress {
		for _, port := range rule.Ports {
			out = append(out, port.Port.IntVal)
		}
	}
	if !slices.Equal(out, []int32{53, 53, 4222}) {
		t.Errorf("the policy allows requests to the ports %v", out)
	}
}

// The console runs with minimal privileges, as a NATS user of its own, and without the vendor's token.
func TestConsolePod(t *testing.T) {
	pod := named[*apps.Deployment](t, mustRender(t, "console"), true).Spec.Template.Spec
	c := pod.Containers[0]
	want := "console --addr :8090 --host console.example,10.0.0.7 --allow-writes --base-path /statusworker " +
		"--password-file /etc/statusworker/console/htpasswd"
	if have := strings.Join(c.Args, " "); have != want {
		t.Errorf("arguments %s\nwant %s", have, want)
	}
	for name, want := range map[string]string{
		"NATS_USER": "secret nats-operator/user", "NATS_PASSWORD": "secret nats-operator/password",
		"NATS_INBOX_PREFIX": "_INBOX_operator", "NATS_URL": "tls://nats:4222", "NATS_CA": "/etc/statusworker/nats-tls/ca.crt",
	} {
		if have, _ := value(c.Env, name); have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	for _, e := range c.Env {
		if strings.HasPrefix(e.Name, "ELEVATEAI_") {
			t.Errorf("the console has the variable %s", e.Name)
		}
		if strings.HasPrefix(e.Value, "/etc/") && !mounted(pod, e.Value) {
			t.Errorf("%s=%s is not mounted", e.Name, e.Value)
		}
	}
	if !mounted(pod, "/etc/statusworker/console/htpasswd") {
		t.Error("the file of users is not mounted")
	}
	for _, v := range pod.Volumes {
		if v.Secret == nil || v.Secret.SecretName == "elevateai" || v.Secret.SecretName == "nats-worker" {
			t.Errorf("the console has the volume %v", v)
		}
	}
	for probe, path := range map[*core.Probe]string{
		c.LivenessProbe: "/statusworker/livez", c.ReadinessProbe: "/statusworker/readyz",
	} {
		if probe == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "http" {
			t.Errorf("probe %v, want one of %s", probe, path)
		}
	}
	if p := pod.SecurityContext; !*p.RunAsNonRoot || p.SeccompProfile == nil || *pod.AutomountServiceAccountToken {
		t.Errorf("the pod runs with %v", pod)
	}
	if s := c.SecurityContext; s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Errorf("the container runs with %v", s)
	}
	if r := c.Resources; r.Requests.Cpu().IsZero() || r.Limits.Memory().IsZero() {
		t.Errorf("resources %v", r)
	}
}

// Behind a proxy that authenticates users, the console has no passwords.
func TestConsoleBehindAProxy(t *testing.T) {
	found, err := render(t, with(readValues(t, "console"), map[string]any{
		"console.passwords.existingSecret": "", "console.userHeader": "X-Forwarded-User", "console.allowWrites": false, "console.basePath": "",
		"nats.tls.existingSecret": "",
	}))
	if err != nil {
		t.Fatal(err)
	}
	pod := named[*apps.Deployment](t, found, true).Spec.Template.Spec
	if have := strings.Join(pod.Containers[0].Args, " "); have != "console --addr :8090 --host console.example,10.0.0.7 --user-header X-Forwarded-User" {
		t.Errorf("arguments %s", have)
	}
	if len(pod.Volumes) > 0 || pod.Containers[0].LivenessProbe.HTTPGet.Path != "/livez" {
		t.Errorf("volumes %v, probe %v", pod.Volumes, pod.Containers[0].LivenessProbe)
	}
}

// A console without users, without names, without peers, or as the workers' user is refused.
func TestConsoleRefusals(t *testing.T) {
	for _, c := range []struct {
		set  map[string]any
		want string
	}{
		{map[string]any{"console.hosts": []any{}}, "/console/hosts"},
		{map[string]any{"console.hosts": []any{"console.example:80"}}, "/console/hosts"},
		{map[string]any{"console.from": []any{}}, "/console/from"},
		{map[string]any{"console.basePath": "statusworker"}, "/console/basePath"},
		{map[string]any{"console.basePath": "/statusworker/"}, "/console/basePath"},
		{map[string]any{"console.basePath": "/a/../b"}, "/console/basePath"},
		{map[string]any{"console.userHeader": "X User"}, "/console/userHeader"},
		{map[string]any{"console.userHeader": "X-User"}, "console.passwords.existingSecret is console-users and console.userHeader is X-User"},
		{map[string]any{"console.passwords.existingSecret": ""}, "console.passwords.existingSecret and console.userHeader are empty"},
		{map[string]any{"console.nats.auth": map[string]any{"method": "none"}}, "console.nats.auth.method is none"},
		{map[string]any{"nats.auth": map[string]any{"method": "none"}, "nats.context.existingSecret": "x", "console.nats.auth": map[string]any{"method": "none"}}, "nats.context.existingSecret is x and console.nats.auth.method is none"},
		{map[string]any{"console.nats.auth.existingSecret": "nats-worker"}, "console.nats.auth is that of the workers"},
	} {
		if _, err := render(t, with(readValues(t, "console"), c.set)); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "'", ""), c.want) {
			t.Errorf("%v: error %v, want %q in it", c.set, err, c.want)
		}
	}
}
