package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// mostEvents is how many of its last events an answer about a shard has.
const mostEvents = 32

func (s *Server) getShard(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	return s.answerShard(c, key, http.StatusOK)
}

// answerIndexed is answerShard after work that began at mark.
func (s *Server) answerIndexed(c *call, key shard.Key, status int, mark int64) error {
	c.lies = s.cfg.Hub.Lies(c.r.Context(), key, mark)
	return s.answerShard(c, key, status)
}

// answerShard answers with how a shard is now.
func (s *Server) answerShard(c *call, key shard.Key, status int) error {
	info, err := s.store.Info(c.r.Context(), key)
	if err != nil {
		return err
	}
	d := wire.DetailOf(info)
	d.Events, d.Lies = s.cfg.Hub.of(key, mostEvents), c.lies
	return c.answerAs(status, d)
}

// mountOf is the source that somebody names.
func (s *Server) mountOf(c *call, url string) (mount.Mount, error) {
	if url == "" {
		return nil, badRequest(`there is no "mount"`)
	}
	url, err := s.spell(c, url)
	if err != nil {
		return nil, err
	}
	return s.cfg.Mounts.Open(url)
}

// spell is a URL as the store is to remember it.
func (s *Server) spell(c *call, url string) (string, error) {
	switch {
	case c.may(Private) || url == "":
		return url, nil
	case s.cfg.Outside == nil:
		return "", fmt.Errorf("%w: to name a source takes the scope %q here", wire.ErrForbidden, Private)
	}
	return s.cfg.Outside(url), nil
}

// registration reads a registration, as far as who asks may say it.
func (s *Server) registration(c *call) (mount.Mount, *dagstore.RegisterOptions, error) {
	var r wire.Registration
	if err := c.read(&r); err != nil {
		return nil, nil, err
	}
	m, err := s.mountOf(c, r.Mount)
	if err != nil {
		return nil, nil, err
	}
	if r.Copy != "" && !c.may(Private) {
		return nil, nil, fmt.Errorf(`%w: "copy" names a file of this machine: it takes the scope %q`, wire.ErrForbidden, Private)
	}
	if r.IndexURL, err = s.spell(c, r.IndexURL); err != nil {
		return nil, nil, err
	}
	c.note = m.URL()
	opts, err := r.Options()
	if err != nil {
		return nil, nil, badRequest("%w", err)
	}
	return m, opts, nil
}

// putShard registers a shard. The same request again gives the same state.
func (s *Server) putShard(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	waits, err := c.flag("wait", true)
	if err != nil {
		return err
	}
	m, opts, err := s.registration(c)
	if err != nil {
		return err
	}
	if !waits {
		if err := s.store.RegisterShard(c.r.Context(), key, m, nil, opts); err != nil {
			return err
		}
		info, err := s.store.Info(c.r.Context(), key)
		if errors.Is(err, shard.ErrUnknown) { // it still waits in the queue
			info, err = shard.Info{Key: key, State: shard.Registered, URL: m.URL()}, nil
		}
		if err != nil {
			return err
		}
		return c.answerAs(http.StatusAccepted, wire.DetailOf(info))
	}
	mark := s.cfg.Hub.Mark()
	err = s.store.Register(c.r.Context(), key, m, opts)
	if errors.Is(err, shard.ErrExists) {
		return s.answerShard(c, key, http.StatusOK)
	} else if err != nil {
		return err
	}
	if opts != nil && opts.Lazy {
		return s.answerShard(c, key, http.StatusCreated)
	}
	return s.answerIndexed(c, key, http.StatusCreated, mark)
}

func (s *Server) deleteShard(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	held, err := wire.ParseHeld(c.r.URL.Query().Get("held"))
	if err != nil {
		return badRequest("held: %w", err)
	}
	if err := s.store.Destroy(c.r.Context(), key, &dagstore.DestroyOptions{Held: held}); err != nil {
		return err
	}
	return c.nothing()
}

// doing carries out what concerns one shard and answers with how it is then.
func (s *Server) doing(c *call, do func(context.Context, shard.Key) error) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	if err := do(c.r.Context(), key); err != nil {
		return err
	}
	return s.answerShard(c, key, http.StatusOK)
}

func (s *Server) postPin(c *call) error   { return s.doing(c, s.store.Pin) }
func (s *Server) postUnpin(c *call) error { return s.doing(c, s.store.Unpin) }

func (s *Server) postIndex(c *call) error {
	return s.doing(c, func(ctx context.Context, key shard.Key) error {
		accessor, err := s.store.Acquire(ctx, key, nil)
		if err != nil {
			return err
		}
		return accessor.Close()
	})
}

func (s *Server) postRecover(c *call) error {
	waits, err := c.flag("wait", true)
	if err != nil {
		return err
	}
	return s.doing(c, func(ctx context.Context, key shard.Key) error {
		if !waits {
			return s.store.RecoverShard(ctx, key, nil, nil)
		}
		return s.store.Recover(ctx, key, nil)
	})
}

func (s *Server) postEvict(c *call) error {
	var e wire.Eviction
	if err := c.read(&e); err != nil {
		return err
	}
	return s.doing(c, func(ctx context.Context, key shard.Key) error {
		return s.store.Evict(ctx, key, &dagstore.EvictOptions{LastCopy: e.LastCopy})
	})
}

func (s *Server) postRemount(c *call) error {
	var move wire.Move
	if err := c.read(&move); err != nil {
		return err
	}
	how, err := wire.ParseComparison(move.Check)
	if err != nil {
		return badRequest("check: %w", err)
	}
	m, err := s.mountOf(c, move.Mount)
	if err != nil {
		return err
	}
	c.note = m.URL()
	return s.doing(c, func(ctx context.Context, key shard.Key) error { return s.store.Remount(ctx, key, m, how) })
}

func (s *Server) postReplace(c *call) error {
	m, opts, err := s.registration(c)
	if err != nil {
		return err
	}
	key, err := c.key()
	if err != nil {
		return err
	}
	mark := s.cfg.Hub.Mark()
	if err := s.store.Replace(c.r.Context(), key, m, opts); err != nil {
		return err
	}
	return s.answerIndexed(c, key, http.StatusOK, mark)
}
