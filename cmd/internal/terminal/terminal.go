package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Is reports whether w, or the writer that it wraps, is a terminal.
func Is(w any) bool {
	f, ok := file(w)
	return ok && term.IsTerminal(int(f.Fd()))
}

// file returns the file behind w and its wrappers.
func file(w any) (*os.File, bool) {
	for {
		around, ok := w.(interface{ Unwrap() io.Writer })
		if !ok {
			break
		}
		w = around.Unwrap()
	}
	f, ok := w.(*os.File)
	return f, ok
}

// Paints reports whether text on w may have colours.
func Paints(w io.Writer, getenv func(string) string) bool {
	return Is(w) && getenv("NO_COLOR") == "" && Draws(getenv)
}

// Draws reports whether the terminal that the environment describes can redraw in place.
func Draws(getenv func(string) string) bool { return getenv("TERM") != "dumb" }

// Columns returns the width of a terminal, or 0 if w is not a terminal.
func Columns(w io.Writer) int {
	if !Is(w) {
		return 0
	}
	width, _ := Size(w)
	return width
}

// Size returns the size of a terminal, or 80 by 24 if it is unknown.
func Size(w io.Writer) (width, height int) {
	if f, ok := file(w); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return 80, 24
}
