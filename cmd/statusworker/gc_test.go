package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"statusworker/consumer"
)

// A worker collects garbage less often than other programs, unless the variable GOGC is set.
func TestGarbageCollection(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]int{"": consumer.GCPercent, "70": 70} {
		t.Run("GOGC="+variable, func(t *testing.T) {
			t.Parallel()
			at, _ := provisioned(t)
			env := workerEnv(at, newBlockingVendor(t).url)
			admin := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			env["STATUSWORKER_ADMIN_ADDR"], env["GOGC"] = admin, variable
			c := processOf(t, env, "run").launch()
			c.logs(`"working"`)
			answer, err := http.Get("http://" + admin + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			metrics, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if line := fmt.Sprintf("\ngo_gc_gogc_percent %d\n", want); !strings.Contains(string(metrics), line) {
				t.Errorf("the metrics do not contain %q", line)
			}
		})
	}
}
