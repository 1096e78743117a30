package harness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Worker is the statusworker binary, built once for a run of a test package.
func Worker(t testing.TB) string {
	t.Helper()
	path, err := worker()
	Check(t, err)
	return path
}

var worker = sync.OnceValues(func() (string, error) {
	return build(context.Background(), "statusworker", "statusworker/cmd/statusworker")
})

// Process is a program under test. Its methods may be called from any goroutine.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and all its output has been read

	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed and replaced at each new line
}

// StartProcess starts a program with args. Its environment is env ("NAME=value") and of this process's own only what a
// program needs to run at all, so that no setting leaks into a test. It is killed when the test ends, and its output
// is printed when the test failed; name tells it from its siblings there.
func StartProcess(t testing.TB, name, path string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{name: name, cmd: exec.Command(path, args...), done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd.Env = bareEnv()
	p.cmd.Env = append(p.cmd.Env, env...)
	stdout, err := p.cmd.StdoutPipe()
	Check(t, err)
	stderr, err := p.cmd.StderrPipe()
	Check(t, err)
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.read(stdout) })
	reading.Go(func() { p.read(stderr) })
	go func() {
		defer close(p.done)
		reading.Wait()
		p.cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s %s printed:\n%s", name, strings.Join(args, " "), lastLines(p.Output(), 200))
		}
	})
	return p
}

// StartWorker starts the statusworker binary; see [StartProcess].
func StartWorker(t testing.TB, name string, env []string, args ...string) *Process {
	t.Helper()
	// Workers on one host: each gets a port of its own.
	return StartProcess(t, name, Worker(t), append([]string{"STATUSWORKER_ADMIN_ADDR=127.0.0.1:0"}, env...), args...)
}

// bareEnv keeps of the environment what a program needs to run at all.
func bareEnv() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func (p *Process) read(r io.Reader) {
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadString('\n')
		if line != "" {
			p.mu.Lock()
			p.lines = append(p.lines, strings.TrimRight(line, "\r\n"))
			close(p.changed)
			p.changed = make(chan struct{})
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Output is all lines that the process has printed so far, on both streams, in the order in which they were read.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// AwaitLine waits for a line that matches the regular expression, among those printed before the call too, and returns
// it. When the process ends without one, or ctx does, the error carries the last lines.
func (p *Process) AwaitLine(ctx context.Context, pattern string) (string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", err
	}
	seen := 0
	ended := false
	for {
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if re.MatchString(lines[seen]) {
				return lines[seen], nil
			}
		}
		if ended {
			return "", fmt.Errorf(
				"%s has ended (%v) without a line like %q; its last lines:\n%s",
				p.name,
				p.cmd.ProcessState,
				pattern,
				lastLines(p.Output(), 20),
			)
		}
		select {
		case <-changed:
		case <-p.done:
			ended = true
		case <-ctx.Done():
			return "", fmt.Errorf(
				"waiting for a line like %q from %s: %w; its last lines:\n%s",
				pattern,
				p.name,
				context.Cause(ctx),
				lastLines(p.Output(), 20),
			)
		}
	}
}

// Kill ends the process with SIGKILL and returns when it is gone. Killing what has ended is no fault.
func (p *Process) Kill() {
	p.cmd.Process.Signal(syscall.SIGKILL) // an error says that it has ended
	<-p.done
}

// Term sends SIGTERM.
func (p *Process) Term() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("sending SIGTERM to %s: %w", p.name, err)
	}
	return nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and gives its exit code; -1 when a signal ended it.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	default:
		return 0, fmt.Errorf(
			"waiting for the end of %s: %w; its last lines:\n%s",
			p.name,
			context.Cause(ctx),
			lastLines(p.Output(), 20),
		)
	}
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// RunWorker runs the statusworker binary to its end, within a minute, and gives its exit code and output.
func RunWorker(t testing.TB, env []string, args ...string) (code int, output string) {
	t.Helper()
	Worker(t) // its build is not part of the minute
	ctx := Context(t, time.Minute)
	p := StartWorker(t, "statusworker", env, args...)
	code, err := p.Wait(ctx)
	Check(t, err)
	return code, p.Output()
}
