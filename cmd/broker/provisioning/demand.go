package provisioning

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/topology"
)

// demand is what a stream and its consumers need in an account.
type demand struct {
	have      *jetstream.StreamConfig // nil if the stream does not exist
	cfg       jetstream.StreamConfig  // the configuration that it will have
	concerned bool                    // whether the limits apply to cfg
	judged    bool                    // whether the limits apply even if nothing changes
	consumers int                     // existing consumers of the stream, including foreign ones
	missing   int                     // consumers to be created
	pending   []topology.Consumer     // consumers to whose MaxAckPending the limits apply
}

func (d demand) object() string { return topology.StreamObject(d.cfg.Name) }

// reserved returns how many bytes of an account's storage a stream reserves. In a tier, that is its maximum size; in an
// account without tiers, its maximum size for each replica.
func reserved(cfg jetstream.StreamConfig, tier string) int64 {
	bytes := max(cfg.MaxBytes, 0)
	if tier == "" {
		bytes *= int64(max(cfg.Replicas, 1))
	}
	return bytes
}

// exceeded returns the limits that some streams exceed.
func exceeded(account *jetstream.AccountInfo, streams []demand) (found []Excess) {
	tiers := map[string][]demand{}
	var names []string
	for _, d := range streams {
		name := ""
		if len(account.Tiers) > 0 {
			name = fmt.Sprintf("R%d", max(d.cfg.Replicas, 1))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		tiers[name] = append(tiers[name], d)
	}
	for _, name := range names {
		tier := account.Tier
		if name != "" {
			tier = account.Tiers[name]
		}
		of := tiers[name]
		if name != "" && tier.Limits == (jetstream.AccountLimits{}) {
			if objects := objectsOf(of, func(d demand) bool { return d.concerned || d.missing > 0 }); len(objects) > 0 {
				found = append(found, Excess{Limit: LimitTier, Tier: name, Objects: objects})
			}
			continue
		}
		found = append(found, exceededIn(name, tier, of)...)
	}
	return found
}

// exceededIn returns the limits of one tier that its streams exceed.
func exceededIn(name string, tier jetstream.Tier, streams []demand) (found []Excess) {
	add := func(l Limit, allowed, used, needed int64, objects ...string) {
		found = append(found, Excess{l, name, allowed, used, needed, objects})
	}
	limits := tier.Limits
	created := objectsOf(streams, func(d demand) bool { return d.have == nil })
	if n := tier.Streams + len(created); len(created) > 0 && limits.MaxStreams > 0 && n > limits.MaxStreams {
		add(LimitMaxStreams, int64(limits.MaxStreams), int64(tier.Streams), int64(len(created)), created...)
	}
	if limits.MaxBytesRequired {
		lacks := func(d demand) bool { return d.concerned && d.cfg.MaxBytes <= 0 }
		if objects := objectsOf(streams, lacks); len(objects) > 0 {
			add(LimitMaxBytesRequired, 0, 0, 0, objects...)
		}
	}
	for _, d := range streams {
		if most := limits.StoreMaxStreamBytes; d.concerned && most > 0 && d.cfg.MaxBytes > most {
			add(LimitMaxStreamBytes, most, 0, d.cfg.MaxBytes, d.object())
		}
	}
	if e := storage(name, tier, streams); e != nil {
		found = append(found, *e)
	}
	for _, d := range consumersBeyond(limits.MaxConsumers, streams) {
		add(LimitMaxConsumers, int64(limits.MaxConsumers), int64(d.consumers), int64(d.missing), d.object())
	}
	if objects, most := unacknowledged(limits.MaxAckPending, streams); len(objects) > 0 {
		add(LimitMaxAckPending, int64(limits.MaxAckPending), 0, int64(most), objects...)
	}
	return found
}

// consumersBeyond returns the streams that will have more consumers than a limit.
func consumersBeyond(limit int, streams []demand) (beyond []demand) {
	for _, d := range streams {
		if limit > 0 && d.missing > 0 && d.consumers+d.missing > limit {
			beyond = append(beyond, d)
		}
	}
	return beyond
}

// unacknowledged returns the consumers whose MaxAckPending is more than a limit, and the largest of these.
func unacknowledged(limit int, streams []demand) (objects []string, most int) {
	for _, d := range streams {
		for _, c := range d.pending {
			if n := c.Config.MaxAckPending; limit > 0 && n > limit {
				objects, most = append(objects, c.Object()), max(most, n)
			}
		}
	}
	return objects, most
}

// storage returns the excess of the account's storage. The broker reserves the maximum size of each stream; a stream
// without one needs at least one byte. For foreign streams, the broker reports the size of one replica only.
func storage(name string, tier jetstream.Tier, streams []demand) *Excess {
	if tier.Limits.MaxStore < 0 {
		return nil
	}
	used, needed := int64(tier.ReservedStore), int64(0)
	var objects []string
	for _, d := range streams {
		if d.have != nil {
			used -= max(d.have.MaxBytes, 0)
		}
		needed += reserved(d.cfg, name)
		if d.have != nil && !d.judged && reserved(d.cfg, name) <= reserved(*d.have, name) {
			continue // it needs no more than it has
		}
		objects = append(objects, d.object())
		if d.cfg.MaxBytes <= 0 {
			needed++
		}
	}
	if used = max(used, 0); len(objects) == 0 || used+needed <= tier.Limits.MaxStore {
		return nil
	}
	return &Excess{LimitMaxStore, name, tier.Limits.MaxStore, used, needed, objects}
}

func objectsOf(streams []demand, are func(demand) bool) (objects []string) {
	for _, d := range streams {
		if are(d) {
			objects = append(objects, d.object())
		}
	}
	return objects
}
