package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
)

// profile is a CPU profile that is being taken, and the name of the allocation profile to be written with it.
type profile struct {
	cpu    *os.File
	allocs string
}

// startProfile begins the profiles PREFIX.cpu.pprof and PREFIX.allocs.pprof. The second covers the whole life of the
// process.
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
		return errors.New("ending a profile: none was started")
	}
	pprof.StopCPUProfile()
	if err := p.cpu.Close(); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	f, err := os.Create(p.allocs)
	if err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	runtime.GC() // the profile is that of the last collection
	err = pprof.Lookup("allocs").WriteTo(f, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}
