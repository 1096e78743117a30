package test

import (
	"bytes"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

func TestLint(t *testing.T) {
	for _, name := range renderings {
		for _, m := range lint.RunAll(chartFolder, readValues(t, name), namespace).Messages {
			// An icon is only recommended.
			if m.Severity > support.InfoSev {
				t.Errorf("with %s: %v", name, m)
			}
		}
	}
}

// Each rendering has exactly these kinds.
func TestKinds(t *testing.T) {
	want := map[string]string{
		"minimal":    "Deployment Job PodDisruptionBudget Service ServiceAccount",
		"typical":    "Deployment Job NetworkPolicy NetworkPolicy PodDisruptionBudget Service ServiceAccount ServiceMonitor",
		"everything": "Deployment Job NetworkPolicy NetworkPolicy PodDisruptionBudget PrometheusRule ScaledObject Service ServiceAccount ServiceMonitor",
		"naks":       "Deployment ScaledObject Service ServiceMonitor",
		"leaf":       "Deployment Job NetworkPolicy NetworkPolicy PodDisruptionBudget Service ServiceAccount",
	}
	for _, name := range renderings {
		var kinds []string
		for _, o := range mustRender(t, name) {
			kinds = append(kinds, o.GetObjectKind().GroupVersionKind().Kind)
			if m := metaOf(t, o); m.GetNamespace() != namespace || m.GetName() == "" {
				t.Errorf("%s: %T is %s/%s, want a name in %s", name, o, m.GetNamespace(), m.GetName(), namespace)
			}
		}
		slices.Sort(kinds)
		if have := strings.Join(kinds, " "); have != want[name] {
			t.Errorf("%s has %s\nwant %s", name, have, want[name])
		}
	}
}

// Names of release and namespace may look like other YAML types, and a release may have dots.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		release, namespace string
		set                map[string]any
		want               string // the name of the deployment
	}{
		{"5381468", "1234567", map[string]any{"fullnameOverride": "pollers"}, "pollers"},
		{"on", "true", map[string]any{"fullnameOverride": "", "nameOverride": "on"}, "on"},
		{"null", "0x1f", map[string]any{"fullnameOverride": "", "nameOverride": "1e3"}, "null-1e3"},
		{"my.rel", "a", map[string]any{"fullnameOverride": "", "nameOverride": ""}, "my-rel-statusworker"},
		{"statusworker.v2", "a", map[string]any{"fullnameOverride": "", "nameOverride": ""}, "statusworker-v2"},
	} {
		more := map[string]any{"priorityClassName": "1000", "provision.serviceAccountName": "7"}
		for _, name := range renderings {
			found, err := renderAs(t, c.release, c.namespace, with(with(readValues(t, name), c.set), more))
			if err != nil {
				t.Errorf("%s as %s in %s: %v", name, c.release, c.namespace, err)
				continue
			}
			for _, o := range found {
				m := metaOf(t, o)
				if m.GetNamespace() != c.namespace || m.GetLabels()["app.kubernetes.io/instance"] != c.release {
					t.Errorf("%s as %s in %s: %T is in %s, of %s", name, c.release, c.namespace, o, m.GetNamespace(), m.GetLabels())
				}
			}
			if have := one[*apps.Deployment](t, found).Name; have != c.want {
				t.Errorf("%s as %s in %s: the deployment is %s, want %s", name, c.release, c.namespace, have, c.want)
			}
			for _, s := range all[*core.Service](found) {
				if wrong := validation.IsDNS1035Label(s.Name); len(wrong) > 0 {
					t.Errorf("%s as %s: the service %s: %q", name, c.release, s.Name, wrong)
				}
			}
		}
	}
	for _, release := range []string{"2024-prod", "5381468"} {
		if _, err := renderAs(t, release, "a", readValues(t, "minimal")); err == nil || !strings.Contains(err.Error(), "set fullnameOverride") {
			t.Errorf("as %s: %v, want an error that names fullnameOverride", release, err)
		}
	}
	if _, err := render(t, with(readValues(t, "minimal"), map[string]any{"fullnameOverride": "1st"})); err == nil {
		t.Error("a full name that begins with a digit was accepted")
	}
}

// The grace period is longer than the shutdown timeout.
func TestGracePeriod(t *testing.T) {
	for _, timeout := range []string{"20s", "1m30s", "500ms", "1500ms", "1h", "19.999s"} {
		found, err := render(t, with(readValues(t, "minimal"), map[string]any{"work.shutdownTimeout": timeout}))
		if err != nil {
			t.Fatal(err)
		}
		d, err := time.ParseDuration(timeout)
		if err != nil {
			t.Fatal(err)
		}
		grace := time.Duration(*one[*apps.Deployment](t, found).Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
		if more := grace - d; more < 9*time.Second || more > 11*time.Second {
			t.Errorf("grace period %s for a shutdown timeout of %s, want about ten seconds more", grace, timeout)
		}
	}
}

// The selectors for workers match the workers, and not the pods of the provision job.
func TestSelectors(t *testing.T) {
	compared := map[string]bool{}
	for _, name := range renderings {
		found := mustRender(t, name)
		deployment := one[*apps.Deployment](t, found)
		service := one[*core.Service](t, found)
		selectors := map[string]*meta.LabelSelector{
			"deployment": deployment.Spec.Selector,
			"service":    {MatchLabels: service.Spec.Selector},
		}
		for _, p := range all[*policy.PodDisruptionBudget](found) {
			selectors["eviction policy"] = p.Spec.Selector
		}
		for _, p := range all[*networking.NetworkPolicy](found) {
			if p.Name == deployment.Name {
				selectors["network policy"] = &p.Spec.PodSelector
			}
		}
		for _, c := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
			selectors["spread over "+c.TopologyKey] = c.LabelSelector
		}
		for who, selector := range selectors {
			compared[who] = true
			s, err := meta.LabelSelectorAsSelector(selector)
			if err != nil {
				t.Fatal(err)
			}
			if s.Empty() || !s.Matches(labels.Set(deployment.Spec.Template.Labels)) {
				t.Errorf("%s: the selector of the %s, %s, does not match the workers' labels %v", name, who, s, deployment.Spec.Template.Labels)
			}
			for _, job := range all[*batch.Job](found) {
				compared["job"] = true
				if s.Matches(labels.Set(job.Spec.Template.Labels)) {
					t.Errorf("%s: the selector of the %s, %s, matches the provision job", name, who, s)
				}
			}
		}
		for _, m := range all[*monitoring.ServiceMonitor](found) {
			compared["monitor"] = true
			s, err := meta.LabelSelectorAsSelector(&m.Spec.Selector)
			if err != nil {
				t.Fatal(err)
			}
			if s.Empty() || !s.Matches(labels.Set(service.Labels)) {
				t.Errorf("%s: the service monitor's selector %s does not match the service's labels %v", name, s, service.Labels)
			}
			if len(m.Spec.Endpoints) != 1 || m.Spec.Endpoints[0].Port != service.Spec.Ports[0].Name {
				t.Errorf("%s: the service monitor has %v, the service %v", name, m.Spec.Endpoints, service.Spec.Ports)
			}
		}
	}
	for _, who := range []string{"deployment", "service", "eviction policy", "network policy", "job", "monitor"} {
		if !compared[who] {
			t.Errorf("no rendering has a %s", who)
		}
	}
}

// A job that fails ends before its deadline, at which Kubernetes would delete its pod and its log.
func TestProvisionKeepsItsLog(t *testing.T) {
	for _, name := range []string{"minimal", "everything"} {
		job := one[*batch.Job](t, mustRender(t, name))
		args := job.Spec.Template.Spec.Containers[0].Args
		at := slices.Index(args, "--timeout")
		if at < 0 {
			t.Fatalf("%s: the job has no timeout: %q", name, args)
		}
		attempt, err := time.ParseDuration(args[at+1])
		if err != nil {
			t.Fatal(err)
		}
		var all time.Duration
		for n := range *job.Spec.BackoffLimit + 1 {
			all += attempt
			if n > 0 {
				all += 10 * time.Second << (n - 1) // the pause of Kubernetes between them
			}
		}
		if deadline := time.Duration(*job.Spec.ActiveDeadlineSeconds) * time.Second; all >= deadline {
			t.Errorf("%s: all attempts take %s, want less than the deadline of %s", name, all, deadline)
		}
		if job.Annotations["helm.sh/hook-output-log-policy"] != "hook-failed" || strings.Contains(job.Annotations["helm.sh/hook-delete-policy"], "hook-failed") {
			t.Errorf("%s: annotations %v", name, job.Annotations)
		}
	}
}

// The network policy of the job is created before it, selects it, and is deleted with it.
func TestNetworkPolicyOfProvision(t *testing.T) {
	found := mustRender(t, "everything")
	job := one[*batch.Job](t, found)
	if job.Annotations["helm.sh/hook"] != "pre-install,pre-upgrade" {
		t.Errorf("the job is a hook for %q", job.Annotations["helm.sh/hook"])
	}
	for _, p := range all[*networking.NetworkPolicy](found) {
		if p.Name == one[*apps.Deployment](t, found).Name {
			continue
		}
		s, err := meta.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err != nil {
			t.Fatal(err)
		}
		if !s.Matches(labels.Set(job.Spec.Template.Labels)) || p.Annotations["helm.sh/hook"] != job.Annotations["helm.sh/hook"] || p.Annotations["helm.sh/hook-weight"] != "-5" {
			t.Errorf("policy %s: selector %s and annotations %v, want those for the job", p.Name, s, p.Annotations)
		}
		if when := p.Annotations["helm.sh/hook-delete-policy"]; when != "before-hook-creation,hook-succeeded" {
			t.Errorf("policy %s: delete policy %s, but Helm leaves other hooks in the cluster", p.Name, when)
		}
		return
	}
	t.Error("no policy for the provision job")
}

// Network policies allow the ports of the URLs, and the extra rules.
func TestNetworkPolicyPorts(t *testing.T) {
	given := []any{map[string]any{"ports": []any{map[string]any{"port": 5353, "protocol": "UDP"}}}}
	for _, c := range []struct {
		set             map[string]any
		worker, provide []int32 // ports, without those of DNS
	}{
		{nil, []int32{4222, 443}, []int32{4222}},
		{map[string]any{"nats.url": "nats://nats:4333", "vendor.baseUrl": "https://vendor.example:8443/v1"}, []int32{4333, 8443}, []int32{4333}},
		{map[string]any{"nats.url": "nats://a,tls://b:4443,tls://[2001:db8::1]:4443"}, []int32{4222, 4443, 443}, []int32{4222, 4443}},
		{map[string]any{"nats.url": "wss://c,ws://d,wss://e:65535"}, []int32{443, 80, 65535, 443}, []int32{443, 80, 65535}},
		{map[string]any{"nats.url": "nats://nats:4333", "networkPolicy.natsPort": 4222, "networkPolicy.vendorPort": 8443}, []int32{4222, 8443}, []int32{4222}},
		{map[string]any{"networkPolicy.extraEgress": given}, []int32{4222, 443, 5353}, []int32{4222, 5353}},
	} {
		found, err := render(t, with(with(readValues(t, "minimal"), map[string]any{"networkPolicy.enabled": true}), c.set))
		if err != nil {
			t.Fatal(err)
		}
		policies := all[*networking.NetworkPolicy](found)
		if len(policies) != 2 {
			t.Errorf("%v: %d policies, want one for workers and one for the provision job", c.set, len(policies))
		}
		for _, p := range policies {
			var have []int32
			for _, rule := range p.Spec.Egress[1:] { // the first rule is for DNS
				for _, port := range rule.Ports {
					have = append(have, port.Port.IntVal)
				}
			}
			want := c.worker
			if strings.HasSuffix(p.Name, "-provision") {
				want = c.provide
			}
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Errorf("%v: policy %s allows %v, want %v", c.set, p.Name, have, want)
			}
		}
	}
}

// Nodes can be drained while no worker is ready, as during an outage of NATS.
func TestUnhealthyPodEviction(t *testing.T) {
	spec := one[*policy.PodDisruptionBudget](t, mustRender(t, "minimal")).Spec
	if p := spec.UnhealthyPodEvictionPolicy; p == nil || *p != policy.AlwaysAllow {
		t.Errorf("policy %v for pods that are not ready, want %s", p, policy.AlwaysAllow)
	}
}

// Every pod runs with minimal privileges.
func TestSecurity(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range renderings {
		found := mustRender(t, name)
		pods := map[string]core.PodSpec{"worker": one[*apps.Deployment](t, found).Spec.Template.Spec}
		for _, job := range all[*batch.Job](found) {
			pods["provision"] = job.Spec.Template.Spec
		}
		for who, pod := range pods {
			seen[who] = true
			p := pod.SecurityContext
			if p == nil || !*p.RunAsNonRoot || *p.RunAsUser != 65532 || p.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: %s runs with %v", name, who, p)
			}
			if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
				t.Errorf("%s: %s has a token of a service account", name, who)
			}
			if len(pod.Containers) != 1 {
				t.Fatalf("%s: %s has %d containers", name, who, len(pod.Containers))
			}
			c := pod.Containers[0].SecurityContext
			if c == nil || *c.AllowPrivilegeEscalation || !*c.ReadOnlyRootFilesystem || len(c.Capabilities.Add) > 0 || !slices.Equal(c.Capabilities.Drop, []core.Capability{"ALL"}) {
				t.Errorf("%s: %s runs with %v", name, who, c)
			}
			if r := pod.Containers[0].Resources; r.Requests.Cpu().IsZero() || r.Requests.Memory().IsZero() || r.Limits.Memory().IsZero() {
				t.Errorf("%s: %s has resources %v", name, who, r)
			}
		}
	}
	if !seen["provision"] {
		t.Error("no rendering has a provision job")
	}
}

// A platform may assign user ids, and sidecars of the job can be disabled.
func TestPlatformSettings(t *testing.T) {
	found, err := render(t, with(readValues(t, "minimal"), map[string]any{
		"podSecurityContext.runAsUser": nil, "podSecurityContext.runAsGroup": nil, "podSecurityContext.fsGroup": nil,
		"provision.podLabels":      map[string]any{"sidecar.istio.io/inject": "false"},
		"provision.podAnnotations": map[string]any{"linkerd.io/inject": "disabled"},
		"provision.maxAge":         nil,
	}))
	if err != nil {
		t.Fatal(err)
	}
	deployment, job := one[*apps.Deployment](t, found), one[*batch.Job](t, found)
	for who, pod := range map[string]core.PodSpec{"worker": deployment.Spec.Template.Spec, "provision": job.Spec.Template.Spec} {
		if p := pod.SecurityContext; p.RunAsUser != nil || p.RunAsGroup != nil || p.FSGroup != nil || !*p.RunAsNonRoot || p.SeccompProfile == nil {
			t.Errorf("%s runs with %v", who, p)
		}
	}
	if l := job.Spec.Template.Labels; l["sidecar.istio.io/inject"] != "false" || job.Spec.Template.Annotations["linkerd.io/inject"] != "disabled" {
		t.Errorf("the job's pods have labels %v and annotations %v", l, job.Spec.Template.Annotations)
	}
	if _, ok := value(job.Spec.Template.Spec.Containers[0].Env, "STATUSWORKER_MAX_AGE"); ok {
		t.Error("a variable is set for a null value")
	}
}

// Secrets are mounted as files, or are variables from a Kubernetes secret. No pod spec contains one.
func TestSecrets(t *testing.T) {
	for _, name := range renderings {
		found := mustRender(t, name)
		deployment := one[*apps.Deployment](t, found)
		pods := map[string]core.PodSpec{"worker": deployment.Spec.Template.Spec}
		for _, job := range all[*batch.Job](found) {
			pods["provision"] = job.Spec.Template.Spec
		}
		for who, pod := range pods {
			c := pod.Containers[0]
			if args := strings.Join(c.Args, " "); strings.ContainsAny(args, "=/") {
				t.Errorf("%s: %s has the arguments %q, want no values", name, who, args)
			}
			for _, e := range c.Env {
				if (e.Name == "NATS_USER" || e.Name == "NATS_PASSWORD") && (e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil) {
					t.Errorf("%s: %s has %s with the value %q", name, who, e.Name, e.Value)
				}
				if e.Name == "ELEVATEAI_API_TOKEN" {
					t.Errorf("%s: %s has the API token as a variable, which a changed secret does not update", name, who)
				}
				if file := e.Value; strings.HasPrefix(file, "/etc/statusworker/") && !mounted(pod, file) {
					t.Errorf("%s: %s has %s=%s, which is not mounted", name, who, e.Name, file)
				}
			}
			for _, m := range c.VolumeMounts {
				if m.SubPath != "" || !m.ReadOnly {
					t.Errorf("%s: %s mounts %s at %s with subPath %q, read-only %t; want a directory, read-only",
						name, who, m.Name, m.MountPath, m.SubPath, m.ReadOnly)
				}
			}
		}
		if file, ok := value(deployment.Spec.Template.Spec.Containers[0].Env, "ELEVATEAI_API_TOKEN_FILE"); !ok {
			t.Errorf("%s: the worker has no token file: %s", name, file)
		}
		for _, job := range all[*batch.Job](found) {
			for _, v := range job.Spec.Template.Spec.Volumes {
				if v.Secret != nil && v.Secret.SecretName == "elevateai" {
					t.Errorf("%s: provision has the API token, which it does not need", name)
				}
			}
		}
	}
}

// mounted reports whether an existing volume is mounted in the directory of file, with that key.
func mounted(pod core.PodSpec, file string) bool {
	for _, m := range pod.Containers[0].VolumeMounts {
		if m.MountPath != path.Dir(file) {
			continue
		}
		for _, v := range pod.Volumes {
			var items []core.KeyToPath
			switch {
			case v.Name != m.Name:
				continue
			case v.Secret != nil && v.Secret.SecretName != "":
				items = v.Secret.Items
			case v.ConfigMap != nil && v.ConfigMap.Name != "":
				items = v.ConfigMap.Items
			default:
				continue
			}
			return len(items) == 0 || slices.ContainsFunc(items, func(i core.KeyToPath) bool { return i.Path == path.Base(file) })
		}
	}
	return false
}

// Certificate authorities for the vendor come from a secret or a config map, with only the given key.
func TestVendorAuthorities(t *testing.T) {
	for name, want := range map[string]string{"everything": "secret private-authority/authority.pem", "typical": "config map trusted/ca.crt", "minimal": "", "naks": ""} {
		have := ""
		for _, v := range one[*apps.Deployment](t, mustRender(t, name)).Spec.Template.Spec.Volumes {
			switch {
			case v.Name != "elevateai-ca":
			case v.Secret != nil:
				have += "secret " + v.Secret.SecretName + "/" + v.Secret.Items[0].Key
			case v.ConfigMap != nil:
				have += "config map " + v.ConfigMap.Name + "/" + v.ConfigMap.Items[0].Key
			}
		}
		if have != want {
			t.Errorf("%s: authorities from %q, want %q", name, have, want)
		}
	}
}

// Job and workers share settings, and each has its own credentials.
func TestVariables(t *testing.T) {
	everything, typical, naks, minimal := mustRender(t, "everything"), mustRender(t, "typical"), mustRender(t, "naks"), mustRender(t, "minimal")
	leaf := mustRender(t, "leaf")
	worker := func(o objects) core.Container { return one[*apps.Deployment](t, o).Spec.Template.Spec.Containers[0] }
	provision := func(o objects) core.Container { return one[*batch.Job](t, o).Spec.Template.Spec.Containers[0] }
	for _, c := range []struct {
		who        string
		in         core.Container
		name, want string
	}{
		{"worker, everything", worker(everything), "STATUSWORKER_NAMESPACE", "eu-west_1"},
		{"provision, everything", provision(everything), "STATUSWORKER_NAMESPACE", "eu-west_1"},
		{"worker, minimal", worker(minimal), "STATUSWORKER_NAMESPACE", "interactions"},
		{"worker, everything", worker(everything), "NATS_CREDS", "/etc/statusworker/nats/nats.creds"},
		{"worker, everything", worker(everything), "NATS_CA", "/etc/statusworker/nats-tls/ca.crt"},
		{"worker, everything", worker(everything), "NATS_CERT", "/etc/statusworker/nats-tls/tls.crt"},
		{"worker, everything", worker(everything), "ELEVATEAI_API_TOKEN_FILE", "/etc/statusworker/elevateai/api-token"},
		{"worker, everything", worker(everything), "ELEVATEAI_CA_FILE", "/etc/statusworker/elevateai-ca/authority.pem"},
		{"worker, typical", worker(typical), "ELEVATEAI_CA_FILE", "/etc/statusworker/elevateai-ca/ca.crt"},
		{"worker, everything", worker(everything), "STATUSWORKER_MAX_POLLS_PER_SECOND", "250.5"},
		{"worker, everything", worker(everything), "STATUSWORKER_AUDIO_INTERVAL", "45s"},
		{"worker, everything", worker(everything), "STATUSWORKER_SHUTDOWN_TIMEOUT", "1m30s"},
		{"worker, everything", worker(everything), "STATUSWORKER_FAILED_STATUS", "transcriptionFailed,quotaExceeded"},
		{"worker, everything", worker(everything), "OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"},
		{"provision, everything", provision(everything), "NATS_NKEY", "/etc/statusworker/nats/nats.nk"},
		{"provision, everything", provision(everything), "NATS_INBOX_PREFIX", "_INBOX_worker"},
		{"provision, everything", provision(everything), "STATUSWORKER_AUDIO_INTERVAL", "45s"},
		{"provision, everything", provision(everything), "STATUSWORKER_REPLICAS", "5"},
		{"provision, everything", provision(everything), "STATUSWORKER_OUTCOMES_MAX_BYTES", "10737418240"},
		{"provision, everything", provision(everything), "STATUSWORKER_DECLARED_MAX_MSGS", "5000000"},
		{"provision, everything", provision(everything), "STATUSWORKER_REDELIVERY", "schedule"},
		{"worker, typical", worker(typical), "NATS_USER", "secret nats-worker/user"},
		{"worker, typical", worker(typical), "NATS_PASSWORD", "secret nats-worker/password"},
		{"worker, typical", worker(typical), "NATS_INBOX_PREFIX", "_INBOX_worker"},
		{"provision, typical", provision(typical), "NATS_USER", "secret nats-provision/user"},
		{"provision, typical", provision(typical), "NATS_INBOX_PREFIX", "_INBOX_provision"},
		{"worker, naks", worker(naks), "NATS_USER", "secret nats-worker/user"},
		{"worker, minimal", worker(minimal), "STATUSWORKER_MAX_POLLS_PER_SECOND", "0"},
		{"worker, leaf", worker(leaf), "NATS_CONTEXT", "/etc/statusworker/nats-context/hub.json"},
		{"worker, leaf", worker(leaf), "NATS_JS_DOMAIN", "hub"},
		{"worker, leaf", worker(leaf), "NATS_SOCKS_PROXY", "secret nats-proxy/url"},
		{"worker, leaf", worker(leaf), "NATS_TLSFIRST", "true"},
		{"worker, leaf", worker(leaf), "NATS_JWT", "/etc/statusworker/nats/user.jwt"},
		{"worker, leaf", worker(leaf), "NATS_SEED", "/etc/statusworker/nats/user.nk"},
		{"provision, leaf", provision(leaf), "NATS_JS_DOMAIN", "hub"},
		{"provision, leaf", provision(leaf), "NATS_INBOX_PREFIX", "_INBOX_provision"},
		{"provision, leaf", provision(leaf), "NATS_SEED", "/etc/statusworker/nats/seed"},
		{"worker, typical", worker(typical), "NATS_JS_API_PREFIX", "hub.API"},
	} {
		if have, ok := value(c.in.Env, c.name); !ok || have != c.want {
			t.Errorf("%s: %s is %q (set: %t), want %q", c.who, c.name, have, ok, c.want)
		}
	}
	for _, c := range []struct {
		who  string
		in   core.Container
		name string
	}{
		{"worker, naks", worker(naks), "NATS_PASSWORD"},
		{"worker, leaf", worker(leaf), "NATS_INBOX_PREFIX"}, // that of the context
		{"worker, minimal", worker(minimal), "NATS_USER"},
		{"worker, minimal", worker(minimal), "NATS_CREDS"},
		{"worker, minimal", worker(minimal), "ELEVATEAI_CA_FILE"},
		{"provision, everything", provision(everything), "ELEVATEAI_CA_FILE"},
		{"provision, minimal", provision(minimal), "STATUSWORKER_REPLICAS"},
		{"provision, minimal", provision(minimal), "STATUSWORKER_MAX_AGE"},
	} {
		if have, ok := value(c.in.Env, c.name); ok {
			t.Errorf("%s: %s is %q, want it unset", c.who, c.name, have)
		}
	}
	if have := strings.Join(provision(everything).Args, " "); have != "provision --timeout 30s --update" {
		t.Errorf("arguments %q with provision.update", have)
	}
	if have := strings.Join(provision(minimal).Args, " "); have != "provision --timeout 60s" {
		t.Errorf("arguments %q without provision.update", have)
	}
	for name, in := range map[string]objects{"minimal": minimal, "everything": everything, "naks": naks} {
		env := worker(in).Env
		for i, e := range env {
			if slices.ContainsFunc(env[:i], func(before core.EnvVar) bool { return before.Name == e.Name }) {
				t.Errorf("%s: %s is set twice", name, e.Name)
			}
		}
	}
}

// notByValues are the variables that no value of the chart sets, with the reason.
var notByValues = map[string]string{
	"NATS_TOKEN":              "the method token sets NATS_USER",
	"ELEVATEAI_API_TOKEN":     "a changed secret does not update a variable; the token is a file",
	"STATUSWORKER_ADMIN_ADDR": "probes and service use the default",
	"STATUSWORKER_PPROF_ADDR": "only for a port-forward, by extraEnv",
}

// A value sets each variable in the flag tables of docs/configuration.md.
func TestEverySettingIsReachable(t *testing.T) {
	text, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "<!-- flags -->")
	table, _, _ = strings.Cut(table, "<!-- /flags -->")
	found := mustRender(t, "everything")
	more := slices.Concat(mustRender(t, "typical"), mustRender(t, "naks"), mustRender(t, "leaf"))
	set := map[string]bool{}
	for _, d := range append(all[*apps.Deployment](found), all[*apps.Deployment](more)...) {
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			set[e.Name] = true
		}
	}
	for _, j := range append(all[*batch.Job](found), all[*batch.Job](more)...) {
		for _, e := range j.Spec.Template.Spec.Containers[0].Env {
			set[e.Name] = true
		}
	}
	rows := regexp.MustCompile("(?m)^\\| `--[-a-z0-9]+` \\| `([A-Z0-9_]+)` ").FindAllStringSubmatch(table, -1)
	if len(rows) < 20 {
		t.Fatalf("docs/configuration.md has %d variables in its flag tables", len(rows))
	}
	for _, row := range rows {
		if name := row[1]; !set[name] && notByValues[name] == "" {
			t.Errorf("no value sets %s: add one to the chart, or add the variable to notByValues", name)
		}
	}
}

// The defaults of the chart and of the command line are the same.
func TestDefaultsAreTheFlags(t *testing.T) {
	text, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	env := one[*apps.Deployment](t, mustRender(t, "minimal")).Spec.Template.Spec.Containers[0].Env
	rows := regexp.MustCompile("(?m)^\\| `--[-a-z0-9]+` \\| `(STATUSWORKER_[A-Z0-9_]+|ELEVATEAI_BASE_URL|NATS_INBOX_PREFIX)` \\| `([^`]*)` ").FindAllStringSubmatch(string(text), -1)
	compared := 0
	for _, row := range rows {
		have, ok := value(env, row[1])
		if !ok || row[1] == "STATUSWORKER_LOG_FORMAT" { // json, because no pod has a terminal
			continue
		}
		compared++
		if have != row[2] {
			t.Errorf("%s is %q by default, want the default of the command line, %q", row[1], have, row[2])
		}
	}
	if compared < 10 {
		t.Errorf("only %d defaults were compared", compared)
	}
}

func TestAutoscaling(t *testing.T) {
	for name, kinds := range map[string][]string{"everything": {"nats-jetstream", "nats-jetstream", "nats-jetstream"}, "naks": {"prometheus", "prometheus"}} {
		found := mustRender(t, name)
		deployment, scaled := one[*apps.Deployment](t, found), one[*keda.ScaledObject](t, found)
		if deployment.Spec.Replicas != nil {
			t.Errorf("%s: the deployment has %d replicas, want none set", name, *deployment.Spec.Replicas)
		}
		if to := scaled.Spec.ScaleTargetRef; to.Kind != "Deployment" || to.APIVersion != "apps/v1" || to.Name != deployment.Name {
			t.Errorf("%s: scale target %v", name, to)
		}
		// KEDA's webhook warns about these.
		if scaled.Spec.PollingInterval != nil && scaled.UsesHPAObservations() {
			t.Errorf("%s: the polling interval has no effect", name)
		}
		if scaled.Spec.CooldownPeriod != nil && *scaled.Spec.MinReplicaCount > 0 && scaled.Spec.IdleReplicaCount == nil {
			t.Errorf("%s: the cooldown period has no effect", name)
		}
		if err := keda.CheckFallbackValid(scaled); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var have []string
		names := map[string]bool{}
		for _, trigger := range scaled.Spec.Triggers {
			have = append(have, trigger.Type)
			names[trigger.Name] = true
		}
		if !slices.Equal(have, kinds) || len(names) != len(kinds) {
			t.Errorf("%s: triggers %v with the names %v, want %v", name, have, names, kinds)
		}
	}
	for _, trigger := range one[*keda.ScaledObject](t, mustRender(t, "everything")).Spec.Triggers {
		if trigger.Metadata["stream"] != "EU-WEST_1_POLLS" || trigger.Metadata["consumer"] != "poll-"+trigger.Name {
			t.Errorf("%s has the metadata %v", trigger.Name, trigger.Metadata)
		}
	}
	for _, trigger := range one[*keda.ScaledObject](t, mustRender(t, "naks")).Spec.Triggers {
		const selects = `namespace="pipeline",job="prod-statusworker"}`
		query := trigger.Metadata["query"]
		if every := strings.Count(query, "{"); every == 0 || strings.Count(query, selects) != every {
			t.Errorf("%s has the query %s, want each metric with %s", trigger.Name, query, selects)
		}
		if want := map[string]string{"lateness": "1.5", "load": "38.40"}[trigger.Name]; trigger.Metadata["threshold"] != want {
			t.Errorf("%s has the threshold %s, want %s", trigger.Name, trigger.Metadata["threshold"], want)
		}
		if trigger.AuthenticationRef == nil || trigger.AuthenticationRef.Name != "prometheus" || trigger.Metadata["authModes"] != "bearer" {
			t.Errorf("%s has the authentication %v and the metadata %v", trigger.Name, trigger.AuthenticationRef, trigger.Metadata)
		}
	}
}

// With a rate limit, lateness does not add workers, because polls beyond the limit are late with any number of workers.
func TestAutoscalingWithARateLimit(t *testing.T) {
	for rateLimit, want := range map[float64][]string{0: {"load", "lateness"}, 0.5: {"load"}, 100: {"load"}} {
		found, err := render(t, with(readValues(t, "naks"), map[string]any{"work.maxPollsPerSecond": rateLimit}))
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, trigger := range one[*keda.ScaledObject](t, found).Spec.Triggers {
			have = append(have, trigger.Name)
		}
		if !slices.Equal(have, want) {
			t.Errorf("triggers %v with a rate limit of %g, want %v", have, rateLimit, want)
		}
	}
}

// The chart has the rules of deploy/prometheus. They are a copy and no link, so that the chart's folder can be copied
// without other files.
func TestPrometheusRule(t *testing.T) {
	const theirs, own = "../../prometheus/rules.yaml", chartFolder + "/files/rules.yaml"
	text, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, copied) {
		t.Errorf("the chart's rules differ from those of deploy/prometheus; run\n\tcp %s %s", theirs, own)
	}
	var want monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(text, &want); err != nil {
		t.Fatal(err)
	}
	have := one[*monitoring.PrometheusRule](t, mustRender(t, "everything")).Spec
	if len(want.Groups) == 0 || !reflect.DeepEqual(have, want) {
		t.Errorf("rendered rules %v, want %v", have, want)
	}
	byRule := func(set map[string]any) map[string]monitoring.Rule {
		found, err := render(t, with(readValues(t, "minimal"), with(map[string]any{"prometheusRule": map[string]any{"enabled": true}}, set)))
		if err != nil {
			t.Fatal(err)
		}
		rules := map[string]monitoring.Rule{}
		for _, rule := range one[*monitoring.PrometheusRule](t, found).Spec.Groups[0].Rules {
			rules[rule.Alert] = rule
		}
		return rules
	}
	const base = "https://wiki.example/statusworker?page=operations"
	linked := byRule(map[string]any{"prometheusRule.runbookBase": base})
	for _, rule := range want.Groups[0].Rules {
		if rule.Alert == "" {
			continue
		}
		url := base + "#" + strings.ToLower(rule.Alert)
		if have := linked[rule.Alert].Annotations; have["runbook_url"] != url || have["runbook"] != "" || have["summary"] != rule.Annotations["summary"] {
			t.Errorf("%s: annotations %v with runbookBase", rule.Alert, have)
		}
	}
	for deadline, than := range map[string]string{"24h": "6 * 3600", "23h": "20700", "4h": "3600", "335h": "6 * 3600"} {
		const alert = "StatusworkerOldestWaiting"
		expr := byRule(map[string]any{"work.deadline": deadline})[alert].Expr.StrVal
		if !strings.HasSuffix(strings.TrimSpace(expr), " > "+than) {
			t.Errorf("%s with a deadline of %s: expression %q, want more than %s", alert, deadline, expr, than)
		}
	}
	alone := t.TempDir()
	if err := os.CopyFS(alone, os.DirFS(chartFolder)); err != nil {
		t.Fatal(err)
	}
	if _, err := loader.LoadDir(alone); err != nil {
		t.Errorf("a copy of the chart's folder: %v", err)
	}
}
