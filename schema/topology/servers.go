package topology

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/semver"
)

// The minimum versions of nats-server, by release line. Line 2.13 has no sound release; all lines after 2.14 are sound.
const (
	MinServer212 = "2.12.10"
	MinServer214 = "2.14.4"

	// MinServers is the text for messages and documents.
	MinServers = "2.12.x from " + MinServer212 + " on, or any version from " + MinServer214 + " on"
)

// ServerFault is a fault of a range of nats-server versions.
type ServerFault struct {
	// From is the first version with the fault; if empty, all versions before Fixed have it. Fixed is the first version
	// without the fault; if empty, no such version is known.
	From, Fixed string
	// Unsound reports that the streams must not be used on these versions. With other faults they can be used.
	Unsound bool
	// What describes the fault. Do is a workaround until the server is upgraded; empty if there is none.
	What, Do string

	concerns func(jetstream.StreamConfig) bool
}

// Versions returns the range as text: `before 2.12.10`, or `from 2.14.0, before 2.14.4`.
func (f ServerFault) Versions() string {
	if f.From == "" {
		return "before " + f.Fixed
	}
	return "from " + strings.TrimSuffix(f.From, "-0") + ", before " + f.Fixed
}

// Concerns reports whether the fault concerns at least one of the streams.
func (f ServerFault) Concerns(streams []jetstream.StreamConfig) bool {
	return slices.ContainsFunc(streams, f.concerns)
}

// KnownServerFaults returns all known faults, whichever streams they concern.
func KnownServerFaults() []ServerFault { return slices.Clone(serverFaults) }

// unreliableSchedules is the fault of versions that lose message schedules after a restart, such as nats-server#8085.
const unreliableSchedules = "message schedules are unreliable: a reservation can be lost, and its interaction is " +
	"then not polled"

// serverFaults are all known faults. A pre-release precedes its release, and -0 precedes every pre-release.
var serverFaults = []ServerFault{
	{Fixed: MinServer212, Unsound: true, concerns: hasSchedules, What: unreliableSchedules},
	{From: "2.13.0-0", Fixed: "2.14.2", Unsound: true, concerns: hasSchedules, What: unreliableSchedules},
	{From: "2.14.0-0", Fixed: MinServer214, Unsound: true, concerns: hasSubjectLimitAndAge,
		What: "the bucket of the workers can reject all writes until it is recreated, and workers are then not " +
			"counted (nats-server#8378)"},
	{From: MinServer212, Fixed: "2.12.12", concerns: hasSchedules,
		What: "the server can crash when it restores a stream whose schedule file is damaged (nats-server#8268)",
		Do:   "do not restore a backup that may be damaged"},
	{From: MinServer212, Fixed: "2.12.12", concerns: isStream,
		What: "in a cluster, a server can crash when it catches up in the middle of an atomic batch"},
	{From: MinServer214, Fixed: "2.14.6", concerns: hasSchedules,
		What: "reservations in a stream with replicas are lost if another stream sources it, and their interactions " +
			"are then not polled (nats-server#8423)",
		Do: "do not add streams that source the streams of statusworker"},
	{From: "2.15.0-0", Fixed: "2.15.3", concerns: isStream,
		What: "changing the replicas of a stream can lose messages if the servers have sync_interval: always",
		Do:   "do not change replicas while the servers have sync_interval: always"},
}

func hasSchedules(s jetstream.StreamConfig) bool { return s.AllowMsgSchedules }

// hasSubjectLimitAndAge reports whether two limits can delete the same message at the same time.
func hasSubjectLimitAndAge(s jetstream.StreamConfig) bool {
	return s.MaxMsgsPerSubject > 0 && s.MaxAge > 0 && s.Storage == jetstream.FileStorage
}

func isStream(jetstream.StreamConfig) bool { return true }

// The faults that do not depend on a range of versions.
var (
	unreadable = ServerFault{
		Unsound:  true,
		concerns: hasSchedules,
		What:     "the version is not one of nats-server, so it is unknown whether message schedules are reliable",
	}
	preRelease = ServerFault{
		concerns: isStream,
		What:     "it is a pre-release, whose faults are unknown",
		Do:       "use a release in production",
	}
)

// ServerFaults returns the known faults of a server version that concern at least one of the streams, unsound ones
// first. The version has no v, as reported by the server.
func ServerFaults(version string, streams []jetstream.StreamConfig) (faults []ServerFault) {
	v := "v" + version
	add := func(f ServerFault) {
		if f.Concerns(streams) {
			faults = append(faults, f)
		}
	}
	if !semver.IsValid(v) {
		add(unreadable)
		return faults
	}
	for _, f := range serverFaults {
		if (f.From == "" || semver.Compare(v, "v"+f.From) >= 0) && semver.Compare(v, "v"+f.Fixed) < 0 {
			add(f)
		}
	}
	if semver.Prerelease(v) != "" {
		add(preRelease)
	}
	return faults
}

// ServerError is the error of a server version on which the streams must not be used.
type ServerError struct {
	Version string
	Fault   ServerFault
}

func (e *ServerError) Error() string {
	return fmt.Sprintf("nats-server %q cannot be used: %s; upgrade to %s", e.Version, e.Fault.What, MinServers)
}

// CheckServer returns a [*ServerError] if the streams must not be used on a server of the version.
func CheckServer(version string, streams []jetstream.StreamConfig) error {
	for _, f := range ServerFaults(version, streams) {
		if f.Unsound {
			return &ServerError{version, f}
		}
	}
	return nil
}
