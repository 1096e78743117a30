// Package simulator is the vendor's API in-process, on a real listener: interactions that live through the vendor's
// statuses, a script of faults, and a log of every poll with the moment at which it arrived. It is for tests, and knows
// nothing of the client that it serves.
package simulator
