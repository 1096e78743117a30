package main

import (
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// envProcess makes the test binary run the program itself.
const envProcess = "STATUSWORKER_TEST_PROCESS"

// envUser is the user that such a process runs as. It needs a test that runs as root.
const envUser = "STATUSWORKER_TEST_USER"

func TestMain(m *testing.M) {
	if os.Getenv(envProcess) != "" {
		if user, err := strconv.Atoi(os.Getenv(envUser)); err == nil {
			if err := syscall.Setuid(user); err != nil {
				panic(err)
			}
		}
		signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM) // ignores one that arrives before main handles it
		_ = os.NewFile(readyFD, "ready").Close()                // see startProcess
		main()
	}
	// Most of these tests wait for a broker or a process, so more of them can run at once than there are processors.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// readyFD is the descriptor that a process closes when it has begun.
const readyFD = 3

// child is a process of this program.
type child struct {
	*exec.Cmd
	t              *testing.T
	stdout, stderr output
	ended          chan struct{}
}

// processOf prepares a process with only these environment variables.
func processOf(t *testing.T, env map[string]string, args ...string) *child {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.Command(own, args...), t: t, ended: make(chan struct{})}
	c.Env = []string{
		envProcess + "=1", "PATH=" + os.Getenv("PATH"), "STATUSWORKER_ADMIN_ADDR=127.0.0.1:0",
		"GORACE=atexit_sleep_ms=0", // with the race detector, a program otherwise waits for a second when it exits
	}
	for name, value := range env {
		c.Env = append(c.Env, name+"="+value)
	}
	c.Stdout, c.Stderr = &c.stdout, &c.stderr
	return c
}

// launch starts the process, and waits until it runs. The process is killed at the end of the test.
func (c *child) launch() *child {
	c.t.Helper()
	begun, ready, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	c.ExtraFiles = []*os.File{ready}
	err = c.Start()
	ready.Close()
	if err != nil {
		c.t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		_ = c.Wait() // the result is in ProcessState
	}()
	c.t.Cleanup(func() {
		_ = c.Process.Kill()
		<-c.ended
	})
	_, _ = io.ReadAll(begun)
	begun.Close()
	return c
}

// logs waits for a text on standard error.
func (c *child) logs(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		select {
		case <-c.ended: // there will be no more output
			cancel()
		case <-ctx.Done():
		}
	}()
	c.stderr.wait(ctx, c.t, text)
}

// signal sends a signal.
func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// exits waits for the end of the process, and requires an exit code.
func (c *child) exits(want int) {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(30 * time.Second):
		c.t.Fatalf("%v is still running; stderr:\n%s", c.Args, &c.stderr)
	}
	if c.ProcessState.ExitCode() != want {
		c.t.Fatalf("%v: %s, want exit code %d; stderr:\n%s", c.Args, c.ProcessState, want, &c.stderr)
	}
}

// A second signal ends a process that blocks in a read.
func TestSecondSignalEndsABlockedProcess(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			c := processOf(t, nil, "declare", "--type", "chat", "--data", "-", "bd5c92f3-c228-44a6-91bf-b52672569878")
			stdin, err := c.StdinPipe() // never written to
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			c.launch().signal(syscall.SIGTERM)
			again := time.NewTicker(100 * time.Millisecond)
			defer again.Stop()
			for {
				select {
				case <-c.ended:
					c.exits(exitFault)
					return
				case <-again.C:
					_ = c.Process.Signal(s)
				case <-time.After(20 * time.Second):
					t.Fatal("it is still running after many signals")
				}
			}
		})
	}
}
