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

// WorkerBinary returns the path of the statusworker binary. It is built once for each test process.
func WorkerBinary(t testing.TB) string {
	t.Helper()
	path, err := worker()
	Check(t, err)
	return path
}

var worker = sync.OnceValues(func() (string, error) {
	return build(context.Background(), "statusworker", "statusworker/cmd/statusworker")
})

// Process is a program under test. Its methods are safe for concurrent use.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has exited and all its output has been read

	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed and replaced at each new line
}

// StartProcess starts a program with args. Its environment is env ("NAME=value") and the few variables of this process
// that any program needs, so that no setting leaks into a test. The program is killed when the test ends. When the test
// failed, its output is printed under its name.
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
		_ = p.cmd.Wait() // ProcessState has the result
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
	// Port 0, because several workers run on this host.
	env = append([]string{"STATUSWORKER_ADMIN_ADDR=127.0.0.1:0"}, env...)
	return StartProcess(t, name, WorkerBinary(t), env, args...)
}

// bareEnv returns the variables of the environment that any program needs.
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

// Output returns all lines printed so far, on both streams, in the order in which they were read.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// AwaitLine waits for a line that matches the regular expression, and returns it. Lines printed before the call count.
// When the process exits without such a line, or ctx ends, the error contains the last lines.
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
				"%s exited (%v) without a line that matches %q; last lines:\n%s",
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
				"waiting for a line that matches %q from %s: %w; last lines:\n%s",
				pattern,
				p.name,
				context.Cause(ctx),
				lastLines(p.Output(), 20),
			)
		}
	}
}

// Kill sends SIGKILL and waits until the process has exited. It does nothing if the process has already exited.
func (p *Process) Kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // an error means that it has exited
	<-p.done
}

// Term sends SIGTERM.
func (p *Process) Term() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("sending SIGTERM to %s: %w", p.name, err)
	}
	return nil
}

// Done returns a channel that is closed when the process has exited.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits until the process has exited and returns its exit code, or -1 if a signal terminated it.
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
			"waiting for %s to exit: %w; last lines:\n%s",
			p.name,
			context.Cause(ctx),
			lastLines(p.Output(), 20),
		)
	}
}

// RunWorker runs the statusworker binary, waits for up to a minute until it has exited, and returns its exit code and
// output.
func RunWorker(t testing.TB, env []string, args ...string) (code int, output string) {
	t.Helper()
	WorkerBinary(t) // the minute does not include the build
	ctx := Context(t, time.Minute)
	p := StartWorker(t, "statusworker", env, args...)
	code, err := p.Wait(ctx)
	Check(t, err)
	return code, p.Output()
}
