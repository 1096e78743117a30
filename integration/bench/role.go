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
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"statusworker/consumer"
	"statusworker/schema"
)

// roleArgument is the first argument of a process that runs a role. The name and the arguments of the role follow.
const roleArgument = "role"

// collectAsRun lets the pollers collect garbage as `run` does; the bare loop too, so that their work is compared.
func collectAsRun(role string) {
	if slices.Contains([]string{"bare", "stage", "unmeasured"}, role) && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(consumer.GCPercent)
	}
}

// runRole runs a role until stdin is closed. The first line on stdout is the role's address. Each line on stdin is
// answered by one line of JSON on stdout.
func runRole(args []string, stdin io.Reader, stdout io.Writer) error {
	roles := map[string]func([]string) (*role, error){
		"broker": startBroker, "vendor": startVendor, "clocked": startClockedVendor, "bare": startBare,
		"stage": startStage, "unmeasured": startUnmeasured, "publisher": startPublisher,
	}
	if len(args) == 0 || roles[args[0]] == nil {
		return fmt.Errorf("unknown role %q", args)
	}
	collectAsRun(args[0])
	r, err := roles[args[0]](args[1:])
	if err != nil {
		return err
	}
	answers := json.NewEncoder(stdout)
	if err := answers.Encode(r.address); err != nil {
		return fmt.Errorf("writing the address: %w", err)
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
		default:
			err = r.do(question, argument)
		}
		if err != nil {
			return err
		}
		u, err := r.use(question == "late")
		if err != nil {
			return err
		}
		if r.gaps != nil && question == "gaps" {
			u.Gaps = r.gaps()
		}
		if err := answers.Encode(u); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
	return r.stop()
}

// role is a running role. Functions that do not apply to it are nil.
type role struct {
	address string
	// polls returns the number of answered status requests.
	polls func() uint64
	// received returns the number of messages from clients.
	received func() (uint64, error)
	// fail makes requests fail, or succeed again.
	fail func(bool)
	// change sets the share of answers whose status differs from the one before: 0 to 0.5, in decimal.
	change func(share string) error
	// late returns the median and the 99th percentile of the lateness of polls since its last call.
	late func() (p50, p99 time.Duration)
	// gaps returns the times between two polls of one interaction since its last call.
	gaps func() map[schema.Type][]time.Duration
	stop func() error
}

// do changes the role before the question is answered. Most questions change nothing.
func (r *role) do(question, argument string) error {
	switch question {
	case "fail", "recover":
		r.fail(question == "fail")
	case "change":
		return r.change(argument)
	case "collect":
		runtime.GC()
		runtime.GC() // the first one only moves objects of pools into their victim caches
	}
	return nil
}

// use reads what the role has used, and its lateness if late is set.
func (r *role) use(late bool) (u use, err error) {
	u = readUse()
	if r.polls != nil {
		u.Polls = r.polls()
	}
	if r.received != nil {
		u.Received, err = r.received()
	}
	if r.late != nil && late {
		u.LateP50, u.LateP99 = r.late()
	}
	return u, err
}

// use is what a process has used since its start.
type use struct {
	At           time.Time
	CPU          time.Duration // user and system
	Mallocs      uint64
	Bytes        uint64 // allocated since the start
	HeapInUse    uint64
	ResidentSize uint64
	Polls        uint64
	Received     uint64
	// LateP50 and LateP99 are set in the answer to `late`.
	LateP50, LateP99 time.Duration
	// Gaps is set in the answer to `gaps`.
	Gaps map[schema.Type][]time.Duration
}

func readUse() use {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return use{
		At: time.Now(), CPU: processorTime(), Mallocs: mem.Mallocs, Bytes: mem.TotalAlloc,
		HeapInUse: mem.HeapInuse, ResidentSize: residentSize(),
	}
}

// process is a role in another process.
type process struct {
	name    string
	address string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

// start starts a role in another process, and waits for its address.
func start(stderr io.Writer, args ...string) (*process, error) {
	p := &process{name: args[0]}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("locating this program: %w", err)
	}
	p.cmd = exec.Command(self, append([]string{roleArgument}, args...)...)
	p.cmd.Stderr = stderr
	// Ctrl-C reaches this program only, which ends the others.
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
	if err := p.answers.Decode(&p.address); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: reading its address: %w", p.name, err), p.end())
	}
	return p, nil
}

// ask sends a question to the process: use, late, gaps, collect, fail, recover, change SHARE, profile FILE or profiled.
// The answer is what it has used.
func (p *process) ask(question string) (use, error) {
	var u use
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		return u, fmt.Errorf("asking %s: %w", p.name, err)
	}
	if err := p.answers.Decode(&u); err != nil {
		return u, fmt.Errorf("reading the answer of %s: %w", p.name, err)
	}
	return u, nil
}

// endWithin is the time after which a process is killed that does not exit.
const endWithin = 10 * time.Second

// end closes the standard input of the process, and waits until it has exited.
func (p *process) end() error {
	_ = p.in.Close() // it may have exited already
	killer := time.AfterFunc(endWithin, func() { _ = p.cmd.Process.Kill() })
	defer killer.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	return nil
}

// pause waits for d, or until ctx ends.
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
