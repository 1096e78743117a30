// Package consumer takes in declared messages, polls the status of interactions, and ends each interaction with one
// outcome. It requires a broker ([Broker]), a client of the vendor ([StatusClient]) and a publisher of outcomes
// ([OutcomePublisher]).
//
// # One delivery
//
// For each interaction type a lane pulls due messages, never more than there are free slots. The worker begins each
// delivery, polls the vendor, decides what the answer means ([Decide]), and settles the delivery. To begin a delivery
// is to ensure that the interaction will be delivered again, and that no other worker polls it meanwhile. Package
// redelivery does that, by reservations or by delayed naks. It explains why two polls of one interaction are never too
// close, and why nothing is lost or done twice. The intake is another lane: it makes the first reservation for a
// declared message. With delayed naks there is no intake. If the stream of reservations has a maximum size, the intake
// pauses before the broker would delete reservations: see [redelivery.Room].
//
// # Refusals
//
// A 404, or another 4xx of [schema.FaultRejected], can mean that the vendor refuses this interaction. It can also come
// from a gateway, or from a vendor during a deployment. It ends the interaction only if the same HTTP status came at
// three polls in a row, over at least the grace period. The reservation carries the count. A reservation is first
// stored without the count, and is updated with it after the poll, so that a lost update resets the count. With delayed
// naks each worker counts for itself.
//
// If the vendor refuses many interactions alike, the cause is probably not an interaction, but the base URL, the
// account of the token, or the vendor. So a refusal ends nothing while five or more interactions, this one included,
// have been refused with the same HTTP status, and the vendor has given no status since. There is one exception: the
// refusal ends the interaction if the vendor gave a status for another one at least half of the grace period (and at
// least the longest interval) after this one was first refused.
//
// If no poll has succeeded for about a minute meanwhile, the worker pauses with the cause `refused`. Refusals from
// before the worker's start, or from before the end of such a pause, do not count.
//
// # Vendor failures
//
// A worker pauses when the vendor fails, and then polls one interaction at a time until the vendor answers: see package
// breaker. Due messages wait at the broker meanwhile. No interaction fails because of a vendor failure before its
// deadline. A pause because of a 401 or 403 ends when the token file changes.
//
// # The fleet
//
// A worker announces itself. With a rate limit it takes an equal share among the live workers: see package fleet.
package consumer
