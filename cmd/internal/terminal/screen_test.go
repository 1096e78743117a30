package terminal

import (
	"fmt"
	"strings"
	"testing"
)

func TestFramesReplaceEachOther(t *testing.T) {
	s := Screen{Bare: true}
	first := string(s.Over([]string{"one", Red.On("two")}, 80, 24))
	if strings.Contains(first, clearScreen) || Unpainted(first) != first {
		t.Errorf("the first frame clears the screen, or has colours:\n%q", first)
	}
	second := string(s.Over([]string{"one", "three"}, 80, 24))
	if !strings.HasPrefix(second, fmt.Sprintf(cursorUpText, 2)) {
		t.Errorf("the second frame does not begin at the first line:\n%q\n%q", first, second)
	}
	if third := string(s.Over([]string{"one", "three"}, 60, 24)); !strings.HasPrefix(third, clearScreen) {
		t.Errorf("after a resize the frame begins with %.20q", third)
	}
}
