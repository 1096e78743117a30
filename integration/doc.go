// Package integration tests the stage against NATS servers and clusters in containers, with the vendor's API simulated.
// What its tests believe is the simulator's log of polls and the outcome stream, never what a worker says of itself.
//
// Without a container engine its tests are skipped, loudly; STATUSWORKER_REQUIRE_ENGINE=1 makes that a failure. See the
// package harness for what else the environment can set.
package integration
