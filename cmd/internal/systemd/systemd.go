// Package systemd reports the state of a service to systemd, for units with Type=notify.
package systemd

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"

	"statusworker/schema"
)

// Service is the service whose state systemd shows.
type Service interface {
	// Ready returns nil while the service works, and otherwise why it does not.
	Ready() error
	// Alive returns an error if the service must be restarted.
	Alive() error
}

// every is the time between two looks at the service.
const every = 250 * time.Millisecond

// Start reports the state of a service until stop is called. It reports READY=1 once, when the service is ready for the
// first time, STOPPING=1 when ctx ends, STATUS with what the service waits for, and, if the unit has a watchdog,
// WATCHDOG=1 while the service is alive. Without systemd, it does nothing.
func Start(
	ctx context.Context, getenv func(string) string, service Service, log logrus.FieldLogger,
) (stop func()) {
	if getenv("NOTIFY_SOCKET") == "" {
		return func() {}
	}
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.WithError(err).Warn("no watchdog: systemd's variables for it are invalid")
	}
	n := &notifier{service: service, log: log, watchdog: watchdog}
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { n.run(watching, ctx) })
	return func() { cancel(); group.Wait() }
}

type notifier struct {
	service  Service
	log      logrus.FieldLogger
	watchdog time.Duration // 0 if the unit has none

	ready  bool
	pinged time.Time
	status string
	failed bool
}

// run reports until watching ends. The service stops when working ends.
func (n *notifier) run(watching, working context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	stopping := working.Done()
	for {
		n.look(time.Now())
		select {
		case <-watching.Done():
			return
		case <-stopping:
			stopping = nil
			n.send(daemon.SdNotifyStopping)
		case <-ticker.C:
		}
	}
}

// look reports what has changed.
func (n *notifier) look(now time.Time) {
	var news []string
	status := "working"
	if why := n.service.Ready(); why != nil {
		status = schema.Printable(why.Error())
	} else if !n.ready {
		n.ready, news = true, append(news, daemon.SdNotifyReady)
	}
	if status != n.status {
		n.status, news = status, append(news, "STATUS="+status)
	}
	if n.watchdog > 0 && now.Sub(n.pinged) >= n.watchdog/3 && n.service.Alive() == nil {
		n.pinged, news = now, append(news, daemon.SdNotifyWatchdog)
	}
	if len(news) > 0 {
		n.send(strings.Join(news, "\n"))
	}
}

func (n *notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil && !n.failed {
		n.failed = true
		n.log.WithError(err).Warn("systemd does not receive notifications")
	}
}
