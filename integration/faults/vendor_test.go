package faults

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"statusworker/statusclient/simulator"
)

// vendorKinds are the faults of the whole vendor.
func vendorKinds(v *simulator.Simulator, s settings) []*kind {
	f := &vendorFaults{vendor: v, settings: s}
	throttled := simulator.Throttle(s.longer(time.Second))
	slow := simulator.Fault{Kind: simulator.Delayed, Delay: s.longer(1200 * time.Millisecond)}
	return []*kind{
		f.kind("vendor answers 500 or 503", 3*time.Second, simulator.Refusal(500).Sometimes(0.5),
			simulator.Refusal(503)),
		f.kind("vendor answers 404 with a page", 3*time.Second, simulator.Page(404)),
		f.kind("vendor answers 401", 3*time.Second, simulator.Refusal(401)),
		f.kind("vendor throttles", 3*time.Second, throttled),
		f.kind("vendor throttles a tenth", 3*time.Second, throttled.Sometimes(0.1)),
		f.kind("vendor does not answer", 3*time.Second, simulator.Fault{Kind: simulator.Hangs}),
		f.kind("vendor closes connections", 3*time.Second, simulator.Fault{Kind: simulator.Reset}),
		f.kind("vendor answers half", 3*time.Second, simulator.Fault{Kind: simulator.Truncated}),
		f.kind("vendor answers wrongly", 3*time.Second, simulator.Fault{Kind: simulator.WrongIdentifier}.Sometimes(0.5),
			simulator.Fault{Kind: simulator.NotJSON}),
		f.kind("vendor is slow", 4*time.Second, slow),
	}
}

// vendorFaults keeps the active faults of the vendor.
type vendorFaults struct {
	vendor   *simulator.Simulator
	settings settings

	mu     sync.Mutex
	active []*kind
	faults map[*kind][]simulator.Fault
}

func (f *vendorFaults) kind(name string, longest time.Duration, faults ...simulator.Fault) *kind {
	k := &kind{
		name: name, weight: 1, shortest: 300 * time.Millisecond, longest: f.settings.longer(longest), vendor: true,
	}
	k.strike = func(context.Context, *rand.Rand) (struck, error) {
		if !f.set(k, faults) {
			return struck{}, errNoTarget
		}
		return struck{target: "vendor", heal: func(context.Context) error { f.set(k, nil); return nil }}, nil
	}
	return k
}

// set adds or removes a kind of fault. It reports false if the kind is active already.
func (f *vendorFaults) set(k *kind, faults []simulator.Fault) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults == nil {
		f.faults = map[*kind][]simulator.Fault{}
	}
	n := slices.Index(f.active, k)
	switch {
	case faults != nil && n >= 0:
		return false
	case faults != nil:
		f.active = append(f.active, k)
		f.faults[k] = faults
	case n >= 0:
		f.active = slices.Delete(f.active, n, n+1)
	}
	var all []simulator.Fault
	for _, k := range f.active {
		all = append(all, f.faults[k]...)
	}
	f.vendor.SetFaults(all...)
	return true
}
