package schema

import "time"

const (
	// AnnounceEvery is the interval at which a worker announces itself and counts the live workers.
	AnnounceEvery = 3 * time.Second
	// AnnouncementMaxAge is how long a worker counts as alive after its last announcement.
	AnnouncementMaxAge = 10 * time.Second
	// MaxAnnouncementBytes is the maximum size of an announcement.
	MaxAnnouncementBytes = 64 << 10
)

// WorkerState is the state of a worker's circuit breaker.
type WorkerState string

// The states of a worker.
const (
	// Working: the worker polls due interactions.
	Working WorkerState = "working"
	// Paused: the worker does not poll for some time, because the vendor fails.
	Paused WorkerState = "paused"
	// Probing: after a pause, the worker makes one poll at a time to find out whether the vendor still fails.
	Probing WorkerState = "probing"
	// Stopped: the worker has announced that it exits.
	Stopped WorkerState = "stopped"
)

// Announcement is what a worker publishes about itself.
type Announcement struct {
	// Worker is the worker's key in the bucket; random, and new at every start.
	Worker  string `json:"worker"`
	Host    string `json:"host"`
	Version string `json:"version"`
	// Started and At are by the worker's clock.
	Started time.Time `json:"started"`
	At      time.Time `json:"at"`

	State WorkerState `json:"state"`
	// Cause, Until and Detail are why the worker is paused or probing, until when, and the vendor's last failure.
	Cause  string     `json:"cause,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
	Detail string     `json:"detail,omitempty"`

	// Polls is the number of status requests since the worker started, PollsPerSecond the rate since the previous
	// announcement.
	Polls          uint64  `json:"polls"`
	PollsPerSecond float64 `json:"pollsPerSecond"`
	// RateLimit is the worker's --max-polls-per-second, and Share its share of it. Both are 0 without a rate limit.
	// Share is also 0 until the worker has one.
	RateLimit float64 `json:"rateLimit,omitempty"`
	Share     float64 `json:"share,omitempty"`

	// Oldest is the age in seconds of the oldest interaction that the worker polled recently, by lane. The maximum of
	// all workers is about the age of the oldest interaction that is polled.
	Oldest map[Type]float64 `json:"oldest,omitempty"`
}
