package dlq

import "time"

// EndSoon sets how long a replay waits for a generation that is ending, and its retry interval.
func (d *Queue) EndSoon(after, every time.Duration) { d.endingFor, d.retryEvery = after, every }

// RetryFor sets how long a request is retried while the broker does not answer.
func (d *Queue) RetryFor(limit time.Duration) { d.retryFor = limit }

// MaxWaiting is the maximum number of postponed dead letters.
const MaxWaiting = maxWaiting
