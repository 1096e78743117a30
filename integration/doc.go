// Package integration tests workers against NATS servers and clusters in containers, with a simulated vendor API. Its
// tests check the simulator's log of polls and the outcome stream, not what a worker reports about itself.
//
// Without a container engine the tests are skipped; with STATUSWORKER_REQUIRE_ENGINE=1 they fail. Package harness
// documents the other environment variables.
package integration
