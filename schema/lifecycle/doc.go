// Package lifecycle says what the stored messages of one interaction mean. It is pure: no I/O, no clock, no logger.
// Whoever talks to the broker loads a [Snapshot], asks, and applies the verdict.
//
// # Generations
//
// A generation begins with a declared message and is named by the moment at which the broker stored it. Its polls are
// numbered. It ends with its outcome: processed events, or one dead letter. An identifier is one interaction, whatever
// type it is declared under. A [Position] orders its polls by generation, then by number.
//
// # A declared message arrives
//
// The first row that fits counts. S is when the declared message was stored, so it is also its generation.
//
//	stored for the interaction                                verdict
//	an outcome, reservation or due message of generation S    TakenIn: its acknowledgement was lost; acknowledge
//	a processed event                                         Processed: acknowledge; nothing is polled any more
//	a dead letter, stored at S or later                       Twice: acknowledge; S changes nothing
//	a reservation that is no worker's                         Foreign: an error; an operator has to delete it
//	a tombstone                                               Wait until it is gone
//	a reservation of a generation that has a dead letter,
//	  or whose dead letter S replays                          Wait until it is due
//	a reservation of another generation                       Twice: acknowledge; that one is polled
//	a due message of another generation that has not ended    Twice: acknowledge; that one is polled
//	an earlier declared message, under another type, that
//	  begins a generation itself (a replay passes it over)    Twice: acknowledge; that one is taken in
//	a due message that has no more effect                     Reserve, on the condition that no reservation is stored
//	nothing                                                   Reserve, on the condition that neither is stored
//
// A due message has no more effect where it is a tombstone, is no worker's, or is of a generation that has ended: its
// worker finds the reservation of the new generation and drops it.
//
// # A due message arrives, and its worker could not reserve the next poll
//
//	stored reservation                                        verdict
//	of a later position                                       Taken: somebody else polls; acknowledge
//	none, or another                                          Retry: the refusal proves nothing; read again
//
// # An outcome is to be stored, and others are stored already
//
// Only outcomes of this stage count; a message that is no event of it is taken for what its subject says, where that is
// a processed event, and is ignored otherwise. G is the generation of the wanted outcomes.
//
//	stored                                     wanted                   verdict
//	processed event of G                       the same destination     Store the others, or Stored
//	processed event of G                       a dead letter            Contradicted
//	dead letter of G                           the same reason          Stored
//	dead letter of G                           anything else            Contradicted
//	processed event of another generation      anything                 Superseded
//	dead letter of a later generation          anything                 Superseded
//	dead letter of an earlier generation       anything                 Store
//	nothing                                    anything                 Store
//
// Dead letters of invalid messages are no outcomes of an interaction; [Invalid] has their rule.
//
// # The outcome is stored
//
// The reservation becomes a tombstone. Where it has fallen due meanwhile and another worker holds the poll after it,
// that reservation of the same generation becomes the tombstone: [Reserved.EndedBy].
//
// # An operator replays a dead letter
//
// See [Snapshot.Replay].
package lifecycle
