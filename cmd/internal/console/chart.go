package console

import (
	"fmt"
	"math"
	"strings"
	"time"

	"statusworker/schema"
)

// The size of a chart in its own units; the style sheet scales it.
const (
	chartWidth  = 300
	chartHeight = 60
)

// chart is a line over time. Its points are in the attribute of an SVG path.
type chart struct {
	Title         string
	Width, Height int
	// Line and Area are empty for fewer than two samples.
	Line, Area string
	// Last and Max are values, Span is the time from the first to the last sample.
	Last, Max, Span string
}

// line draws a value of the samples.
func line(title string, samples []sample, value func(sample) float64) chart {
	c := chart{Title: title, Width: chartWidth, Height: chartHeight, Last: "–", Max: "–"}
	if len(samples) == 0 {
		return c
	}
	top := 0.0
	for _, s := range samples {
		top = max(top, value(s))
	}
	last := samples[len(samples)-1]
	c.Last, c.Max = short(value(last)), short(top)
	from := samples[0].at
	span := last.at.Sub(from)
	if span <= 0 {
		return c
	}
	const margin = 3 // for the width of the line
	var path strings.Builder
	for i, s := range samples {
		x := chartWidth * float64(s.at.Sub(from)) / float64(span)
		y := chartHeight - margin - (chartHeight-2*margin)*value(s)/max(top, 1e-9)
		verb := "L"
		if i == 0 {
			verb = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", verb, x, y)
	}
	c.Line = path.String()
	c.Area = fmt.Sprintf("%sL%d %dL0 %dZ", c.Line, chartWidth, chartHeight, chartHeight)
	c.Span = schema.Duration(span.Round(time.Second))
	return c
}

// short formats a value of a chart.
func short(v float64) string {
	if v == math.Trunc(v) || v >= 100 {
		return number(uint64(math.Round(v)))
	}
	return fmt.Sprintf("%.1f", v)
}

// share returns the length of a bar, of 100 for the largest value. A value that is not 0 is visible.
func share(n, largest uint64) int {
	if n == 0 || largest == 0 {
		return 0
	}
	return max(1, int(math.Round(100*float64(n)/float64(largest))))
}
