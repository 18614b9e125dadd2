package admin

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

func (s *Server) getStore(c *call) error {
	out := wire.Store{
		API: wire.Version, Program: s.cfg.Program, Folder: s.cfg.Folder, Command: s.cfg.Command,
		PID: os.Getpid(), Started: s.started, PeerID: s.store.PeerID(), Scopes: scopeNames(c.scopes), Who: c.who,
	}
	if s.cfg.Gateway != nil {
		out.Gateway = s.cfg.Gateway()
	}
	if s.cfg.Admin != nil {
		out.Admin = s.cfg.Admin()
	}
	return c.answer(out)
}

func (s *Server) getStats(c *call) error {
	out := wire.StatsOf(s.store.Stats(), time.Now())
	out.Requests = s.requests.Load()
	return c.answer(out)
}

func (s *Server) getHosts(c *call) error {
	out := wire.Hosts{Hosts: []wire.Host{}}
	for _, h := range s.store.Hosts() {
		out.Hosts = append(out.Hosts, wire.HostOf(h))
	}
	return c.answer(out)
}

func (s *Server) getWatched(c *call) error {
	out := wire.WatchedPlaces{Places: []wire.Watched{}}
	if s.cfg.Watched != nil {
		out.Places = append(out.Places, s.cfg.Watched()...)
	}
	return c.answer(out)
}

func (s *Server) getProblems(c *call) error { return c.answer(wire.Problems()) }

func (s *Server) getProblem(c *call) error {
	name := c.r.PathValue("name")
	for _, k := range wire.Problems() {
		if k.Name == name {
			return c.answer(k)
		}
	}
	return fmt.Errorf("%w: no kind of problem is called %q", wire.ErrNoRoute, name)
}

func (s *Server) postGC(c *call) error {
	report, err := s.store.GC(c.r.Context())
	if err != nil {
		return err
	}
	return c.answer(wire.GCOf(report))
}

func (s *Server) postReconcile(c *call) error {
	mend, err := c.flag("mend", false)
	if err != nil {
		return err
	}
	out := newLines(c)
	for d, err := range s.store.Reconcile(c.r.Context(), mend) {
		line := wire.Discrepancy{Kind: d.Kind.String(), Key: string(d.Key), What: d.What, Mended: d.Mended}
		if err != nil {
			line = wire.Discrepancy{Error: err.Error()}
		}
		if err := out.put(line); err != nil {
			return err
		}
	}
	return out.flush()
}

// postBackup makes a backup. It writes where who asks says, as the user that
// holds the store, so it takes more than to change what is stored.
func (s *Server) postBackup(c *call) error {
	var b wire.NewBackup
	if err := c.read(&b); err != nil {
		return err
	}
	switch {
	case !c.may(Private):
		return fmt.Errorf("%w: it names a folder of this machine, which needs the scope %q", wire.ErrForbidden, Private)
	case !filepath.IsAbs(b.Dir):
		return badRequest("dir is %q; it is an absolute path", b.Dir)
	}
	c.note = b.Dir
	r, err := s.store.Backup(c.r.Context(), b.Dir, &dagstore.BackupOptions{Copies: b.Copies})
	if err != nil {
		return err
	}
	return c.answer(wire.Backup{Dir: b.Dir, Linked: r.Linked, LinkedBytes: r.LinkedBytes, Copied: r.Copied, CopiedBytes: r.CopiedBytes})
}
