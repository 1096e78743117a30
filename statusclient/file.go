package statusclient

import (
	"errors"
	"io/fs"
	"os"
)

// OpenFile opens a file to read it, and refuses what is none: a named pipe or a device would be waited for, maybe for
// good. A link counts as what it leads to.
func OpenFile(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if what := notRegular(info.Mode()); what != "" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is " + what + ", and no regular file")}
	}
	return os.Open(name)
}

// notRegular says what there is in place of a file, or nothing.
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
