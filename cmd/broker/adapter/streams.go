package adapter

import (
	"cmp"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/broker"
	"statusworker/schema/topology"
)

// StreamConfigs converts streams and consumers from the types of nats.go.
func StreamConfigs(set topology.Set) []broker.StreamConfig {
	var streams []broker.StreamConfig
	for _, s := range set.Streams {
		c := broker.StreamConfig{
			Name:                 s.Name,
			Subjects:             s.Subjects,
			WorkQueue:            s.Retention == jetstream.WorkQueuePolicy,
			DiscardNew:           s.Discard == jetstream.DiscardNew,
			DiscardNewPerSubject: s.DiscardNewPerSubject,
			MaxPerSubject:        s.MaxMsgsPerSubject,
			MaxMsgs:              s.MaxMsgs,
			MaxBytes:             s.MaxBytes,
			MaxAge:               s.MaxAge,
			Duplicates:           s.Duplicates,
			Schedules:            s.AllowMsgSchedules,
			AtomicBatches:        s.AllowAtomicPublish,
			DirectGets:           s.AllowDirect,
			DenyDelete:           s.DenyDelete,
			Rollups:              s.AllowRollup,
			Memory:               s.Storage == jetstream.MemoryStorage,
			Replicas:             s.Replicas,
		}
		for _, of := range set.Consumers {
			if of.Stream == s.Name {
				c.Consumers = append(c.Consumers, broker.ConsumerConfig{
					Name: of.Config.Durable, Filter: of.Config.FilterSubject, AckWait: of.Config.AckWait,
					MaxAckPending: of.Config.MaxAckPending, MaxDeliver: max(0, of.Config.MaxDeliver),
				})
			}
		}
		streams = append(streams, c)
	}
	return streams
}

// Topology converts streams and consumers to the types of nats.go. It is the inverse of [StreamConfigs].
func Topology(streams ...broker.StreamConfig) topology.Set {
	var set topology.Set
	for _, c := range streams {
		s := jetstream.StreamConfig{
			Name: c.Name, Subjects: c.Subjects, DiscardNewPerSubject: c.DiscardNewPerSubject,
			MaxMsgsPerSubject: c.MaxPerSubject, MaxMsgs: c.MaxMsgs, MaxBytes: c.MaxBytes, MaxAge: c.MaxAge,
			Duplicates:        c.Duplicates,
			AllowMsgSchedules: c.Schedules, AllowAtomicPublish: c.AtomicBatches,
			AllowDirect: c.DirectGets, DenyDelete: c.DenyDelete, AllowRollup: c.Rollups,
			Replicas: max(c.Replicas, 1),
		}
		if c.WorkQueue {
			s.Retention = jetstream.WorkQueuePolicy
		}
		if c.DiscardNew {
			s.Discard = jetstream.DiscardNew
		}
		if c.Memory {
			s.Storage = jetstream.MemoryStorage
		}
		set.Streams = append(set.Streams, s)
		for _, of := range c.Consumers {
			set.Consumers = append(set.Consumers, topology.Consumer{Stream: c.Name, Config: jetstream.ConsumerConfig{
				Durable: of.Name, FilterSubject: of.Filter, AckPolicy: jetstream.AckExplicitPolicy, AckWait: of.AckWait,
				MaxDeliver: cmp.Or(of.MaxDeliver, -1), MaxAckPending: of.MaxAckPending,
			}})
		}
	}
	return set
}
