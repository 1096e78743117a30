package connect

import (
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/api"
	"statusworker/cmd/internal/cli"
	"statusworker/schema"
)

// JetStream returns the JetStream that the flags select, over a connection.
func (f Flags) JetStream(nc *nats.Conn) (jetstream.JetStream, error) { return f.api().JetStream(nc) }

// api returns the prefix of the JetStream that the flags select.
func (f Flags) api() api.Prefix {
	switch {
	case f.JSDomain != "":
		return api.Domain(f.JSDomain)
	case f.JSAPIPrefix != "":
		return api.Prefix(strings.TrimSuffix(f.JSAPIPrefix, ".") + ".")
	}
	return api.Default
}

// checkAPI rejects a domain and an API prefix that cannot be used.
func (f Flags) checkAPI() error {
	switch {
	case f.JSDomain != "" && f.JSAPIPrefix != "":
		return cli.Usagef("%s and %s are set: set only one of them", f.Name("js-domain"), f.Name("js-api-prefix"))
	case f.JSDomain != "" && (!validSubject(f.JSDomain) || strings.Contains(f.JSDomain, ".")):
		return f.bad("js-domain", schema.Quote(f.JSDomain),
			"a name without dots, white space and wildcards, such as hub")
	case f.JSAPIPrefix != "" && !validSubject(strings.TrimSuffix(f.JSAPIPrefix, ".")):
		return f.bad("js-api-prefix", schema.Quote(f.JSAPIPrefix),
			"a subject without white space and wildcards, such as hub.API")
	}
	return nil
}
