package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// edit replaces a text of a file that occurs exactly once.
type edit struct {
	file     string // with slashes, relative to the root of the module
	old, new string
}

// apply returns the text of the file after the edit.
func (e edit) apply(text string) (string, error) {
	if n := strings.Count(text, e.old); n != 1 {
		return "", fmt.Errorf("%s contains the old text of an edit %d times, must contain it once; adapt the edit:\n%s",
			e.file, n, e.old)
	}
	return strings.Replace(text, e.old, e.new, 1), nil
}

// moduleRoot returns the directory of go.mod.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("go env GOMOD names no go.mod: run this program in a directory of the module")
	}
	return filepath.Dir(mod), nil
}

// moduleCopy is a copy of the module.
type moduleCopy struct {
	dir string // temporary
}

// newCopy copies the files of the module that git tracks, or would track.
func newCopy(ctx context.Context) (moduleCopy, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return moduleCopy{}, err
	}
	list := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		return moduleCopy{}, fmt.Errorf("git ls-files in %s: %w; the module must be a git checkout", root, err)
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return moduleCopy{}, err
	}
	c := moduleCopy{dir}
	for name := range bytes.SplitSeq(bytes.TrimRight(names, "\x00"), []byte{0}) {
		if err := copyFile(filepath.Join(root, string(name)), c.path(string(name))); err != nil {
			c.remove()
			return moduleCopy{}, err
		}
	}
	return c, nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) { // deleted, and not yet in the index
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

func (c moduleCopy) path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

func (c moduleCopy) remove() { _ = os.RemoveAll(c.dir) } // a temporary directory

// mutate applies edits. Undo restores the files.
func (c moduleCopy) mutate(edits []edit) (undo func() error, err error) {
	before := map[string][]byte{}
	undo = func() error {
		var errs []error
		for name, data := range before {
			errs = append(errs, os.WriteFile(c.path(name), data, 0o644))
		}
		return errors.Join(errs...)
	}
	for _, e := range edits {
		data, err := os.ReadFile(c.path(e.file))
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		text, err := e.apply(string(data))
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		if _, ok := before[e.file]; !ok {
			before[e.file] = data
		}
		if err := os.WriteFile(c.path(e.file), []byte(text), 0o644); err != nil {
			return nil, errors.Join(err, undo())
		}
	}
	return undo, nil
}
