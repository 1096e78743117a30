package flags

import "statusworker/schema"

// Stage selects the namespace of a deployment of statusworker.
type Stage struct {
	Namespace schema.Namespace `name:"namespace" var:"STATUSWORKER_NAMESPACE" default:"interactions" help:"First part of the names of all streams, subjects and the bucket in NATS. Each stage that shares a NATS account with another needs its own: 1 to 32 lower-case letters, digits, - and _, beginning with a letter."`
}
