package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// envProcess makes the test binary the program itself.
const envProcess = "STATUSWORKER_TEST_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(envProcess) != "" {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM) // one that comes before main listens ends nothing
		main()
	}
	os.Exit(m.Run())
}

// What hangs does not keep a process that is told twice to stop.
func TestSecondSignalEndsWhatHangs(t *testing.T) {
	t.Parallel()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(own, "declare", "--type", "chat", "--data", "-", "bd5c92f3-c228-44a6-91bf-b52672569878")
	cmd.Env = append(os.Environ(), envProcess+"=1")
	stdin, err := cmd.StdinPipe() // into which nothing is written
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	telling := time.NewTicker(100 * time.Millisecond)
	defer telling.Stop()
	for late := time.After(20 * time.Second); ; {
		select {
		case <-ended:
			if code := cmd.ProcessState.ExitCode(); code != exitFault {
				t.Errorf("exit code %d, want %d", code, exitFault)
			}
			return
		case <-telling.C:
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case <-late:
			t.Fatal("it does not end, whatever signal it gets")
		}
	}
}
