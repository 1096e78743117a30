// Package redelivery has an interaction delivered again when its next poll is due, to one worker, in one of two ways:
// [Reservations], the default, and [Naks]. Both take a [Delivery] from its beginning to its settlement.
//
// # Reserve, then poll
//
// A worker reserves the next poll of an interaction before it makes this one. The reservation is a message that the
// broker keeps and publishes again by itself at a given time (a server-side schedule). It lies on a subject that
// belongs to the interaction, and the broker stores it only if no other reservation of that interaction is there.
//
//	declared ──intake──▶ reservation 1 ··guidance··▶ due 1 ──▶ reserve 2, ack 1, poll
//	                                                              │      └─ pending: nothing to do
//	                                                              ▼
//	                     reservation 2 ··guidance··▶ due 2 ──▶ reserve 3, ack 2, poll
//	                                                              │      └─ terminal: publish the outcome,
//	                                                              ▼         replace reservation 3 by a tombstone
//	                     tombstone     ··guidance··▶ acked, no poll
//
// Two polls of one interaction are never closer than its poll interval:
//
//  1. A worker polls only after the broker has stored its reservation for the next poll.
//  2. While a reservation is pending, the broker rejects every other reservation for that interaction, so no other
//     worker polls.
//  3. The worker sends its request at least one interval, and half a slack for the way to the vendor, before the
//     reservation falls due. It checks the clock after the broker's acknowledgement and again when it writes the
//     request, and skips the poll if it is late.
//
// The next poll therefore starts at least one interval after this one, whichever worker makes it, whatever crashed in
// between, and whatever a broker forgets about its consumers: it follows from what a stream has stored.
//
// A reservation may be replaced, on the condition that it is still there, by one that falls due later: that only
// lengthens the wait. If a request may outlast its reservation, the worker replaces that by a later one, so that two
// requests of one interaction are never open. When the request ends, the worker moves the reservation back to its first
// due time, or to now if that has passed.
//
// Why nothing is lost: a message is acked only when another message of the same interaction is known to be stored: the
// declared message when its first reservation is, a due message when the next reservation is. At the end the outcome is
// stored first; then the reservation becomes a tombstone. A worker that dies anywhere leaves a reservation or an
// unacked message, and the next one goes on from there.
//
// Why nothing happens twice: outcomes are stored by compare-and-set (package publisher). A worker that dies between
// the outcome and the tombstone costs one more poll, whose outcome turns out to be there.
//
// # What a refusal means
//
// A refused reservation proves nothing by itself. On a replicated stream, one that has just fallen due may still be
// seen for a moment; a worker that took the refusal for "somebody else polls" and acknowledged would lose the
// interaction. So the pending reservation is read, from the stream's leader, and package lifecycle (under schema) says
// what it means. A later one shows that somebody has taken over: the delivery is acknowledged and dropped. Anything
// else is tried again for a second, and then left to the broker's redelivery.
//
// Every declared message may begin a generation, named by the moment at which it was stored. The first reservation of a
// generation is made on the condition that neither a reservation nor a due message of the interaction is stored:
// declared again while its poll is due, or out, an interaction has one chain of reservations all the same. The
// conditions cover all types at once, so an identifier that was declared as audio and as chat has one chain, too.
//
// # The tombstone
//
// When an interaction has ended, its reservation is not deleted but replaced by a tombstone, which falls due like one
// and is then acknowledged without a poll. Until then a stale copy of the last due message finds it pending and is
// dropped. An interaction that is declared again meanwhile waits in its own stream until the tombstone is gone. It does
// not replace it: a schedule that fires takes away all that lies on its subject, also what was stored there in its last
// instant. (What replaces a reservation may be taken away like that too: then the due message is there, and one more
// poll is made.)
//
// # Clocks
//
// Reservations fall due by the clock of the stream's leader. The worker measures that clock against its own at the
// start and every 30 s, and errs to the safe side by the time that the answer took (package clock). Between leaders
// whose clocks differ, the slack of a reservation (a fifth of the guidance, at most a second) is the margin. Beyond it,
// what falls due too soon waits at a worker that has measured both clocks. One that was started in between cannot know:
// keep NTP running.
//
// # Delayed naks
//
// For servers whose schedules are not sound, the declared message itself is delivered again and again: in-progress on
// receipt, poll, nak with a delay. It is polite unless the broker is killed, which forgets delays, and one consumer
// stops re-delivering above some hundreds of arrivals a second. Which way is used is a choice of whoever makes the
// streams.
package redelivery
