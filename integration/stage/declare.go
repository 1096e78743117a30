package stage

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// Declare makes the vendor know a new interaction, publishes its declared message, and returns its identifier. Members
// are further members of the message, such as `"includeAiResults":false`.
func (s *Stage) Declare(t schema.Type, script simulator.Script, members ...string) string {
	s.T.Helper()
	id := uuid.NewString()
	s.Vendor.Declare(id, script)
	s.DeclareAs(t, id, members...)
	return id
}

// DeclareAs publishes the declared message of an identifier.
func (s *Stage) DeclareAs(t schema.Type, id string, members ...string) {
	s.T.Helper()
	s.Publish(ns.DeclaredSubject(t, id), string(Declaration(t, id, members...)))
}

// Declaration is the data of a declared message.
func Declaration(t schema.Type, id string, members ...string) []byte {
	data := fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":%q`, id, t)
	for _, m := range members {
		data = append(append(data, ','), m...)
	}
	return append(data, '}')
}

// Publish stores a message.
func (s *Stage) Publish(subject, data string) {
	s.T.Helper()
	s.PublishMessage(broker.Publication{Subject: subject, Data: []byte(data)})
}

// PublishMessage stores a message.
func (s *Stage) PublishMessage(p broker.Publication) {
	s.T.Helper()
	_, err := s.TryPublish(p)
	s.Check(err)
}

// TryPublish stores a message, if the broker accepts it.
func (s *Stage) TryPublish(p broker.Publication) (broker.Ack, error) {
	s.remember(p.Subject)
	return s.Broker.Publish(s.Ctx, p)
}

// remember keeps the type of the interaction that a subject names, for [Stage.CheckIntervals]. If a test declares an
// interaction under several types, the one with the shortest interval counts.
func (s *Stage) remember(subject string) {
	kind, id, _ := ns.SplitSubject(subject)
	id = strings.ToLower(id) // as the vendor logs it
	s.mu.Lock()
	defer s.mu.Unlock()
	known, typ := s.types[id], schema.Type(kind)
	if typ.Valid() && (known == "" || s.Config.Intervals.Of(typ) < s.Config.Intervals.Of(known)) {
		s.types[id] = typ
	}
}
