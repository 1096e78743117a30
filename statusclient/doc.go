// Package statusclient makes the vendor's status request, and turns whatever comes of it into a [schema.Answer] or a
// [schema.PollError]. It is the only package that knows HTTP, and it decides nothing: what a fault means for an
// interaction is the consumer's business.
//
// Three invariants hold for every call of [Client.Status], and for each request of [Client.Examine], because the
// vendor's polling guidance and the token depend on them:
//
//   - At most one request is written. [net/http.Transport] repeats a GET by itself when a reused connection breaks;
//     the gate in attempt.go stops the second one.
//   - Nothing is written after sendBy, however long a dial, a handshake or a paused process took. The gate sits in the
//     connection's Write, below TLS, and so closer to the wire than any check before the call can be.
//   - The token goes to the configured host only, and never into an error.
package statusclient
