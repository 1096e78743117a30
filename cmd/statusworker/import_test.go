package main

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// Every command works over a JetStream API that is imported from another account.
func TestImportedAPI(t *testing.T) {
	t.Parallel()
	file := written(t, "nats.conf", `
accounts {
  STREAMS {
    jetstream: enabled
    users: [ { user: owner, password: of-a-user } ]
    exports: [
      { service: "$JS.API.>", response_type: stream }
      { service: "$JS.ACK.>" }
      { service: "$KV.INTERACTIONS_WORKERS.*" }
      { service: "interactions.>" }
    ]
  }
  WORKERS {
    users: [ { user: me, password: of-a-user } ]
    imports: [
      { service: { account: STREAMS, subject: "$JS.API.>" }, to: "hub.API.>" }
      { service: { account: STREAMS, subject: "$JS.ACK.>" } }
      { service: { account: STREAMS, subject: "$KV.INTERACTIONS_WORKERS.*" }, to: "hub.API.$KV.INTERACTIONS_WORKERS.*" }
      { service: { account: STREAMS, subject: "interactions.>" } }
    ]
  }
}
`)
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options.JetStream, options.StoreDir, options.ServerName = true, t.TempDir(), "n1"
	works(t, map[string]string{"NATS_URL": bare(t, *options), "NATS_USER": "me", "NATS_PASSWORD": userPassword,
		"NATS_JS_API_PREFIX": "hub.API"})
}
