// Package faults runs the statusworker binary while a scheduler injects faults into servers, links, workers and the
// vendor, and checks the promises of docs/reliability.md. It has only tests.
//
//   - TestProcesses: three nats-servers and the workers are processes; all connections pass through TCP proxies
//   - TestContainers: they are containers
//
// Each takes the flags -seed, -duration, -interactions, -redelivery, -kinds and -record. Without flags it runs for
// seconds.
//
// # A run
//
// The workload declares interactions at a steady rate, through connections of its own, until each is acknowledged. It
// declares some twice, some again after their dead letter, and replays some dead letters. The vendor is the simulator.
//
// Storms and calms alternate. In a storm, the scheduler chooses the kind of each fault, what it hits, and its length,
// from the seed; several faults overlap. Before a calm, all faults end, and the tier waits until servers and workers
// work. In a calm, everything that waits must be polled in time. At the end, everything must drain.
//
// The same seed chooses the same interactions. What a fault hits also depends on timing, so a run is not repeated
// exactly.
//
// # The oracle
//
// It reads only the polls that the vendor received, and what the broker's streams store. See its comment for the
// invariants. A violation is printed with the polls, the stored messages, and the faults around it.
package faults
