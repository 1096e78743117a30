package harness

import (
	"os"
	"strings"
	"testing"
)

func testBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	Check(t, err)
	return path
}

func TestProcess(t *testing.T) {
	t.Setenv("LEAKED", " and leaked")
	p := StartProcess(t, "child", testBinary(t), []string{envChild + "=1", "GREETING=hello"})
	ctx := Context(t, readyWithin)
	line, err := p.AwaitLine(ctx, `^ready on stdout`)
	Check(t, err)
	if want := "ready on stdout: hello"; line != want {
		t.Errorf("the line is %q, want %q", line, want)
	}
	_, err = p.AwaitLine(ctx, `stderr$`)
	Check(t, err)
	Check(t, p.Term())
	code, err := p.Wait(ctx)
	Check(t, err)
	if code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	if !strings.HasSuffix(p.Output(), "bye, without a line feed") {
		t.Errorf("the last line is missing: %q", p.Output())
	}
	if _, err := p.AwaitLine(ctx, "never"); err == nil || ctx.Err() != nil {
		t.Errorf("waiting for a line of an exited process: error %v, context %v; want an error at once", err, ctx.Err())
	}
}

func TestProcessKill(t *testing.T) {
	p := StartProcess(t, "child", testBinary(t), []string{envChild + "=1"})
	ctx := Context(t, readyWithin)
	_, err := p.AwaitLine(ctx, "stdout")
	Check(t, err)
	p.Kill()
	p.Kill()
	code, err := p.Wait(ctx)
	Check(t, err)
	if code != -1 {
		t.Errorf("exit code %d, want -1", code)
	}
}
