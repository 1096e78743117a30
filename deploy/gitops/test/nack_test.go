package gitops

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.yaml.in/yaml/v3"
)

// resource is a custom resource of NACK.
type resource struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       map[string]any
}

// property is a property of NACK's CRD (jetstream.nats.io/v1beta2, of NACK 0.22): its type, what is allowed, what the
// API server or the controller fills in, and the field of JetStream's API that the controller sets. Without such a
// value, an absent property keeps the field's zero value.
type property struct {
	kind     string // string, integer, boolean, strings or duration
	enum     []string
	fallback any
	api      string
}

var crds = map[string]map[string]property{
	"Stream": {
		"name":               {kind: "string", api: "name"},
		"description":        {kind: "string", api: "description"},
		"subjects":           {kind: "strings", api: "subjects"},
		"retention":          {kind: "string", enum: []string{"limits", "interest", "workqueue"}, fallback: "limits", api: "retention"},
		"maxConsumers":       {kind: "integer", fallback: -1, api: "max_consumers"},
		"maxMsgs":            {kind: "integer", fallback: -1, api: "max_msgs"},
		"maxBytes":           {kind: "integer", fallback: -1, api: "max_bytes"},
		"discard":            {kind: "string", enum: []string{"old", "new"}, fallback: "old", api: "discard"},
		"discardPerSubject":  {kind: "boolean", api: "discard_new_per_subject"},
		"maxAge":             {kind: "duration", fallback: "8760h", api: "max_age"},
		"maxMsgsPerSubject":  {kind: "integer", api: "max_msgs_per_subject"},
		"maxMsgSize":         {kind: "integer", fallback: -1, api: "max_msg_size"},
		"storage":            {kind: "string", enum: []string{"file", "memory"}, fallback: "memory", api: "storage"},
		"replicas":           {kind: "integer", fallback: 1, api: "num_replicas"},
		"duplicateWindow":    {kind: "duration", api: "duplicate_window"},
		"denyDelete":         {kind: "boolean", api: "deny_delete"},
		"denyPurge":          {kind: "boolean", api: "deny_purge"},
		"allowRollup":        {kind: "boolean", api: "allow_rollup_hdrs"},
		"allowDirect":        {kind: "boolean", api: "allow_direct"},
		"allowMsgTtl":        {kind: "boolean", api: "allow_msg_ttl"},
		"allowAtomicPublish": {kind: "boolean", api: "allow_atomic"},
		"allowMsgSchedules":  {kind: "boolean", api: "allow_msg_schedules"},
		"preventDelete":      {kind: "boolean"},
	},
	"KeyValue": {
		"bucket":        {kind: "string", api: "bucket"},
		"description":   {kind: "string", api: "description"},
		"history":       {kind: "integer", api: "history"},
		"ttl":           {kind: "duration", api: "ttl"},
		"maxBytes":      {kind: "integer", api: "max_bytes"},
		"storage":       {kind: "string", enum: []string{"file", "memory"}, api: "storage"},
		"replicas":      {kind: "integer", fallback: 1, api: "num_replicas"},
		"preventDelete": {kind: "boolean"},
	},
	"Consumer": {
		"streamName":    {kind: "string"},
		"durableName":   {kind: "string", api: "durable_name"},
		"deliverPolicy": {kind: "string", enum: []string{"all", "last", "new"}, fallback: "all", api: "deliver_policy"},
		"ackPolicy":     {kind: "string", enum: []string{"none", "all", "explicit"}, fallback: "none", api: "ack_policy"},
		"ackWait":       {kind: "duration", fallback: "1ns", api: "ack_wait"},
		"maxDeliver":    {kind: "integer", api: "max_deliver"},
		"filterSubject": {kind: "string", api: "filter_subject"},
		"replayPolicy":  {kind: "string", enum: []string{"instant", "original"}, fallback: "instant", api: "replay_policy"},
		"maxAckPending": {kind: "integer", api: "max_ack_pending"},
		"preventDelete": {kind: "boolean"},
	},
}

// resourceName is what Kubernetes accepts as the name of a resource.
var resourceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// config checks a resource against its CRD, and returns the configuration that NACK's controller makes of it.
func (r resource) config(t *testing.T) map[string]any {
	t.Helper()
	if r.APIVersion != "jetstream.nats.io/v1beta2" || !resourceName.MatchString(r.Metadata.Name) ||
		len(r.Metadata.Name) > 253 {
		t.Errorf("resource %s %q of %s is not valid", r.Kind, r.Metadata.Name, r.APIVersion)
	}
	crd := crds[r.Kind]
	for name := range r.Spec {
		if _, ok := crd[name]; !ok {
			t.Errorf("%s %s: the CRD has no property %s; the API server would drop it", r.Kind, r.Metadata.Name, name)
		}
	}
	cfg := map[string]any{}
	for name, p := range crd {
		v, ok := r.Spec[name]
		if !ok {
			v = p.fallback
		}
		if v == nil {
			continue
		}
		if s, isString := v.(string); len(p.enum) > 0 && (!isString || !slices.Contains(p.enum, s)) {
			t.Errorf("%s %s: %s is %v, want one of %v", r.Kind, r.Metadata.Name, name, v, p.enum)
		}
		valid := false
		switch of := v.(type) {
		case string:
			valid = p.kind == "string"
			if d, err := time.ParseDuration(of); p.kind == "duration" && err == nil {
				valid, v = true, d
			}
		case int:
			valid = p.kind == "integer"
		case bool:
			valid = p.kind == "boolean"
		case []any:
			valid = p.kind == "strings" && len(of) > 0
		}
		if !valid {
			t.Errorf("%s %s: %s is %v, want a %s", r.Kind, r.Metadata.Name, name, v, p.kind)
		}
		if p.api != "" {
			cfg[p.api] = v
		}
	}
	return cfg
}

// apply creates what a resource describes, as NACK's controller does: streams and consumers in pedantic mode, in
// which the broker rejects what it would change, and buckets by nats.go.
func (r resource) apply(t *testing.T, nc *nats.Conn, js jetstream.JetStream) {
	t.Helper()
	cfg := r.config(t)
	var subject string
	request := map[string]any{"pedantic": true}
	switch r.Kind {
	case "KeyValue":
		// The remaining settings are those of each bucket.
		c := jetstream.KeyValueConfig{Bucket: cfg["bucket"].(string), History: uint8(cfg["history"].(int)),
			TTL: cfg["ttl"].(time.Duration), Replicas: cfg["num_replicas"].(int)}
		c.Description, _ = cfg["description"].(string)
		if n, ok := cfg["max_bytes"].(int); ok {
			c.MaxBytes = int64(n)
		}
		if _, err := js.CreateKeyValue(t.Context(), c); err != nil {
			t.Errorf("bucket %s: %v", c.Bucket, err)
		}
		return
	case "Stream":
		for name, v := range cfg {
			request[name] = v
		}
		subject = "STREAM.CREATE." + cfg["name"].(string)
	case "Consumer":
		stream := r.Spec["streamName"].(string)
		request["stream_name"], request["config"], request["action"] = stream, cfg, "create"
		subject = "CONSUMER.DURABLE.CREATE." + stream + "." + cfg["durable_name"].(string)
	default:
		t.Fatalf("unknown kind %s", r.Kind)
	}
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	m, err := nc.Request("$JS.API."+subject, body, 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	var answer struct{ Error *struct{ Description string } }
	if err := json.Unmarshal(m.Data, &answer); err != nil || answer.Error != nil {
		t.Errorf("%s: %v, %s", subject, err, m.Data)
	}
}

// Resources for NACK are valid, and what NACK makes of them differs in nothing from what workers need.
func TestNACK(t *testing.T) {
	t.Parallel()
	for name, flags := range everything {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, nc, js := broker(t)
			printed, err := command(t, url, statusworker, append([]string{"provision", "--output=nack"}, flags...)...)
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			for decoder := yaml.NewDecoder(strings.NewReader(printed)); ; {
				var r resource
				if err := decoder.Decode(&r); err != nil {
					break // the end; fits finds what is missing
				}
				r.apply(t, nc, js)
				names[r.Kind+" "+r.Metadata.Name] = true
			}
			if want := strings.Count(printed, "\napiVersion: "); len(names) != want || want == 0 {
				t.Errorf("%d distinct resources of %d", len(names), want)
			}
			fits(t, url)
		})
	}
}

// A property that NACK's CRD does not know is dropped. `provision` reports what is then missing.
func TestNACKWithAnOldCRD(t *testing.T) {
	t.Parallel()
	url, nc, js := broker(t)
	printed, err := command(t, url, statusworker, "provision", "--output=nack")
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewDecoder(strings.NewReader(printed)); ; {
		var r resource
		if err := decoder.Decode(&r); err != nil {
			break
		}
		delete(r.Spec, "allowMsgSchedules")
		r.apply(t, nc, js)
	}
	out, err := command(t, url, statusworker, "provision", "--dry-run")
	if err == nil || !strings.Contains(out, "message schedules is false, should be true") {
		t.Errorf("the missing property is not reported: %v\n%s", err, out)
	}
	if _, err := command(t, url, statusworker, "provision", "--update"); err != nil {
		t.Error(err)
	}
	fits(t, url)
}
