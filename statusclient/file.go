package statusclient

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OpenFile opens a regular file for reading, and follows links. It returns an error for everything else: opening or
// reading a named pipe or a device may block forever. A missing permission is a [*PermissionError].
func OpenFile(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, denied(name, err)
	}
	if what := notRegular(info.Mode()); what != "" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is " + what + ", not a regular file")}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, denied(name, err)
	}
	return f, nil
}

// PermissionError reports that this process may not open a file.
type PermissionError struct {
	// Path is the file, or the directory that the process may not search. Owner is the user ID of its owner.
	Path  string
	Mode  fs.FileMode
	Owner int
	// User is the effective user ID of the process.
	User int
	Err  error
}

func (e *PermissionError) Error() string {
	what := "read it"
	if e.Mode.IsDir() {
		what = "search the directory " + e.Path
	}
	return fmt.Sprintf("%v: the effective user ID %d may not %s (owner %d, mode %04o); change its owner or mode, or "+
		"run as another user", e.Err, e.User, what, e.Owner, e.Mode.Perm())
}

// Unwrap returns the error of the operating system.
func (e *PermissionError) Unwrap() error { return e.Err }

// denied adds to a missing permission what denies it: the owner and the mode of the file, or of the first directory
// above it for which these can be read. It returns other errors unchanged.
func denied(name string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for path := name; ; path = filepath.Dir(path) {
		if info, failed := os.Stat(path); failed == nil {
			e := &PermissionError{Path: path, Mode: info.Mode(), Owner: -1, User: os.Geteuid(), Err: err}
			if of, ok := info.Sys().(*syscall.Stat_t); ok {
				e.Owner = int(of.Uid)
			}
			return e
		}
		if path == filepath.Dir(path) {
			return err
		}
	}
}

// notRegular returns the name of a file's type, or an empty string for a regular file.
func notRegular(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "something else"
}
