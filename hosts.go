package dagstore

import (
	"math"
	"time"

	"github.com/dagstore/dagstore/internal/hosts"
	"github.com/dagstore/dagstore/internal/metrics"
	"github.com/dagstore/dagstore/mount"
)

// HostHealth is how a server is that sources lie on, at one moment.
type HostHealth struct {
	Host   string // scheme and authority, as [mount.Host] has it
	Down   bool   // it could not be reached Config.Hosts.Failures times in a row, and not since
	Since  time.Time
	Until  time.Time // until when it is left alone, being down or busy; zero: it is not
	Err    error     // the last reason; nil if it answered the last time
	Calls  int64     // since Open, that reached for it
	Failed int64     // of these, that did not reach it
}

// Hosts returns how the servers are that were reached for since Open, by name;
// of more than 1,024, those that are well are forgotten. While one is down, what
// needs it gives [mount.ErrUnreachable] at once. Sources on this machine lie on none.
func (s *Store) Hosts() []HostHealth {
	all := s.hosts.Hosts()
	out := make([]HostHealth, len(all))
	for i, h := range all {
		out[i] = HostHealth(h)
	}
	return out
}

// keepHosts wraps the mounts of the configuration.
func (s *Store) keepHosts() mount.Registry {
	c := s.cfg.Hosts
	bandwidth := c.Bandwidth
	if bandwidth == math.MaxInt64 {
		bandwidth = 0
	}
	s.hosts = hosts.New(hosts.Config{
		Failures: c.Failures, First: c.First, Longest: c.Longest, Patience: c.Patience, Bandwidth: bandwidth,
		Changed: s.hostChanged,
	})
	return s.hosts.Registry(s.cfg.Mounts)
}

// hostChanged tells of a host that went down or came back.
func (s *Store) hostChanged(h hosts.Health) {
	if h.Down {
		s.cfg.Logger.Warn("a host cannot be reached", "host", h.Host, "err", h.Err, "until", h.Until)
	} else {
		s.cfg.Logger.Info("a host is back", "host", h.Host)
		if e := s.running.Load(); e != nil { // else it looks for what has failed anyway
			e.HostBack(h.Host)
		}
	}
	if o := s.observer; o != nil && o.events.Host != nil {
		health := HostHealth(h)
		o.tell(happening{host: &health})
	}
}

// showHosts counts the hosts by how they are.
func (s *Store) showHosts(show metrics.Show) {
	up, down := 0, 0
	for _, h := range s.hosts.Hosts() {
		if h.Down {
			down++
		} else {
			up++
		}
	}
	show(metrics.Hosts, float64(up), "up")
	show(metrics.Hosts, float64(down), "down")
}
