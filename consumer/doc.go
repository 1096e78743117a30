// Package consumer takes in declared messages, asks for the status of what is due, and sees to it that each interaction
// ends in one outcome. It needs a broker ([Broker]), somebody who asks the vendor ([StatusClient]) and somebody who
// stores outcomes ([OutcomePublisher]).
//
// # One delivery
//
// A lane of each interaction type pulls what is due, no more than there are free slots. A delivery begins, is polled,
// decided ([Decide]) and settled. Before a poll it is certain that the interaction comes back for the next one, and
// that nobody else polls meanwhile: package redelivery does that, by reservations or by delayed naks, and says why two
// polls of one interaction are never too close, and why nothing is lost or done twice. The intake, a lane of its own,
// makes the first reservation of what is declared. With delayed naks there is none.
//
// # What the vendor refuses
//
// A 404, or another 4xx that HTTP defines for the resource, may be about the interaction, and may be an odd answer of a
// gateway or of a vendor that is just being deployed. It ends the interaction only when the same HTTP status has come
// at three polls in a row, over the grace at least; the reservation carries the count. A reservation begins without it
// and gets it after the poll, so that whatever is lost in between makes the count begin anew. With delayed naks each
// worker counts for itself.
//
// It ends nothing where the vendor refuses five or more interactions in the same way and none has succeeded since,
// unless others had a status for half of the grace after this one's first refusal: otherwise it is the base URL, the
// account of the token, or the vendor. Such a worker pauses, with a cause of its own. What was refused before the
// worker began to watch, at its start or at the end of such a pause, counts for nothing.
//
// # The vendor's failures
//
// A worker pauses when the vendor fails, and then polls one at a time until the vendor answers: see package breaker.
// What is due waits with the broker meanwhile. No interaction fails by it before its deadline. A pause because of a
// refused token ends when the token file has another.
//
// # The fleet
//
// A worker announces itself, and with a rate limit it takes an equal share among the workers that are there: see
// package fleet.
package consumer
