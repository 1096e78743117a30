package terminal

import (
	"slices"
	"testing"
)

func TestWrapAndFill(t *testing.T) {
	for _, test := range []struct {
		got, want []string
	}{
		{Wrap("a bb ccc", 4), []string{"a bb", "ccc"}},
		{Wrap("a command-of-its-own b", 4), []string{"a", "command-of-its-own", "b"}},
		{Fill("a bb ccc", 5, "  "), []string{"a bb", "  ccc"}},
		{Fill("abcdefgh", 5, "  "), []string{"abc", "  def", "  gh"}},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("lines %q, want %q", test.got, test.want)
		}
	}
}
