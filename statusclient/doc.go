// Package statusclient sends the vendor's status request. Every result is a [schema.Answer] or a [schema.PollError].
// The consumer decides what it means for an interaction.
//
// Each call of [Client.Status], and each request of [Client.Examine], has three invariants. The consumer relies on them
// to keep the poll interval, and they keep the token secret:
//
//   - At most one request is written. [net/http.Transport] repeats a GET if a reused connection breaks; the check in
//     attempt.go prevents the second request.
//   - No request is written after the time sendBy of the call, even if a dial, a handshake or a paused process took
//     long. The check is in the connection's Write, below TLS, immediately before the system call.
//   - The token is sent only to the configured host, and is never part of an error.
package statusclient
