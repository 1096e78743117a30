package statusview

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"statusworker/cmd/internal/terminal"
)

// block is a table that can be drawn with fewer rows. Its zero value has no lines.
type block struct {
	head string
	rows []ranked
	// none are the names of what has no figures.
	none  []string
	width int
}

// ranked is a row of a block. Where there is not enough room, rows of a lower rank are kept.
type ranked struct {
	line string
	rank int
}

// newBlock makes a block of a grid whose first row is the head; rank gives the rank of each other row.
func newBlock(cells [][]terminal.Cell, least []int, width int, none []string, rank func(i int) int) block {
	lines := headed(cells, least, width)
	b := block{head: lines[0], none: none, width: width}
	for i, line := range lines[1:] {
		b.rows = append(b.rows, ranked{line, rank(i)})
	}
	return b
}

// size is how many lines n rows take.
func (b block) size(n int) int {
	switch {
	case b.head == "":
		return 0
	case n < len(b.rows):
		return n + 2 // the head, and how many more there are
	}
	return 1 + len(b.rows) + len(named(b.none, b.width, math.MaxInt))
}

// least is how few lines are of use.
func (b block) least() int {
	if b.head == "" || len(b.rows) > 1 {
		return b.size(1)
	}
	return 1 + len(b.rows) + min(1, len(b.none))
}

// lines draws the block in so much room.
func (b block) lines(room, width int) []string {
	if b.head == "" || room <= 0 {
		return nil
	}
	lines := []string{b.head}
	if spare := room - 1 - len(b.rows); spare >= 0 {
		for _, r := range b.rows {
			lines = append(lines, r.line)
		}
		for _, line := range named(b.none, width, spare) {
			lines = append(lines, terminal.Faint.On(line))
		}
		return lines
	}
	if room < b.size(1) {
		lines = nil // a row says more than the head
	}
	n := max(1, room-len(lines)-1)
	order := make([]int, len(b.rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(b.rows[i].rank, b.rows[j].rank) })
	for _, i := range slices.Sorted(slices.Values(order[:n])) {
		lines = append(lines, b.rows[i].line)
	}
	if len(lines) < room {
		lines = append(lines, terminal.Faint.On(terminal.Fit(fmt.Sprintf("and %d more", len(b.rows)-n), width)))
	}
	return lines
}

// named is a line with names, or as many as it takes; where that are more than most, it says how many are left out.
func named(names []string, width, most int) []string {
	for n := len(names); n > 0; n-- {
		text := "none: " + strings.Join(names[:n], ", ")
		if n < len(names) {
			text += fmt.Sprintf(" and %d more", len(names)-n)
		}
		if lines := terminal.Fill(text, width, "  "); len(lines) <= most || n == 1 {
			return lines[:min(len(lines), most)]
		}
	}
	return nil
}

// headed is a grid whose first row is a head. Columns are as wide as least says where that fits.
func headed(rows [][]terminal.Cell, least []int, width int) []string {
	for i := range rows[0] {
		rows[0][i].Paint = terminal.Faint
	}
	return terminal.Grid(rows, fitting(least, width), width)
}

// fitting gives nil where columns of these widths take more than width.
func fitting(least []int, width int) []int {
	sum := -2
	for _, n := range least {
		sum += n + 2
	}
	if sum > width {
		return nil
	}
	return least
}

func left(text string) terminal.Cell  { return terminal.Cell{Text: text} }
func right(text string) terminal.Cell { return terminal.Cell{Text: text, Right: true} }

func figure[T int | uint64](n T) terminal.Cell { return right(fmt.Sprint(n)) }
