package main

import (
	"slices"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/permissions"
	"statusworker/schema"
)

type permissionsCommand struct {
	Namespaces []schema.Namespace `name:"namespace" var:"STATUSWORKER_NAMESPACE" default:"interactions" sep:"," help:"Namespaces of the users. Repeat the flag for several, or separate them by commas: their users are then in one account."`
}

// Run prints the users of the namespaces.
func (c permissionsCommand) Run(p cli.Process) error {
	if len(c.Namespaces) == 0 {
		return cli.BadFlag(c, "namespace", `""`, "at least one namespace")
	}
	for i, n := range c.Namespaces {
		if slices.Contains(c.Namespaces[:i], n) {
			return cli.Usagef("--namespace has %s twice: name each namespace once", n)
		}
		for _, other := range c.Namespaces[:i] {
			if permissions.SamePasswords(other, n) {
				return cli.Usagef("--namespace has %s and %s: their users would share variables of passwords; "+
					"choose names that differ by more than - and _", other, n)
			}
		}
	}
	return permissions.Write(p.Stdout, c.Namespaces)
}
