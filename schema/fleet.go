package schema

import "time"

// The workers announce themselves in a key-value bucket of NATS: each puts an [Announcement] under a key of its own,
// again and again. A key that is not put again is gone after AnnouncementLife. These are the names of
// [DefaultNamespace].
const (
	BucketWorkers = defaultStreams + suffixWorkers
	// StreamWorkers is the bucket's stream, and SubjectsWorkers matches its keys, by the rules of NATS for buckets.
	StreamWorkers   = bucketStream + BucketWorkers
	SubjectsWorkers = bucketKeys + BucketWorkers + ".>"
)

const (
	// AnnounceEvery is how often a worker announces itself, and looks who else has.
	AnnounceEvery = 3 * time.Second
	// AnnouncementLife is how long a worker counts as alive after its last announcement.
	AnnouncementLife = 10 * time.Second
	// MaxAnnouncementBytes is how large an announcement may be.
	MaxAnnouncementBytes = 64 << 10
)

// WorkerSubject is where a worker of [DefaultNamespace] announces itself.
func WorkerSubject(worker string) string { return DefaultNamespace.WorkerSubject(worker) }

// WorkerState is what a worker does about the vendor.
type WorkerState string

// The states of a worker.
const (
	// Working polls what is due.
	Working WorkerState = "working"
	// Paused polls nothing until some moment, because the vendor is in trouble.
	Paused WorkerState = "paused"
	// Probing has a rest behind it, and one poll at a time under way to find out whether the trouble is over.
	Probing WorkerState = "probing"
	// Stopped has announced its end.
	Stopped WorkerState = "stopped"
)

// Announcement is what a worker says of itself.
type Announcement struct {
	// Worker is its key in the bucket; random, and new at every start.
	Worker  string `json:"worker"`
	Host    string `json:"host"`
	Version string `json:"version"`
	// Started and At are by the worker's clock.
	Started time.Time `json:"started"`
	At      time.Time `json:"at"`

	State WorkerState `json:"state"`
	// Cause, Until and Detail say why it rests or probes, until when, and what the vendor said last.
	Cause  string     `json:"cause,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
	Detail string     `json:"detail,omitempty"`

	// Polls is how many status requests it made since it was started, PollsPerSecond the rate since the announcement
	// before.
	Polls          uint64  `json:"polls"`
	PollsPerSecond float64 `json:"pollsPerSecond"`
	// Budget is --max-polls-per-second of this worker, and Share its part of that; 0 where there is no rate limit.
	// Share is 0 as well until the worker has one.
	RateLimit float64 `json:"rateLimit,omitempty"`
	Share     float64 `json:"share,omitempty"`

	// Oldest is the age in seconds of the oldest interaction that it polled lately, by lane: every interaction is
	// polled once per guidance by some worker, so the highest of all workers is the oldest that waits.
	Oldest map[Type]float64 `json:"oldest,omitempty"`
}
