//go:build !linux

package simulator

import (
	"errors"
	"net"
	"time"
)

func stampReceived(*net.TCPListener) error { return errors.ErrUnsupported }

func readReceived(c *net.TCPConn, p []byte) (int, time.Time, error) {
	n, err := c.Read(p)
	return n, time.Time{}, err
}
