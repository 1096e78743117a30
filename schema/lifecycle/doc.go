// Package lifecycle decides what the stored messages of one interaction mean. It does no I/O, and uses no clock and no
// logger. The caller loads a [Snapshot] from the broker, calls one of its methods, and acts on the verdict.
//
// # Generations
//
// A generation begins with a declared message. The time at which the broker stored that message identifies it. Its
// polls are numbered. It ends with its outcome: processed events, or one dead letter. An identifier is one interaction,
// even if it is declared under several types. A [Position] orders its polls by generation, then by number.
//
// A message is foreign if statusworker did not store it.
//
// # A declared message arrives
//
// The first matching row applies. M is the declared message, and S the time at which it was stored, which is also its
// generation.
//
//	stored for the interaction                                verdict
//	an outcome, reservation or due message of generation S    TakenIn: its acknowledgement was lost; acknowledge
//	a processed event that is not foreign, stored at S or
//	  later                                                   Twice: acknowledge; M changes nothing
//	another processed event that is not foreign               Processed: acknowledge; polling has ended
//	a dead letter, stored at S or later, that M does not
//	  replay                                                  Twice: acknowledge; M changes nothing
//	a foreign reservation                                     Foreign: an error; an operator has to delete it
//	a tombstone                                               Wait until it is deleted
//	a reservation of a generation that has ended in a dead
//	  letter, that should not have begun (its message was
//	  Twice), or whose dead letter M replays                  Wait until it is due
//	a reservation of another generation                       Undecided: wait for the outcome of that generation
//	a due message of another generation that has not ended    Undecided: wait for the outcome of that generation
//	an earlier declared message, under another type, that
//	  begins a generation (ignored if M is a replay)          Undecided: wait until that message is taken in
//	a due message without effect                              Wait until it is acknowledged
//	nothing                                                   Reserve, on the condition that nothing is stored
//
// A due message is without effect if it is a tombstone, is foreign, or belongs to a generation that has ended.
//
// # What is read may be old
//
// A replaced leader answers reads from what was stored before, until it hears from the new one. What a snapshot
// contains was stored, but what it lacks may be stored as well, and its reservation or declared message may be gone.
// Therefore:
//
//   - An outcome decides, and so does a message of generation S: that they were stored remains true.
//   - The reservation of another generation does not decide. That generation may have ended in a dead letter before S,
//     which the snapshot lacks.
//   - TakenIn, Twice and Processed, which end a delivery, never follow from the absence of a message. Reserve does
//     follow from it, but the broker checks its condition, and the outcome of a generation that should not have begun
//     is Superseded.
//
// # A due message arrives, and its worker could not reserve the next poll
//
//	stored                                                    verdict
//	a reservation or a due message of a later position        Taken: another worker polls; acknowledge
//	the tombstone of its generation                           Taken: polling has ended; acknowledge
//	anything else                                             Retry: a rejection proves nothing; read again
//
// # An outcome is to be stored, and others are stored already
//
// A foreign message on the subject of a processed event counts as that event. A foreign message on the subject of a
// dead letter is ignored. G is the generation of the wanted outcomes.
//
//	stored                                     wanted                   verdict
//	processed event of G                       the same destination     Store the others, or Stored
//	processed event of G                       a dead letter            Contradicted
//	dead letter of G                           the same reason          Stored
//	dead letter of G                           anything else            Contradicted
//	processed event of another generation      anything                 Superseded
//	dead letter of a later generation          anything                 Superseded
//	dead letter of an earlier generation,
//	  stored at G or later, that G does not
//	  replay                                   anything                 Superseded
//	dead letter of an earlier generation       anything                 Store
//	nothing                                    anything                 Store
//
// Dead letters of invalid messages are not outcomes of an interaction. Each invalid message has its own dead letter:
// [Snapshot.Publish] compares such dead letters only with each other.
//
// # The outcome is stored
//
// The reservation becomes a tombstone. If it has fallen due in the meantime and another worker has reserved the poll
// after it, that reservation of the same generation becomes the tombstone: [Reserved.EndedBy].
//
// # An operator replays a dead letter
//
// See [Snapshot.Replay].
package lifecycle
