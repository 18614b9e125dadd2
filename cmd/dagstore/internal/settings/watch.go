package settings

import (
	"errors"
	"fmt"
	"path"
	"time"
)

// A Watch is a place that "dagstore serve" keeps taking CARs from.
type Watch struct {
	Path    string            `toml:"path"` // a folder, or a list on this machine
	URL     string            `toml:"url"`  // a prefix, or a list elsewhere
	Every   Span              `toml:"every"`
	Include []string          `toml:"include"` // globs; none: *.car
	Prefix  string            `toml:"prefix"`  // of every key
	Replace bool              `toml:"replace"`
	Lazy    bool              `toml:"lazy"`
	Verify  bool              `toml:"verify"`
	Pin     bool              `toml:"pin"`
	Serve   string            `toml:"serve"`
	Index   string            `toml:"index"`
	Labels  map[string]string `toml:"labels"`
}

// checkWatch returns what is wrong with the watched places.
func (f *File) checkWatch() (errs []error) {
	for i := range f.Watch {
		if err := f.Watch[i].check(); err != nil {
			errs = append(errs, fmt.Errorf("[[watch]] %d: %w", i+1, err))
		}
	}
	return errs
}

func (w *Watch) check() error {
	var errs []error
	if (w.Path == "") == (w.URL == "") {
		errs = append(errs, errors.New("it has either a path or a url"))
	}
	if w.Every != 0 && time.Duration(w.Every) < time.Second {
		errs = append(errs, fmt.Errorf("every is %v, the least is 1 s", time.Duration(w.Every)))
	}
	if w.Lazy && w.Verify {
		errs = append(errs, errors.New("lazy reads no CAR, verify reads all of it: choose one"))
	}
	if w.Verify && w.Index != "" && w.Index != "auto" {
		errs = append(errs, errors.New("verify reads every block: leave out index"))
	}
	for _, glob := range w.Include {
		if _, err := path.Match(glob, ""); err != nil {
			errs = append(errs, fmt.Errorf("include %q: %w", glob, err))
		}
	}
	return errors.Join(errs...)
}

// Span is a time, written as in "30s" or "1h30m".
type Span time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no time, such as 90s or 1h30m", text)
	}
	*s = Span(d)
	return nil
}
