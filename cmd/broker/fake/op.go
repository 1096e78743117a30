package fake

// Op is an operation of [broker.Broker].
type Op string

// The operations. Publish is also that of a batch.
const (
	Publish      Op = "publish"
	Last         Op = "last"
	Get          Op = "get"
	Next         Op = "next"
	Scan         Op = "scan"
	Count        Op = "count"
	Subjects     Op = "subjects"
	Delete       Op = "delete"
	Stream       Op = "stream"
	Consumer     Op = "consumer"
	Pull         Op = "pull"
	Ack          Op = "ack"
	AckConfirmed Op = "ack confirmed"
	Nak          Op = "nak"
	InProgress   Op = "in-progress"
)

// reads reports whether an operation reads messages.
func (op Op) reads() bool {
	switch op {
	case Last, Get, Next, Scan, Count, Subjects:
		return true
	}
	return false
}
