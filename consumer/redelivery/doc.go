// Package redelivery makes the broker deliver an interaction again when its next poll is due, to one worker. It has two
// modes: [Reservations], the default, and [Naks]. Both begin and settle each [Delivery].
//
// # Reserve, then poll
//
// A worker reserves the next poll of an interaction before it makes this one. The reservation is a message that the
// broker publishes again at a given time (a server-side schedule). It is stored on a subject of the interaction.
//
//	declared ──intake──▶ reservation 1 ··interval··▶ due 1 ──▶ reserve 2, ack 1, poll
//	                                                              │      └─ pending: nothing to do
//	                                                              ▼
//	                     reservation 2 ··interval··▶ due 2 ──▶ reserve 3, ack 2, poll
//	                                                              │      └─ final: publish the outcome,
//	                                                              ▼         replace reservation 3 by a tombstone
//	                     tombstone     ··interval··▶ acked, no poll
//
// Two polls of one interaction are never closer than its poll interval:
//
//  1. A worker polls only after the broker has stored its reservation for the next poll.
//  2. While a reservation is stored, the broker rejects every other reservation for that interaction, so no other
//     worker polls.
//  3. The worker sends its request at least one interval, and a guard for the way to the vendor, before the reservation
//     falls due. It checks the clock after the broker's acknowledgement and again when it writes the request. If it is
//     late, it replaces the reservation by a later one, or skips the poll. If the answer shows that the request may
//     have taken longer to the vendor than the guard, it postpones the reservation.
//
// The next request is therefore written at least one interval after this one, whichever worker makes it, whatever
// crashed in between, and whatever the broker forgets about its consumers: it depends only on what a stream has stored.
// There are two exceptions. If the servers' clocks differ, the next request may be written early: see below. The vendor
// may receive it early if a worker died during a request that took longer to the vendor than the guard.
//
// A worker may replace its reservation, on the condition that it is still stored, by one that falls due later: that
// only lengthens the wait. It also does so if a request may outlast the reservation, so that two requests of one
// interaction are never in flight. When the request ends, the worker moves the reservation to one interval after that.
//
// Nothing is lost. A worker acknowledges a message only when another message of the same interaction is stored: the
// declared message after its first reservation, and a due message after the next reservation. At the end it stores the
// outcome first, and then replaces the reservation by a tombstone. A worker that dies at any point leaves a reservation
// or an unacknowledged message, with which another worker continues.
//
// Nothing happens twice. Outcomes are stored by compare-and-set (package publisher). If a worker dies between the
// outcome and the tombstone, the interaction is polled once more, and the worker then finds the stored outcome.
//
// # Rejected reservations
//
// A rejection alone does not prove that another worker has reserved the poll. A replicated stream may still count a
// reservation for a moment after it has fallen due. A worker that took the rejection as a sign of another worker, and
// acknowledged its message, would lose the interaction. So the worker reads the stored reservation from the stream's
// leader, and package schema/lifecycle decides what it means. If it is a later one, another worker has taken over: the
// delivery is acknowledged and dropped. The same holds if a later one has fallen due. Otherwise the worker retries for
// a second. Then it leaves the message unacknowledged, and the broker delivers it again.
//
// Each declared message may begin a generation, which is identified by the time at which the message was stored. The
// first reservation of a generation requires that neither a reservation nor a due message of the interaction is stored.
// An interaction that is declared again while its poll is due or in flight therefore has one chain of reservations. The
// conditions cover all types, so an identifier that was declared as an audio and as a chat has one chain, too.
//
// # Reads may be old
//
// A replaced leader answers reads without what was stored since. Nothing is acknowledged because a message is absent:
// see package schema/lifecycle. A declared message of an interaction that is already polled is redelivered after a
// poll, and less often as it gets older, until the outcome that decides about it is read.
//
// # The tombstone
//
// When an interaction has ended, its reservation is not deleted. It is replaced by a tombstone, which falls due in the
// same way and is then acknowledged without a poll. Until then, the worker that gets a stale copy of the last due
// message finds the tombstone, and drops the copy. A declared message that arrives meanwhile waits in its own stream
// until the tombstone is deleted. It does not replace the tombstone: a schedule that fires deletes all messages on its
// subject, including one that was stored there in its last instant. (A message that replaces a reservation may be
// deleted in the same way. The due message is stored in that case, and causes one more poll.)
//
// # Clocks
//
// Reservations fall due by the clock of the stream's leader. The worker measures that clock at the start and every 10
// s, and allows for the time that the answer took (package clock). A reservation that was made by one server's clock
// may fall due too early by another server's clock. Therefore the due message carries the intended due time, and the
// name of the server by whose clock it was chosen. The worker that gets the message waits until that server's clock has
// reached the intended time. If the wait is short, the worker then polls. If it is longer, the worker reserves the same
// poll again.
//
// The broker may redeliver a due message late. If the next poll has fallen due early meanwhile, the reservation of that
// poll is no longer stored, and nothing would stop the worker from reserving the poll a second time. Therefore, if the
// due message is older than half an interval, the worker first reads what is stored for the interaction. While 1,000 or
// more messages are not delivered, the worker reads only if the due message was delivered before, or was pulled more
// than half an interval ago.
//
// # Delayed naks
//
// This mode is for servers without reliable schedules. The declared message itself is delivered again and again. At
// each delivery, a worker marks it as in progress, polls, and returns it by a nak with a delay. This mode keeps the
// poll interval, except in the cases that docs/reliability.md lists: for example, a broker that is killed forgets
// delays. One consumer stops redelivering above some hundreds of messages per second. The operator chooses the mode
// when the streams are provisioned.
//
// The broker checks no condition before a poll. So a worker reads whether the declared message begins a generation, and
// remembers for some minutes that it does.
package redelivery
