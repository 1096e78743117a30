// Package permissions has the NATS users of statusworker: one for each command, for producers, operators and consumers
// of outcomes, with the permissions that each of them needs.
package permissions

import (
	_ "embed"
	"io"
	"strings"
	"text/template"

	"statusworker/schema"
)

//go:embed statusworker.conf.tmpl
var text string

var conf = template.Must(template.New("statusworker.conf").Funcs(template.FuncMap{
	"user": User, "inbox": Inbox, "password": password,
}).Parse(text))

// Write writes a configuration of nats-server: one account with the users of all these namespaces.
func Write(w io.Writer, namespaces []schema.Namespace) error { return conf.Execute(w, namespaces) }

// User returns the name of a user in a namespace. The role is its name in the default namespace.
func User(n schema.Namespace, role string) string {
	if n.IsDefault() {
		return role
	}
	return n.String() + "-" + role
}

// Inbox returns the prefix of the subjects on which a user may receive replies.
func Inbox(n schema.Namespace, role string) string { return "_INBOX_" + User(n, role) }

// SamePasswords reports whether the users of two namespaces have the same variables for their passwords.
func SamePasswords(a, b schema.Namespace) bool { return password(a, "") == password(b, "") }

// password returns the variable that has the password of a user.
func password(n schema.Namespace, role string) string {
	return strings.ToUpper(strings.ReplaceAll(User(n, role), "-", "_")) + "_PASSWORD"
}
