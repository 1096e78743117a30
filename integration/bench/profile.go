package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
)

// profile is a running CPU profile, and the file name of the allocation profile that is written at its end.
type profile struct {
	cpu    *os.File
	allocs string
}

// startProfile starts the profiles PREFIX.cpu.pprof and PREFIX.allocs.pprof. The second covers the process from its
// start.
func startProfile(prefix string) (*profile, error) {
	f, err := os.Create(prefix + ".cpu.pprof")
	if err != nil {
		return nil, fmt.Errorf("starting a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a profile: %w", err), f.Close())
	}
	return &profile{cpu: f, allocs: prefix + ".allocs.pprof"}, nil
}

func (p *profile) stop() error {
	if p == nil {
		return errors.New("stopping a profile: none was started")
	}
	pprof.StopCPUProfile()
	if err := p.cpu.Close(); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	f, err := os.Create(p.allocs)
	if err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	runtime.GC() // the profile shows the state of the last collection
	err = pprof.Lookup("allocs").WriteTo(f, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}
