package statusview

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"statusworker/cmd/internal/terminal"
)

// block is a table that can be shortened. Its zero value has no lines.
type block struct {
	head string
	rows []ranked
	// none are the names of rows without figures.
	none  []string
	width int
}

// ranked is a row of a block. A shortened block keeps the rows of the lowest ranks.
type ranked struct {
	line string
	rank int
}

// newBlock returns a block of a grid whose first row is the head. rank returns the rank of each other row.
func newBlock(cells [][]terminal.Cell, minWidths []int, width int, none []string, rank func(i int) int) block {
	lines := headed(cells, minWidths, width)
	b := block{head: lines[0], none: none, width: width}
	for i, line := range lines[1:] {
		b.rows = append(b.rows, ranked{line, rank(i)})
	}
	return b
}

// size returns the number of lines for n rows.
func (b block) size(n int) int {
	switch {
	case b.head == "":
		return 0
	case n < len(b.rows):
		return n + 2 // the head, and the number of hidden rows
	}
	return 1 + len(b.rows) + len(named(b.none, b.width, math.MaxInt))
}

// minSize returns the smallest useful number of lines.
func (b block) minSize() int {
	if b.head == "" || len(b.rows) > 1 {
		return b.size(1)
	}
	return 1 + len(b.rows) + min(1, len(b.none))
}

// lines draws the block in at most room lines.
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
		lines = nil // a row is more useful than the head
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

// named lists names in at most room lines. It shows how many it has left out.
func named(names []string, width, room int) []string {
	for n := len(names); n > 0; n-- {
		text := "zero: " + strings.Join(names[:n], ", ")
		if n < len(names) {
			text += fmt.Sprintf(" and %d more", len(names)-n)
		}
		if lines := terminal.Fill(text, width, "  "); len(lines) <= room || n == 1 {
			return lines[:min(len(lines), room)]
		}
	}
	return nil
}

// headed formats a grid whose first row is the head. It applies the minimum widths if they fit.
func headed(rows [][]terminal.Cell, minWidths []int, width int) []string {
	for i := range rows[0] {
		rows[0][i].Paint = terminal.Faint
	}
	return terminal.Grid(rows, fitting(minWidths, width), width)
}

// fitting returns widths, or nil if columns of these widths do not fit.
func fitting(widths []int, width int) []int {
	sum := -2
	for _, n := range widths {
		sum += n + 2
	}
	if sum > width {
		return nil
	}
	return widths
}

func left(text string) terminal.Cell  { return terminal.Cell{Text: text} }
func right(text string) terminal.Cell { return terminal.Cell{Text: text, Right: true} }

func figure[T int | uint64](n T) terminal.Cell { return right(fmt.Sprint(n)) }
