package explore

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"statusworker/schema"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// client is the status client of one actor. A poll passes the gate before the status client checks whether it is too
// late.
type client struct {
	*statusclient.Client
	x *engine
	a *actor
}

// Status asks the vendor, see [statusclient.Client.Status].
func (c client) Status(ctx context.Context, id string, sendBy time.Time) (schema.Answer, error) {
	o := &operation{actor: c.a, kind: poll, object: short(id), id: id, writes: vendor}
	o.do = func() (any, error) { return nil, nil }
	o.done = make(chan result, 1)
	if !c.x.enter(o) {
		return c.Client.Status(canceled, id, sendBy)
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		o.gone.Store(true)
	case <-c.a.killed:
		ctx = canceled
	}
	return c.Client.Status(ctx, id, sendBy)
}

// canceled is a context that has ended.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// slowWay is a connection to the vendor, on which a request may take some time.
type slowWay struct {
	net.Conn
	a *actor
}

// Write implements [net.Conn].
func (c slowWay) Write(p []byte) (int, error) {
	if way := time.Duration(c.a.way.Swap(0)); way > 0 {
		time.Sleep(way)
	}
	return c.Conn.Write(p)
}

// received is called with each poll before it is answered.
func (x *engine) received(p simulator.Poll) {
	a := x.askerOf(p.Identifier)
	o := &operation{actor: a, kind: answer, object: short(p.Identifier), id: p.Identifier, writes: vendor}
	o.do = func() (any, error) { return nil, nil }
	o.done = make(chan result, 1)
	if !x.enter(o) {
		return
	}
	select {
	case <-o.done:
	case <-a.killed:
	}
}

func (x *engine) askerOf(id string) *actor {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.askers[id]
}

// armed is a wrong answer to the next poll of an interaction.
type armed struct {
	id    string
	fault simulator.Fault
	used  *atomic.Bool
}

// asks prepares the vendor for the next poll of an interaction.
func (x *engine) asks(o *operation) {
	x.mu.Lock()
	x.askers[o.id] = o.actor
	x.mu.Unlock()
	l, onWay := x.oracle.interactions[o.id], o.fate.Way
	if l.asked++; onWay > 0 {
		l.slow = append(l.slow, slow{o.actor, time.Now()})
	} else if l.asked%2 == 0 {
		onWay = x.world.Way
	}
	o.actor.way.Store(int64(onWay))
	x.armed = slices.DeleteFunc(x.armed, func(a armed) bool { return a.id == o.id || a.used.Load() })
	if f, ok := vendorFaults[o.fate.Vendor]; ok {
		used := new(atomic.Bool)
		f.Only = func(id string) bool { return id == o.id && !used.Swap(true) }
		x.armed = append(x.armed, armed{id: o.id, fault: f, used: used})
	}
	faults := make([]simulator.Fault, 0, len(x.armed))
	for _, a := range x.armed {
		faults = append(faults, a.fault)
	}
	x.stage.Vendor.SetFaults(faults...)
}
