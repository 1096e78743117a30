package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// roleArgument is the first argument of a process that plays a role; its name and the role's own arguments follow.
const roleArgument = "role"

// runRole plays a role until stdin ends. The first line that it writes to stdout says where it is, and each line that
// it reads is answered by one line of JSON.
func runRole(args []string, stdin io.Reader, stdout io.Writer) error {
	roles := map[string]func([]string) (*player, error){
		"broker": playBroker, "vendor": playVendor, "bare": playBare, "stage": playStage, "unmeasured": playUnmeasured,
	}
	if len(args) == 0 || roles[args[0]] == nil {
		return fmt.Errorf("there is no role %q", args)
	}
	p, err := roles[args[0]](args[1:])
	if err != nil {
		return err
	}
	answers := json.NewEncoder(stdout)
	if err := answers.Encode(p.where); err != nil {
		return fmt.Errorf("telling where it is: %w", err)
	}
	var profile *profile
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		question, argument, _ := strings.Cut(lines.Text(), " ")
		switch question {
		case "profile":
			profile, err = startProfile(argument)
		case "profiled":
			err = profile.stop()
		case "collect":
			runtime.GC()
			runtime.GC() // what the first one moved out of pools
		}
		if err != nil {
			return err
		}
		r := readUse()
		if p.polls != nil {
			r.Polls = p.polls()
		}
		if p.received != nil {
			if r.Received, err = p.received(); err != nil {
				return err
			}
		}
		if p.late != nil && question == "late" {
			r.LateP50, r.LateP99 = p.late()
		}
		if err := answers.Encode(r); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
	return p.stop()
}

// player is a role that is being played.
type player struct {
	where string
	// polls counts status requests that were answered, where the role knows.
	polls func() uint64
	// received counts messages from clients, where the role is a broker.
	received func() (uint64, error)
	// late is the median and the 99th percentile of how late polls were since it was last called, where the role knows.
	late func() (p50, p99 time.Duration)
	stop func() error
}

// use is what a process has used up to now.
type use struct {
	At           time.Time
	CPU          time.Duration // user and system
	Mallocs      uint64
	Bytes        uint64 // allocated in all
	HeapInUse    uint64
	ResidentSize uint64
	Polls        uint64
	Received     uint64
	// LateP50 and LateP99 answer the question `late`.
	LateP50, LateP99 time.Duration
}

func readUse() use {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return use{
		At: time.Now(), CPU: processorTime(), Mallocs: mem.Mallocs, Bytes: mem.TotalAlloc,
		HeapInUse: mem.HeapInuse, ResidentSize: residentSize(),
	}
}

// process is a role that another process plays.
type process struct {
	name    string
	where   string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

// start starts a role, and waits until it has said where it is.
func start(stderr io.Writer, args ...string) (*process, error) {
	p := &process{name: args[0]}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	p.cmd = exec.Command(self, append([]string{roleArgument}, args...)...)
	p.cmd.Stderr = stderr
	// Ctrl-C goes to this program alone, which ends the others in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.answers = json.NewDecoder(out)
	if err := p.answers.Decode(&p.where); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: it did not say where it is: %w", p.name, err), p.end())
	}
	return p, nil
}

// ask has the process do something, or nothing but say what it has used.
func (p *process) ask(question string) (use, error) {
	var u use
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		return u, fmt.Errorf("asking %s: %w", p.name, err)
	}
	if err := p.answers.Decode(&u); err != nil {
		return u, fmt.Errorf("reading what %s used: %w", p.name, err)
	}
	return u, nil
}

// endWithin is how long a process may take to end in order.
const endWithin = 10 * time.Second

// end ends the process, and waits until it has.
func (p *process) end() error {
	_ = p.in.Close() // this is what it waits for; it may be gone already
	killer := time.AfterFunc(endWithin, func() { _ = p.cmd.Process.Kill() })
	defer killer.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("ending %s: %w", p.name, err)
	}
	return nil
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("measuring: %w", context.Cause(ctx))
	}
}
