package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/api"
	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/cli"
	"statusworker/schema"
)

// target is where streams are created. A member is empty if the user has no permission to read it.
type target struct {
	domain, server, cluster, account string
}

func (t target) String() string {
	parts := []string{}
	if t.domain != "" {
		parts = append(parts, "JetStream domain "+t.domain)
	}
	if t.account != "" {
		parts = append(parts, "account "+t.account)
	}
	parts = append(parts, "through server "+t.server)
	if t.cluster != "" && t.cluster != t.server { // without a cluster, a leaf node reports its own name
		parts = append(parts, "of cluster "+t.cluster)
	}
	return strings.Join(parts, ", ")
}

// targetWithin limits the requests that find out where streams are created.
const targetWithin = 2 * time.Second

// checkTarget rejects a JetStream in which the streams do not belong. If something is missing, it prints where it is
// about to be created.
func (c provisionCommand) checkTarget(
	ctx context.Context, js jetstream.JetStream, p cli.Process, missing bool,
) error {
	if err := c.checkOther(ctx, js); err != nil || !missing {
		return err
	}
	return c.announce(ctx, js, p)
}

// announce prints where the streams are about to be created. It returns an error if the JetStream has a domain that was
// not chosen.
func (c provisionCommand) announce(ctx context.Context, js jetstream.JetStream, p cli.Process) error {
	t := locate(ctx, js)
	if t.domain != "" && api.Of(js) == api.Default {
		return &domainError{Domain: t.domain, Server: t.server}
	}
	does := "creating"
	if c.DryRun {
		does = "would create"
	}
	say(p.Stdout, "%s in: %s", does, t)
	return nil
}

// domainError reports that streams would be created in the domain of the connected server, which was not chosen. There
// may be the same streams in another domain, to which the leaf nodes pass the same subjects.
type domainError struct{ Domain, Server string }

func (e *domainError) Error() string {
	return fmt.Sprintf("the JetStream of server %s has the domain %s, and --js-domain ($NATS_JS_DOMAIN) is not set; "+
		"nothing was created. Set it to %[2]s to create the streams there, or to the domain in which they belong, "+
		"such as that of a hub: if two domains have them, each message is stored in both", e.Server, e.Domain)
}

// locate reads where a connection creates streams.
func locate(ctx context.Context, js jetstream.JetStream) target {
	nc := js.Conn()
	t := target{server: nc.ConnectedServerName(), cluster: nc.ConnectedClusterName()}
	ctx, cancel := context.WithTimeout(ctx, targetWithin)
	defer cancel()
	if m, err := permission.RequestAPI(ctx, js, nil, "INFO"); err == nil {
		var answer struct{ Domain string }
		if json.Unmarshal(m.Data, &answer) == nil {
			t.domain = answer.Domain
		}
	}
	if m, err := permission.RequestWithContext(ctx, nc, "$SYS.REQ.USER.INFO", nil); err == nil {
		var answer struct {
			Data struct{ Account string }
		}
		if json.Unmarshal(m.Data, &answer) == nil {
			t.account = answer.Data.Account
		}
	}
	return t
}

// checkOther returns an error if a domain or an API prefix is set, and the JetStream of the connected server has a
// stream with the name of one that the command would create: both would store each message.
func (c provisionCommand) checkOther(ctx context.Context, js jetstream.JetStream) error {
	if api.Of(js) == api.Default {
		return nil
	}
	own, err := api.Default.JetStream(js.Conn())
	if err != nil {
		return err
	}
	for _, stream := range c.Namespace.Streams() {
		there, exists := created(ctx, own, stream)
		if !exists {
			continue
		}
		if here, exists := created(ctx, js, stream); !exists || !here.Equal(there) {
			return &otherJetStreamError{
				Setting: c.apiSetting(), Stream: stream, Server: js.Conn().ConnectedServerName(),
			}
		}
	}
	return nil
}

// apiSetting names the setting that selects the JetStream.
func (c provisionCommand) apiSetting() string {
	if c.JSDomain != "" {
		return c.Name("js-domain") + " is " + schema.Quote(c.JSDomain)
	}
	return c.Name("js-api-prefix") + " is " + schema.Quote(c.JSAPIPrefix)
}

// otherJetStreamError reports that the connected server's own JetStream has a stream of the same name.
type otherJetStreamError struct {
	// Setting is what selects the other JetStream.
	Setting, Stream, Server string
}

func (e *otherJetStreamError) Error() string {
	return fmt.Sprintf("%s, but the connected server %s has the stream %s in its own JetStream, too: both would store "+
		"each message; nothing was changed. Delete the streams in one of the two", e.Setting, e.Server, e.Stream)
}

// created returns when a stream was created, and whether it can be read.
func created(ctx context.Context, js jetstream.JetStream, stream string) (at time.Time, exists bool) {
	ctx, cancel := context.WithTimeout(ctx, targetWithin)
	defer cancel()
	m, err := permission.RequestAPI(ctx, js, nil, "STREAM.INFO", stream)
	if err != nil {
		return at, false
	}
	var answer struct {
		Error   *jetstream.APIError
		Created time.Time
	}
	err = json.Unmarshal(m.Data, &answer)
	return answer.Created, err == nil && answer.Error == nil
}
