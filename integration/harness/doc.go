// Package harness runs what the container tests need:
//
//   - NATS servers and clusters in containers, which a test can kill and restart ([Server], [Cluster])
//   - a proxy that shows a test each protocol message between a worker and its broker before it passes ([Proxy])
//   - worker processes ([Process])
//   - an oracle that reads the outcomes of all interactions from the outcome stream, and from nothing else ([Oracle])
//
// A test package that uses it calls [Main] in its TestMain. No container is left behind when its tests end, even when
// they time out or are killed.
//
// Every wait is bounded, and is for a condition or an event: see [Eventually].
package harness
