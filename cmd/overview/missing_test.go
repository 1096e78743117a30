package overview_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
)

func TestMissing(t *testing.T) {
	t.Parallel()
	declared, polls := ns.StreamDeclared(), ns.StreamPolls()
	outcomes, workers := ns.StreamOutcomes(), ns.StreamWorkers()
	all := []string{"stream " + declared, "stream " + polls, "stream " + outcomes, "stream " + workers}
	for name, test := range map[string]struct {
		mode      consumer.Mode
		streams   []string    // that are deleted
		consumers [][2]string // that are deleted
		want      []string
		nothing   bool
	}{
		"nothing is missing":      {mode: consumer.Schedule},
		"nothing is missing, nak": {mode: consumer.Nak},
		"not provisioned":         {want: all, nothing: true},
		"all streams": {mode: consumer.Schedule, streams: []string{declared, polls, outcomes, workers},
			want: all, nothing: true},
		"all but outcomes": {mode: consumer.Schedule, streams: []string{declared, polls, workers},
			want: []string{all[0], all[1], all[3]}},
		"all but the bucket, nak": {mode: consumer.Nak, streams: []string{declared, outcomes}, want: all[:3]},
		"all but declared messages": {mode: consumer.Schedule, streams: []string{polls, outcomes, workers},
			want: all[1:]},
		"all but declared messages, no intake": {mode: consumer.Schedule, streams: []string{polls, outcomes, workers},
			consumers: [][2]string{{declared, "intake"}},
			want:      append([]string{"consumer " + declared + "/intake"}, all[1:]...)},
		"polls": {mode: consumer.Schedule, streams: []string{polls}, want: all[1:2]},
		"intake": {mode: consumer.Schedule, consumers: [][2]string{{declared, "intake"}},
			want: []string{"consumer " + declared + "/intake"}},
		"outcomes":      {mode: consumer.Schedule, streams: []string{outcomes}, want: all[2:3]},
		"outcomes, nak": {mode: consumer.Nak, streams: []string{outcomes}, want: all[2:3]},
		"a consumer and two streams": {mode: consumer.Schedule, streams: []string{outcomes, workers},
			consumers: [][2]string{{polls, "poll-chat"}},
			want:      []string{"consumer " + polls + "/poll-chat", all[2], all[3]}},
		"two lanes, nak": {mode: consumer.Nak,
			consumers: [][2]string{{declared, "poll-audio"}, {declared, "poll-chat"}},
			want:      []string{"consumer " + declared + "/poll-audio", "consumer " + declared + "/poll-chat"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, test.mode)
			for _, c := range test.consumers {
				check(t, s.JS.DeleteConsumer(s.Ctx, c[0], c[1]))
			}
			for _, name := range test.streams {
				check(t, s.JS.DeleteStream(s.Ctx, name))
			}
			v, want := s.take(), slices.Sorted(slices.Values(test.want))
			if !slices.Equal(v.Missing, want) {
				t.Errorf("missing %q, want %q", v.Missing, want)
			}
			err := v.Provisioned()
			var missing *overview.MissingError
			if !errors.As(err, &missing) {
				if err != nil || len(want) > 0 {
					t.Errorf("error %v", err)
				}
				return
			}
			if !slices.Equal(missing.Missing, want) || missing.Nothing != test.nothing ||
				missing.Redelivery != v.Redelivery {
				t.Errorf("error %+v", missing)
			}
			command := "`" + advice.ProvisionCommand(v.Redelivery, consumer.Config{}) + "`"
			if len(v.Advice) == 0 || !strings.Contains(v.Advice[0], command) {
				t.Errorf("advice %q, want the command %s first", v.Advice, command)
			}
		})
	}
}

// An overview reports the consumers that an operator has paused.
func TestPausedConsumers(t *testing.T) {
	t.Parallel()
	for mode, paused := range map[consumer.Mode][][2]string{
		consumer.Schedule: {
			{ns.StreamDeclared(), ns.ConsumerIntake()}, {ns.StreamPolls(), ns.PollConsumer(schema.Chat)},
		},
		consumer.Nak: {{ns.StreamDeclared(), ns.PollConsumer(schema.Chat)}},
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, mode)
			s.start("pod-a", nil)
			until := time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)
			for _, c := range paused {
				_, err := s.JS.PauseConsumer(s.Ctx, c[0], c[1], until)
				check(t, err)
			}
			v := s.until("a worker", func(v overview.Overview) bool { return len(v.Workers) == 1 })
			chat, audio := lane(v, schema.Chat), lane(v, schema.Audio)
			if chat.PausedUntil == nil || !chat.PausedUntil.Equal(until) || audio.PausedUntil != nil {
				t.Errorf("lanes %+v, want only chat paused until %s", v.Lanes, until)
			}
			if len(v.Advice) != len(paused) {
				t.Errorf("advice %q, want one sentence for each of %q", v.Advice, paused)
			}
			for i, a := range v.Advice {
				command := "`" + advice.NATS(ns) + "consumer resume " + paused[i][0] + " " + paused[i][1] + "`"
				if !strings.Contains(a, until.Format(time.RFC3339)) || !strings.Contains(a, command) {
					t.Errorf("advice %q, want the time %s and the command %s", a, until, command)
				}
			}
			for _, c := range paused {
				_, err := s.JS.ResumeConsumer(s.Ctx, c[0], c[1])
				check(t, err)
			}
			if v := s.take(); len(v.Advice) > 0 || lane(v, schema.Chat).PausedUntil != nil {
				t.Errorf("overview %+v after the consumers were resumed", v)
			}
		})
	}
}
