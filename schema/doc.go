// Package schema holds the nouns on the wire: the names of streams, consumers and subjects, the declared message that
// comes in, the vendor's answer, and the outcomes that go out. It imports no sibling, and it does no I/O.
package schema
