package admin

import "time"

// ListenFast is [Listen] with shorter times: the limit for reading a request, and the interval of inspections.
func ListenFast(addr string, m *Metrics, read, inspect time.Duration) (*Server, error) {
	return listen(addr, m, times{read: read, inspect: inspect})
}
