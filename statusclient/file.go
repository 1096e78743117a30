package statusclient

import (
	"errors"
	"io/fs"
	"os"
)

// OpenFile opens a regular file for reading, and follows links. It returns an error for everything else: opening or
// reading a named pipe or a device may block forever.
func OpenFile(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if what := notRegular(info.Mode()); what != "" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is " + what + ", not a regular file")}
	}
	return os.Open(name)
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
