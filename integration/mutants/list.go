package main

// mutant is a set of edits that removes one defence.
type mutant struct {
	name string
	// removes completes "without ...".
	removes string
	edits   []edit
	// mode is the mode of redelivery of the histories.
	mode string
	// pkg is the package whose tests notice the mutant, if no history can; otherwise empty.
	pkg string
}

const (
	modeSchedule = "schedule"
	modeNak      = "nak"
)

// Old texts are short, so that most changes of the source do not affect them.
var mutants = []mutant{
	{name: "request-first", removes: "a reservation before the poll", mode: modeSchedule, edits: []edit{
		{"consumer/redelivery/reserve.go", "	takenOver, err := r.reserveNext(ctx, d, &next)\n",
			`	r.plan(d, &next, 0)
	if next.Number > 0 {
		return Poll, nil
	}
	takenOver, err := r.reserveNext(ctx, d, &next)
`},
		{"consumer/redelivery/reserved.go", "	// The broker's clock may have been set forward since.\n",
			`	if !d.Reserved() {
		return ctx, func(q Request) {
			r.ended(d, q)
			next := newReservation(d.At.Generation, d.At.Number+1)
			takenOver, err := r.reserveNext(context.WithoutCancel(ctx), d, &next)
			if err == nil && d.Ack() == nil && !takenOver {
				d.hold(next)
			}
		}
	}
`},
	}},
	{name: "reserve-always", removes: "the condition of a reservation", mode: modeSchedule, edits: []edit{
		{"consumer/redelivery/wire.go", "If:       on,", "If:       broker.Condition{},"},
	}},
	{name: "begin-beside", removes: "the wait of a new generation for the due message of one that has ended",
		pkg: "consumer", edits: []edit{
			{"schema/lifecycle/takein.go", "			return Wait, time.Time{}\n",
				"			return Reserve, time.Time{}\n"},
			{"consumer/redelivery/intake.go", "r.cfg.Namespace.WaitingSubjects(d.Identifier), Last",
				"r.cfg.Namespace.HoldSubjects(d.Identifier), Last"},
		}},
	{name: "believe-refusal", removes: "the check of a rejected reservation", mode: modeSchedule, edits: []edit{
		{"consumer/redelivery/reserve.go", "		if (lifecycle.Snapshot{Reservation: pending}).Taken(d.At) {\n",
			"		if _ = pending; true {\n"},
	}},
	{name: "send-late", removes: "the check of the clock when a request is written", mode: modeSchedule, edits: []edit{
		{"statusclient/attempt.go", "	return !a.sendBy.IsZero() && (now.After", "	return false && (now.After"},
	}},
	{name: "renew-late", removes: "the time limit for renewing a reservation",
		pkg: "consumer/redelivery", edits: []edit{
			{"consumer/redelivery/reserved.go", "context.WithTimeout(ctx, left/2)",
				"context.WithTimeout(ctx, time.Hour)"},
			{"consumer/redelivery/reserved.go", " && ack.Sub(now) < left/2", ""},
		}},
	{name: "no-guard", removes: "the guard for the way to the vendor", mode: modeSchedule, edits: []edit{
		{"consumer/redelivery/allowance.go", "	return max(minGuard, min(r.answers.get(), longestGuard(interval)))",
			"	return 0"},
		{"consumer/redelivery/reserved.go", "	if !d.arrived.IsZero() {", "	if false {"},
	}},
	{name: "no-offset", removes: "the offset of the broker's clock", mode: modeSchedule, edits: []edit{
		{"consumer/clock/clock.go", "{ return m.broker.Add(t.Sub(m.local)) }", "{ return t.Round(0).UTC() }"},
	}},
	{name: "no-due-time", removes: "the check of the due time", mode: modeSchedule, edits: []edit{
		{"consumer/clock/due.go", "	if due.At.IsZero() {\n		return 0\n", "	if true {\n		return 0\n"},
	}},
	{name: "delete", removes: "tombstones: the reservation is deleted", mode: modeSchedule, edits: []edit{
		{"consumer/broker.go", "	InProgress(d broker.Delivery) error\n",
			"	InProgress(d broker.Delivery) error\n" +
				"	Delete(ctx context.Context, stream string, sequence uint64) error\n"},
		{"consumer/redelivery/redelivery.go", "	OverdueBroker\n}",
			"	OverdueBroker\n	Delete(ctx context.Context, stream string, sequence uint64) error\n}"},
		{"consumer/redelivery/reserved.go", "	tomb := reservation{Reserved: d.next.Reserved}\n",
			`	if true {
		err := r.cfg.Broker.Delete(ctx, r.cfg.Namespace.StreamPolls(), d.next.Sequence)
		if errors.Is(err, broker.ErrNotFound) {
			return nil
		}
		return err
	}
	tomb := reservation{Reserved: d.next.Reserved}
`},
	}},
	{name: "leave-undelivered", removes: "the search for messages that NATS does not deliver", mode: modeSchedule,
		edits: []edit{
			{"consumer/worker.go", "		pulls.Go(func() error { return w.watchUndelivered(pullCtx) })\n", ""},
		}},
	{name: "take-in-unstored", removes: "a stored reservation before a declared message is acknowledged",
		mode: modeSchedule, edits: []edit{
			{"consumer/redelivery/intake.go", "	verdict, wait, err := r.takeIn(ctx, d)\n",
				"	verdict, wait, err := r.takeIn(ctx, d)\n" +
					"	if err != nil {\n		return verdict, errors.Join(err, d.Ack())\n	}\n"},
		}},
	{name: "end-unstored", removes: "a stored outcome before the end of its polls", mode: modeSchedule, edits: []edit{
		{"consumer/delivery.go", "	if err := w.publish(ctx, d, outcomes...); err != nil {\n",
			"	if err := w.redelivery.Finish(ctx, &d.Delivery); err != nil {\n		return err\n	}\n" +
				"	if err := w.publish(ctx, d, outcomes...); err != nil {\n"},
		{"consumer/delivery.go", `	w.cfg.Observer.Ended(d.Type, w.clock.Now().Sub(d.At.Generation))
	return w.redelivery.Finish(ctx, &d.Delivery)
`, `	w.cfg.Observer.Ended(d.Type, w.clock.Now().Sub(d.At.Generation))
	return nil
`},
	}},
	{name: "decide-unread", removes: "the wait of a second declared message for the outcome that decides about it",
		mode: modeSchedule, edits: []edit{
			{"schema/lifecycle/takein.go", "		return Undecided, r.Due\n", "		return Twice, r.Due\n"},
		}},
	{name: "take-in-all", removes: "the pause of the intake when the stream of reservations is full", pkg: "consumer",
		edits: []edit{
			{"consumer/room.go", "	if r.unlimited = s.MaxBytes == 0; r.unlimited {\n",
				"	if r.unlimited = true; r.unlimited {\n"},
		}},
	{name: "believe-gone", removes: "the doubt of a read that finds nothing of an interaction", pkg: "consumer",
		edits: []edit{
			{"consumer/redelivery/reserve.go", "		return Drop, d.NakAfter(d.Interval) //",
				"		return Drop, d.Ack() //"},
		}},
	{name: "outcome-always", removes: "the condition and the ID of an outcome", mode: modeSchedule, edits: []edit{
		{"publisher/publish.go", "		ID:     o.ID(),\n", ""},
		{"publisher/publish.go", "broker.Condition{Subjects: p.family(p.todo[0]), Last: p.expected}",
			"broker.Condition{}"},
	}},
	{name: "outcome-once", removes: "generations in the condition of an outcome", mode: modeSchedule, edits: []edit{
		{"schema/lifecycle/publish.go", "		case o.Generation.Equal(generation):\n			own = o\n",
			"		case !generation.IsZero():\n			own = o\n"},
	}},
	{name: "half-success", removes: "the second processed event after the worker of the first one has died",
		mode: modeSchedule, edits: []edit{
			{"schema/lifecycle/publish.go", "if o.Failed() || !s.storedFor(o) {",
				"if o.Failed() || len(s.Outcomes) == 0 {"},
		}},
	{name: "max-deliver", removes: "endless deliveries, with delayed naks: `MaxDeliver` is 5", mode: modeNak,
		edits: []edit{
			{"consumer/topology.go", "MaxDeliver:    -1,", "MaxDeliver:    5,"},
		}},
	{name: "no-in-progress", removes: "in-progress before a poll, with delayed naks", mode: modeNak, edits: []edit{
		{"consumer/redelivery/nak.go", "	if err := d.InProgress(); err != nil {\n		return \"\", err\n	}\n",
			""},
	}},
	{name: "stuck-schedule", removes: "the search for overdue reservations", mode: modeSchedule, edits: []edit{
		{"consumer/redelivery/overdue.go", "	for replaced := 0; ; {\n",
			"	if ctx != nil {\n		return 0, nil\n	}\n	for replaced := 0; ; {\n"},
	}},
	{name: "repeat-request", removes: "one request per poll: `net/http` repeats it after a broken connection",
		mode: modeSchedule, edits: []edit{
			{"statusclient/attempt.go", "	case a.sent.Load():\n		a.broken.Store(true)\n", ""},
		}},
	{name: "follow-redirect", removes: "the refusal to follow a redirect", mode: modeSchedule, edits: []edit{
		{"statusclient/status.go", "c.transport.RoundTrip(req)",
			"(&http.Client{Transport: c.transport}).Do(req)"},
		{"statusclient/attempt.go", "	case a.sent.Load():\n		a.broken.Store(true)\n", ""},
	}},
	{name: "401-fails", removes: "401 as a failure of the vendor: it dead-letters", mode: modeSchedule, edits: []edit{
		{"consumer/decide.go", "	case schema.FaultUnauthorized, schema.FaultNotAStatus:\n",
			"	case schema.FaultUnauthorized:\n" +
				"		return Decision{Action: DeadLetter, Reason: schema.Rejected}\n" +
				"	case schema.FaultNotAStatus:\n"},
	}},
	{name: "one-404-fails", removes: "the confirmation of a refusal", mode: modeSchedule, edits: []edit{
		{"consumer/decide.go", "	case refusals.Count < confirmAfter, lasted < f.NotFoundGrace:\n",
			"	case refusals.Count < 1:\n"},
	}},
	{name: "no-grace", removes: "the grace period of a refusal", mode: modeSchedule, edits: []edit{
		{"consumer/decide.go", "	case refusals.Count < confirmAfter, lasted < f.NotFoundGrace:\n",
			"	case refusals.Count < confirmAfter:\n"},
	}},
	{name: "deadline-by-polls", removes: "a deadline by the clock: it counts polls", mode: modeSchedule, edits: []edit{
		{"consumer/delivery.go", "now.Sub(d.At.Generation),\n		Refusals:",
			"time.Duration(d.At.Number) * w.cfg.Deadline / 10,\n		Refusals:"},
	}},
	{name: "any-identifier", removes: "the check of identifiers", mode: modeSchedule, edits: []edit{
		{"schema/names.go", "func checkGUID(s string) error {\n",
			"func checkGUID(s string) error {\n	if s != \"\" {\n		return nil\n	}\n"},
	}},
	{name: "pull-more", removes: "the limit of a pull: a worker pulls more than it has free slots", mode: modeSchedule,
		edits: []edit{
			{"consumer/lane.go", "	err = l.puller.Pull(n, wait,", "	err = l.puller.Pull(maxPull, wait,"},
		}},
	{name: "ignore-sigterm", removes: "the end of pulls after SIGTERM", mode: modeSchedule, edits: []edit{
		{"consumer/worker.go", "errgroup.WithContext(ctx)", "errgroup.WithContext(context.WithoutCancel(ctx))"},
	}},
	{name: "growing-history", removes: "the limits of a status history: it records each poll", mode: modeSchedule,
		edits: []edit{
			{"schema/history.go", "	if c.Status == \"\" || c.Status == LastStatus(values) {\n",
				"	if c.Status == \"\" {\n"},
			{"schema/history.go", "	if len(kept) >= MaxHistory {\n", "	if false {\n"},
		}},
	{name: "endless-history", removes: "the limit of remembered clock measurements", pkg: "consumer/clock",
		edits: []edit{
			{"consumer/clock/due.go", "	l.marks = l.marks[max(0, len(l.marks)-maxMarks):]\n", ""},
		}},
}
