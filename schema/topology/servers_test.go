package topology_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/topology"
)

// The kinds of streams that faults of servers concern: with redelivery by schedules, and with delayed naks.
var (
	bucket = jetstream.StreamConfig{
		Name:              "KV_B",
		MaxMsgsPerSubject: 1,
		MaxAge:            time.Second,
		Storage:           jetstream.FileStorage,
	}
	work         = jetstream.StreamConfig{Name: "W", MaxMsgsPerSubject: 1, Storage: jetstream.FileStorage}
	naks         = []jetstream.StreamConfig{work, bucket}
	reservations = append([]jetstream.StreamConfig{{Name: "S", AllowMsgSchedules: true}}, naks...)
)

func TestServerVersions(t *testing.T) {
	t.Parallel()
	type use struct {
		refused bool
		faults  int // all, including those that refuse the server
	}
	sound, careful, refused, refused2 := use{}, use{false, 1}, use{true, 1}, use{true, 2}
	for version, want := range map[string]struct{ reservations, naks use }{
		"2.9.0":           {refused, sound},
		"2.11.4":          {refused, sound},
		"2.12.0":          {refused, sound},
		"2.12.9":          {refused, sound},
		"2.12.10-RC.2":    {refused2, careful}, // a pre-release is a fault of its own
		"2.12.10":         {use{false, 2}, careful},
		"2.12.11":         {use{false, 2}, careful},
		"2.12.12-RC.1":    {use{false, 3}, use{false, 2}},
		"2.12.12":         {sound, sound},
		"2.12.100":        {sound, sound},
		"2.13.0-preview":  {refused2, careful},
		"2.13.0":          {refused, sound},
		"2.13.99":         {refused, sound},
		"2.14.0-RC.1":     {use{true, 3}, use{true, 2}},
		"2.14.0":          {refused2, refused},
		"2.14.1":          {refused2, refused},
		"2.14.2":          {refused, refused},
		"2.14.3":          {refused, refused},
		"2.14.3+build":    {refused, refused},
		"2.14.4-preview":  {refused2, use{true, 2}},
		"2.14.4":          {careful, sound},
		"2.14.4+build":    {careful, sound},
		"2.14.5":          {careful, sound},
		"2.14.6-RC.1":     {use{false, 2}, careful},
		"2.14.6":          {sound, sound},
		"2.14.10":         {sound, sound},
		"2.15.0-RC.1":     {use{false, 2}, use{false, 2}},
		"2.15.0":          {careful, careful},
		"2.15.2":          {careful, careful},
		"2.15.3-RC.1":     {use{false, 2}, use{false, 2}},
		"2.15.3":          {sound, sound},
		"2.16.0-dev":      {careful, careful},
		"2.100.0":         {sound, sound},
		"3.0.0":           {sound, sound},
		"":                {refused, sound},
		"garbage":         {refused, sound},
		"v2.15.3":         {refused, sound},
		"2.15.3.1":        {refused, sound},
		"2.15.x":          {refused, sound},
		"\t2.15.3":        {refused, sound},
		"2.15.3\x1b[31m!": {refused, sound},
	} {
		for _, of := range []struct {
			what    string
			streams []jetstream.StreamConfig
			want    use
		}{{"reservations", reservations, want.reservations}, {"delayed naks", naks, want.naks}} {
			faults := topology.ServerFaults(version, of.streams)
			err := topology.CheckServer(version, of.streams)
			var refused *topology.ServerError
			if errors.As(err, &refused) != (err != nil) || (err != nil) != of.want.refused ||
				len(faults) != of.want.faults {
				t.Errorf("%q with %s: faults %+v, error %v; want %+v", version, of.what, faults, err, of.want)
			}
			if refused != nil && (refused.Version != version || !refused.Fault.Unsound) {
				t.Errorf("%q with %s: error %+v", version, of.what, refused)
			}
			for _, f := range faults {
				if f.What == "" || !f.Unsound && f.Do == "" && f.Fixed == "" {
					t.Errorf("%q with %s: fault %+v has no text, or neither a workaround nor a fix", version, of.what,
						f)
				}
			}
		}
	}
}

// The minimum versions in the documents are those of the table.
func TestMinServersAreTheTables(t *testing.T) {
	t.Parallel()
	for minimum, before := range map[string]string{topology.MinServer212: "2.12.9", topology.MinServer214: "2.14.3"} {
		if err := topology.CheckServer(minimum, reservations); err != nil {
			t.Error(err)
		}
		if topology.CheckServer(before, reservations) == nil {
			t.Errorf("CheckServer accepts %s, want an error below the minimum %s", before, minimum)
		}
	}
}
