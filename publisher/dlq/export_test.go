package dlq

import "time"

// EndSoon shortens how long Replay waits for a life that is ending, and how often it looks.
func (d *Queue) EndSoon(after, every time.Duration) { d.endingFor, d.lookEvery = after, every }

// Impatient shortens how long a broker may not answer.
func (d *Queue) Impatient(patience time.Duration) { d.patience = patience }

// MaxWaiting is how many dead letters are put off at most.
const MaxWaiting = mostWaiting
