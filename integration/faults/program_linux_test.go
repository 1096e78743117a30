package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is a program that is started and ended many times. It appends its output to one file, whose end is printed if
// the test fails.
type program struct {
	name string
	log  string

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	started time.Time
}

func newProgram(t *testing.T, folder, name string) *program {
	p := &program{name: name, log: filepath.Join(folder, name+".log")}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, p.tail(60))
		}
	})
	return p
}

// tail returns the last lines of the output.
func (p *program) tail(n int) string {
	output, _ := os.ReadFile(p.log)
	lines := strings.Split(string(output), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// end says how a program that is not running has ended.
func (p *program) end() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.cmd.ProcessState == nil {
		return "not started"
	}
	return p.cmd.ProcessState.String()
}

// lines returns the lines of the output that contain a text.
func (p *program) lines(text string) (found []string) {
	output, err := os.ReadFile(p.log)
	if err != nil {
		return []string{err.Error()}
	}
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, text) {
			found = append(found, p.name+": "+strings.TrimSuffix(line, "\n"))
		}
	}
	return found
}

// start starts the program. It must not be running.
func (p *program) start(path string, env []string, args ...string) error {
	output, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	cmd.Stdout, cmd.Stderr = output, output
	// It does not outlive this process, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.ended = cmd, ended
	p.started = time.Now()
	p.mu.Unlock()
	go func() {
		_ = cmd.Wait() // ProcessState has the result
		close(ended)
	}()
	return nil
}

// signal sends a signal, if the program is running.
func (p *program) signal(s syscall.Signal) error {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if cmd == nil {
		return fmt.Errorf("%s was not started", p.name)
	}
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %s to %s: %w", s, p.name, err)
	}
	return nil
}

// running reports whether the program runs, or is stopped by SIGSTOP.
func (p *program) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// age is how long ago the program was started.
func (p *program) age() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.started)
}

// kill ends the program with SIGKILL and waits for it.
func (p *program) kill() {
	if p.running() {
		_ = p.signal(syscall.SIGKILL)
		_, _ = p.await(context.Background())
	}
}

// await waits until the program has ended, and returns its exit code; -1 if a signal ended it.
func (p *program) await(ctx context.Context) (int, error) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	select {
	case <-ended:
		return cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for %s to end: %w", p.name, context.Cause(ctx))
	}
}
