package integration

import (
	"slices"
)

// forbidden returns subjects of each kind that none of the shipped users needs. granted lists the exceptions.
func forbidden() []string {
	var all []string
	streams := []string{
		ns.StreamDeclared(),
		ns.StreamPolls(),
		ns.StreamOutcomes(),
		ns.StreamWorkers(),
		"ANOTHER",
	}
	for _, s := range streams {
		for _, what := range []string{
			"STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE", "STREAM.SNAPSHOT", "STREAM.RESTORE",
			"STREAM.LEADER.STEPDOWN", "STREAM.PEER.REMOVE", "DIRECT.GET", "CONSUMER.LIST", "CONSUMER.NAMES",
		} {
			all = append(all, "$JS.API."+what+"."+s)
		}
		all = append(all, "$JS.API.DIRECT.GET."+s+".interactions.hold.audio.x")
		for _, c := range []string{ns.ConsumerIntake(), "poll-audio", "another"} {
			for _, what := range []string{
				"CONSUMER.DELETE", "CONSUMER.PAUSE", "CONSUMER.RESET", "CONSUMER.UNPIN", "CONSUMER.LEADER.STEPDOWN",
				"CONSUMER.DURABLE.CREATE",
			} {
				all = append(all, "$JS.API."+what+"."+s+"."+c)
			}
		}
	}
	for _, what := range []string{"INFO", "STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.MSG.GET"} {
		all = append(all, "$JS.API."+what+".ANOTHER")
	}
	return append(
		all,
		"$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.LIST",
		"$JS.API.ACCOUNT.PURGE.INTERACTIONS",
		"$JS.API.META.LEADER.STEPDOWN",
		"$JS.API.SERVER.REMOVE",
		"$JS.API.STREAM.MSG.GET."+ns.StreamDeclared(),
		"$JS.API.STREAM.MSG.GET."+ns.StreamWorkers(),
		"$JS.API.CONSUMER.CREATE.ANOTHER.x",
		"$JS.API.CONSUMER.CREATE."+ns.StreamOutcomes(),
		"$JS.API.CONSUMER.CREATE."+ns.StreamOutcomes()+".another",
		"$JS.API.CONSUMER.CREATE."+ns.StreamOutcomes()+".transcripts",
		"$JS.API.CONSUMER.CREATE."+ns.StreamOutcomes()+".transcripts.interactions.failed.*.*",
		"$JS.API.CONSUMER.CREATE."+ns.StreamWorkers()+".another",
		"$JS.API.CONSUMER.CREATE."+ns.StreamPolls()+".another",
		"$JS.API.CONSUMER.CREATE."+ns.StreamPolls()+".poll-audio.interactions.hold.*.*",
		"$JS.API.CONSUMER.MSG.NEXT."+ns.StreamOutcomes()+".another",
		"$JS.API.CONSUMER.MSG.NEXT."+ns.StreamDeclared()+".another",
		"$JS.ACK."+ns.StreamOutcomes()+".another.1.1.1.1.0",
		"$JS.ACK."+ns.StreamPolls()+".another.1.1.1.1.0",
		"$JS.FC."+ns.StreamPolls()+".x",
		"$KV.ANOTHER.x",
		"$O.ANOTHER.x",
		"$SYS.REQ.USER.INFO",
		"$SYS.REQ.SERVER.PING",
		"interactions.poll.audio.x",
		"interactions.declared.audio",
		"interactions.declared.audio.x.y",
		"interactions.hold.audio.x.y",
		"interactions.another.audio.x",
		"interactions",
		"another",
	)
}

// needed returns the subjects that a user needs to publish on. The other users may not, except where granted says so.
func needed() map[string][]string {
	need := map[string][]string{}
	for _, user := range []string{"producer", "declare"} {
		need[user] = append(need[user], "interactions.declared.audio.x")
	}
	for _, s := range []string{ns.StreamDeclared(), ns.StreamPolls(), ns.StreamOutcomes(), ns.StreamWorkers()} {
		need["worker"] = append(need["worker"], "$JS.API.STREAM.INFO."+s)
		need["provision"] = append(
			need["provision"],
			"$JS.API.STREAM.INFO."+s,
			"$JS.API.STREAM.CREATE."+s,
			"$JS.API.STREAM.UPDATE."+s,
		)
	}
	need["declare"] = append(need["declare"], "$JS.API.STREAM.INFO."+ns.StreamDeclared(),
		"$JS.API.STREAM.MSG.GET."+ns.StreamDeclared(), "$JS.API.STREAM.MSG.GET."+ns.StreamPolls(),
		"$JS.API.STREAM.MSG.GET."+ns.StreamOutcomes())
	need["provision"] = append(
		need["provision"],
		"$JS.API.CONSUMER.CREATE."+ns.StreamDeclared()+".intake",
		"$JS.API.CONSUMER.CREATE."+ns.StreamPolls()+".poll-audio.interactions.poll.audio.*",
	)
	need["worker"] = append(
		need["worker"],
		"interactions.hold.audio.x",
		"interactions.processed.cxai.x",
		"interactions.failed.not_found.x",
		"$KV."+ns.BucketWorkers()+".x",
		"$JS.API.CONSUMER.MSG.NEXT."+ns.StreamDeclared()+".intake",
		"$JS.API.CONSUMER.MSG.NEXT."+ns.StreamPolls()+".poll-audio",
		"$JS.API.STREAM.MSG.GET."+ns.StreamOutcomes(),
		"$JS.API.STREAM.MSG.GET."+ns.StreamPolls(),
		"$JS.ACK."+ns.StreamPolls()+".poll-chat.1.1.1.1.0",
		"$JS.ACK."+ns.StreamDeclared()+".intake.1.1.1.1.0",
	)
	need["transcripts"] = []string{
		"$JS.API.CONSUMER.CREATE." + ns.StreamOutcomes() + ".transcripts.interactions.processed.transcript.*",
		"$JS.API.STREAM.INFO." + ns.StreamOutcomes(),
		"$JS.API.CONSUMER.INFO." + ns.StreamOutcomes() + ".transcripts",
		"$JS.API.CONSUMER.MSG.NEXT." + ns.StreamOutcomes() + ".transcripts",
		"$JS.ACK." + ns.StreamOutcomes() + ".transcripts.1.1.1.1.0",
	}
	return need
}

// granted returns the subjects of forbidden, and of the other users in needed, that a user may publish on.
func granted() map[string][]string {
	outcomes := "$JS.API.CONSUMER.CREATE." + ns.StreamOutcomes()
	status := []string{
		"$JS.API.STREAM.INFO." + ns.StreamDeclared(),
		"$JS.API.STREAM.INFO." + ns.StreamPolls(),
		"$JS.API.STREAM.INFO." + ns.StreamOutcomes(),
		"$JS.API.STREAM.MSG.GET." + ns.StreamDeclared(),
		"$JS.API.STREAM.MSG.GET." + ns.StreamPolls(),
		outcomes + ".another",
		outcomes + ".transcripts",
		outcomes + ".transcripts.interactions.failed.*.*",
		outcomes + ".transcripts.interactions.processed.transcript.*",
		"$JS.API.CONSUMER.DELETE." + ns.StreamOutcomes() + ".intake",
		"$JS.API.CONSUMER.DELETE." + ns.StreamOutcomes() + ".poll-audio",
		"$JS.API.CONSUMER.DELETE." + ns.StreamOutcomes() + ".another",
	}
	dlq := append(
		slices.Clone(status),
		"$JS.API.STREAM.MSG.GET."+ns.StreamOutcomes(),
		"$JS.API.STREAM.MSG.DELETE."+ns.StreamOutcomes(),
		"$JS.API.CONSUMER.MSG.NEXT."+ns.StreamOutcomes()+".another",
		"$JS.API.CONSUMER.MSG.NEXT."+ns.StreamOutcomes()+".transcripts",
		"interactions.declared.audio.x",
	)
	list := "$JS.API.CONSUMER.LIST." + ns.StreamOutcomes()
	operator := append(slices.Clone(dlq), list, "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO."+ns.StreamWorkers(),
		"$JS.API.STREAM.LEADER.STEPDOWN."+ns.StreamPolls())
	for _, s := range []string{ns.StreamDeclared(), ns.StreamPolls()} {
		operator = append(operator, "$JS.API.CONSUMER.NAMES."+s)
		for _, c := range []string{ns.ConsumerIntake(), "poll-audio", "another"} {
			operator = append(operator, "$JS.API.CONSUMER.PAUSE."+s+"."+c)
		}
	}
	announced := "$JS.API.DIRECT.GET." + ns.StreamWorkers() + ".interactions.hold.audio.x"
	return map[string][]string{
		"declare": {"$JS.API.STREAM.MSG.GET." + ns.StreamDeclared()},
		// It recreates a consumer that would skip stored messages.
		"provision": {
			"$JS.API.STREAM.MSG.GET." + ns.StreamDeclared(),
			"$JS.API.STREAM.MSG.GET." + ns.StreamPolls(),
			"$JS.API.CONSUMER.DELETE." + ns.StreamDeclared() + ".intake",
			"$JS.API.CONSUMER.DELETE." + ns.StreamDeclared() + ".poll-audio",
			"$JS.API.CONSUMER.DELETE." + ns.StreamPolls() + ".poll-audio",
			"$SYS.REQ.USER.INFO", // it shows the account
		},
		"worker": {"$JS.API.STREAM.MSG.GET." + ns.StreamDeclared(), list, announced},
		"status": append(status, list, "$JS.API.STREAM.MSG.GET."+ns.StreamOutcomes(),
			"$JS.API.STREAM.INFO."+ns.StreamWorkers(), announced),
		"dlq":      dlq,
		"operator": append(operator, announced),
	}
}
