package statusview

import (
	"statusworker/cmd/internal/terminal"
	"statusworker/cmd/overview"
)

// maxConsumerName is the maximum width of a consumer's name.
const maxConsumerName = 32

// consumerBlock has the durable consumers of outcomes with unread ones. It has no lines if there are no consumers.
func consumerBlock(s overview.Overview, width int) block {
	if len(s.Consumers) == 0 {
		return block{}
	}
	rows := [][]terminal.Cell{
		{left("consumer of outcomes"), right("unread"), right("unacked"), right("oldest"), right("expires in")},
	}
	var none []string
	var shown []overview.Consumer
	for _, c := range s.Consumers {
		name := terminal.Fit(asciiOnly(c.Name), maxConsumerName)
		if c.Unread == 0 && c.PausedUntil == nil {
			none = append(none, name)
			continue
		}
		shown = append(shown, c)
		oldest, expires := right(short(c.OldestSeconds)), right("-")
		if c.OldestSeconds > 0 {
			expires = right(short(c.LeftSeconds()))
		}
		if c.ExpiresSoon() {
			expires.Paint = terminal.Red
		}
		rows = append(rows, []terminal.Cell{left(name), figure(c.Unread), figure(c.Unacked), oldest, expires})
	}
	return newBlock(rows, []int{20, 9, 9, 9, 11}, width, none, func(i int) int {
		if shown[i].ExpiresSoon() {
			return 0
		}
		return 1
	})
}
