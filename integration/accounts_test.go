package integration

import (
	"fmt"
	"strings"
)

// accountPassword is the password of every user that [accounts] configures.
const accountPassword = "secret"

// accounts configures n accounts with JetStream, so that n scenarios can share a broker: none of them sees the streams
// of another. Clients without credentials belong to the first account.
func accounts(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "no_auth_user: %s\naccounts {\n", account(0))
	for i := range n {
		const line = "  %s { jetstream: enabled, users: [{ user: %[1]s, password: %s }] }\n"
		fmt.Fprintf(&b, line, account(i), accountPassword)
	}
	b.WriteString("}\n")
	return b.String()
}

// account is the name of an account that [accounts] configures, and of its user.
func account(i int) string { return fmt.Sprintf("a%d", i) }

// inAccount adds the credentials of the scenario's account to addresses of its broker, or of a proxy before it.
func (at setting) inAccount(urls string) string {
	if at.account == "" {
		return urls
	}
	return strings.ReplaceAll(urls, "nats://", "nats://"+at.account+":"+accountPassword+"@")
}
