package simulator

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// stampReceived enables timestamps of received data on a listener. Its connections inherit the option.
func stampReceived(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var option error
	err = raw.Control(func(fd uintptr) {
		option = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TIMESTAMPNS, 1)
	})
	return errors.Join(err, option)
}

// readReceived reads, and returns when the host received the last part of the data; zero if that is unknown.
func readReceived(c *net.TCPConn, p []byte) (n int, at time.Time, err error) {
	if len(p) == 0 {
		return 0, time.Time{}, nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, time.Time{}, err
	}
	var control [64]byte
	var controlled int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, controlled, _, _, failed = syscall.Recvmsg(int(fd), p, control[:], 0)
			if failed != syscall.EINTR {
				return failed != syscall.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, time.Time{}, err
	case failed != nil:
		return 0, time.Time{}, &net.OpError{
			Op:     "read",
			Net:    "tcp",
			Source: c.LocalAddr(),
			Addr:   c.RemoteAddr(),
			Err:    os.NewSyscallError("recvmsg", failed),
		}
	case n == 0:
		return 0, time.Time{}, io.EOF
	}
	messages, _ := syscall.ParseSocketControlMessage(control[:controlled]) // on an error the time is unknown
	for _, m := range messages {
		if m.Header.Level == syscall.SOL_SOCKET && m.Header.Type == syscall.SCM_TIMESTAMPNS &&
			len(m.Data) >= int(unsafe.Sizeof(syscall.Timespec{})) {
			at = time.Unix((*syscall.Timespec)(unsafe.Pointer(&m.Data[0])).Unix())
		}
	}
	return n, at, nil
}
