package console

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"statusworker/schema"
)

const (
	// maxRunning is the maximum number of tasks at a time, maxKept of those that are remembered.
	maxRunning = 4
	maxKept    = 50
	// maxNotes is the maximum number of notes of a task; more are only counted.
	maxNotes = 100
)

// task is an action that takes time. It runs in the console, and goes on when the user leaves its page.
type task struct {
	ID, Title, User string
	// Command is the command line that does the same.
	Command string
	Began   time.Time
	// Total is the number of dead letters or messages.
	Total int

	cancel context.CancelFunc

	mu      sync.Mutex
	counts  []count
	notes   []string
	omitted int
	ended   time.Time
	err     error
	stopped bool
}

// count is the number of a result.
type count struct {
	Name string
	N    int
}

// taskView is a task at one time.
type taskView struct {
	*task
	Counts  []count
	Done    int
	Notes   []string
	Omitted int
	Ended   time.Time
	Running bool
	Stopped bool
	Error   string
}

// view returns the task as it is now.
func (t *task) view() taskView {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := taskView{
		task: t, Counts: slices.Clone(t.counts), Notes: slices.Clone(t.notes), Omitted: t.omitted, Ended: t.ended,
		Running: t.ended.IsZero(), Stopped: t.stopped,
	}
	for _, c := range t.counts {
		if c.Name != waitingResult {
			v.Done += c.N
		}
	}
	if t.err != nil {
		v.Error = schema.Printable(t.err.Error())
	}
	return v
}

// set sets the number of a result. The results are shown in the order in which they were first set.
func (t *task) set(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.counts, func(c count) bool { return c.Name == name })
	if i < 0 {
		t.counts = append(t.counts, count{name, n})
		return
	}
	t.counts[i].N = n
}

// note adds a line.
func (t *task) note(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.notes) == maxNotes {
		t.omitted++
		return
	}
	t.notes = append(t.notes, schema.Printable(line))
}

// Write adds the lines of a text.
func (t *task) Write(text []byte) (int, error) {
	for line := range lines(string(text)) {
		t.note(line)
	}
	return len(text), nil
}

// tasks are those of one console.
type tasks struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu  sync.Mutex
	all []*task // the oldest first
}

func newTasks() *tasks {
	ctx, cancel := context.WithCancel(context.Background())
	return &tasks{ctx: ctx, cancel: cancel}
}

// tooManyError is the error of one more task than may run.
type tooManyError struct{}

func (tooManyError) Error() string {
	return fmt.Sprintf("%d tasks are running: wait until one has ended, or stop one", maxRunning)
}

// start runs a task. ended is called with its last state.
func (ts *tasks) start(t *task, do func(context.Context, *task) error, ended func(taskView)) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	running := 0
	for _, other := range ts.all {
		if other.view().Running {
			running++
		}
	}
	if running >= maxRunning {
		return tooManyError{}
	}
	if len(ts.all) >= maxKept {
		i := slices.IndexFunc(ts.all, func(t *task) bool { return !t.view().Running })
		ts.all = slices.Delete(ts.all, i, i+1)
	}
	t.Began = time.Now()
	var ctx context.Context
	ctx, t.cancel = context.WithCancel(ts.ctx)
	ts.all = append(ts.all, t)
	ts.running.Go(func() {
		defer t.cancel()
		err := do(ctx, t)
		t.mu.Lock()
		t.ended, t.stopped = time.Now(), ctx.Err() != nil
		if !t.stopped {
			t.err = err
		}
		t.mu.Unlock()
		ended(t.view())
	})
	return nil
}

// find returns a task, or nil.
func (ts *tasks) find(id string) *task {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// views returns all tasks, the newest first.
func (ts *tasks) views() (all []taskView) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range slices.Backward(ts.all) {
		all = append(all, t.view())
	}
	return all
}

// end stops all tasks, and waits for them.
func (ts *tasks) end() {
	ts.cancel()
	ts.running.Wait()
}
