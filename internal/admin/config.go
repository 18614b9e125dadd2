package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount"
)

// Config is how the API of a store is served. Hub and Mounts must be set.
type Config struct {
	Hub    *Hub
	Mounts mount.Registry // that of the store

	// Outside is a URL as it is remembered of a source that somebody named who
	// may not name private ones. nil: nobody else may name any.
	Outside func(url string) string

	// Add carries out a job that adds CARs. outside, which may be nil, is to be
	// applied to every URL that comes from who asked. nil: there are no such jobs.
	Add func(ctx context.Context, job wire.AddJob, list ListReader, outside func(string) string, told *Progress) error

	Meter *Meter // of the gateway of this process; nil: it has none
	// Watched says how the places are that are looked at; nil: there are none.
	Watched func() []wire.Watched

	Tokens *Tokens      // nil: none is known
	Page   http.Handler // what is not the API; nil: nothing
	Hosts  []string     // names that requests over TCP may be for, besides those of this machine
	Logger *slog.Logger // of effects, of jobs that have ended, and of panics; default: discards

	Program, Folder, Command string        // for GET /api/v1/store
	Gateway, Admin           func() string // URLs, once they are known; may be nil

	Scratch string // folder for results of jobs; "": the system's
}

// A Server is the admin API of one store. Its handlers may be used by many
// goroutines.
type Server struct {
	store    *dagstore.Store
	cfg      Config
	log      *slog.Logger
	mux      *http.ServeMux
	routes   map[string]*route // by pattern
	sessions *sessions
	jobs     *jobs
	started  time.Time
	requests atomic.Int64
	history  history
	work     sync.WaitGroup // of what goes on beside the requests
	room     rooms
	patience time.Duration
	ending   chan struct{} // closed by Stop
	stopping sync.Once
}

// New makes the API of store, which must outlive it. Close must be called.
func New(store *dagstore.Store, cfg *Config) (*Server, error) {
	if store == nil || cfg == nil || cfg.Hub == nil || cfg.Mounts == nil {
		return nil, errors.New("admin: a store, its hub and its mounts are needed")
	}
	s := &Server{
		store: store, cfg: *cfg, log: cfg.Logger, mux: http.NewServeMux(), routes: make(map[string]*route),
		started: time.Now(), patience: patience, ending: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	cfg.Tokens.tell(s.log)
	s.sessions = newSessions(time.Now)
	s.jobs = newJobs(cfg.Hub, cfg.Scratch, s.log)
	for i := range table {
		r := &table[i]
		s.routes[r.pattern()] = r
		s.mux.Handle(r.pattern(), http.HandlerFunc(s.reached))
	}
	s.mux.Handle(prefix, http.HandlerFunc(s.astray))
	before, reads := s.cfg.Meter.read(), store.Stats().Reads
	s.work.Go(func() { s.remember(before, reads) })
	return s, nil
}

// Stop ends the jobs and the streams of events, and waits for the jobs. What
// they have done can still be asked for.
func (s *Server) Stop() {
	s.stopping.Do(func() { close(s.ending) })
	s.work.Wait()
	s.jobs.end()
}

// Close is Stop, and forgets the jobs. It is for when no request is answered any
// more.
func (s *Server) Close() error {
	s.Stop()
	s.jobs.forgetAll()
	return nil
}

// Busy is how many jobs are under way.
func (s *Server) Busy() int { return s.jobs.running() }

// Wait waits until no job is under way, or ctx ends.
func (s *Server) Wait(ctx context.Context) error { return s.jobs.wait(ctx) }
