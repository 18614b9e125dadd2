package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/pelletier/go-toml/v2"
)

// File is what the configuration file says. The zero value is that of an empty
// file.
type File struct {
	Repo    string  `toml:"repo"` // folder of the store
	Serve   Serve   `toml:"serve"`
	Gateway Gateway `toml:"gateway"`
	Admin   Admin   `toml:"admin"`
	Copies  Copies  `toml:"copies"`
	Log     Log     `toml:"log"`
	Sources Sources `toml:"sources"`
	Watch   []Watch `toml:"watch"`

	Credentials map[string]*Credential `toml:"credentials"`
	S3          map[string]*S3         `toml:"s3"`
}

// Admin is about the admin API and its page.
type Admin struct {
	Listen *string  `toml:"listen"` // address and port on this machine; "": none; nil: the usual one
	Socket string   `toml:"socket"` // path of the unix socket; "": in the run folder
	Hosts  []string `toml:"hosts"`  // names that browsers may use besides those of this machine
	Tokens string   `toml:"tokens"` // file with the tokens; "": beside the configuration
}

// Log is about the log, which goes to standard error.
type Log struct {
	Level  *slog.Level `toml:"level"`  // the least bad to be written; nil: what is usual for the command
	Format string      `toml:"format"` // text or json; "": text
}

// Copies is about local copies of CARs that lie elsewhere.
type Copies struct {
	Quota *Size `toml:"quota"` // nil: the default
}

// Sources is about where CARs may lie and how they are reached.
type Sources struct {
	Files      []string `toml:"files"`       // the folders that local CARs may lie in; none: anywhere
	Proxy      bool     `toml:"proxy"`       // use the proxy that the environment names
	PerHost    int      `toml:"per_host"`    // requests to one host at once; 0: the default
	Bandwidth  *Size    `toml:"bandwidth"`   // bytes a second from all servers together; nil: any
	CA         string   `toml:"ca"`          // certificates in PEM to trust besides those of the system
	KnownHosts []string `toml:"known_hosts"` // files with the keys of SFTP servers; none: ~/.ssh/known_hosts
}

// An S3 is a service, or an account of one.
type S3 struct {
	Buckets       []string `toml:"buckets"`  // names or globs of buckets; none: all
	Endpoint      string   `toml:"endpoint"` // URL; "": AWS
	Region        string   `toml:"region"`
	PathStyle     bool     `toml:"path_style"`
	CA            string   `toml:"ca"`      // file with certificates in PEM
	Profile       string   `toml:"profile"` // of the shared files of AWS; "": the chain of AWS
	Credentials   string   `toml:"credentials"`
	RequesterPays bool     `toml:"requester_pays"`
	Anonymous     bool     `toml:"anonymous"`
}

// Size is a number of bytes, written as a number or as in "100 GiB".
type Size int64

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Size) UnmarshalText(text []byte) error {
	n, err := ParseSize(string(text))
	*s = Size(n)
	return err
}

// ParseSize reads a number of bytes such as "100GiB", "1.5 TB" or "0".
func ParseSize(text string) (int64, error) {
	n, err := humanize.ParseBytes(strings.TrimSpace(text))
	if err != nil || n > 1<<62 {
		return 0, fmt.Errorf("%q is no number of bytes, such as 100GiB", text)
	}
	return int64(n), nil
}

// mostBytes is more than anybody writes by hand.
const mostBytes = 1 << 20

// Load reads the file at path. That there is none is an error that wraps
// [fs.ErrNotExist].
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err == nil && len(data) > mostBytes {
		err = errors.New("it is too long for a configuration")
	}
	var out *File
	if err == nil {
		out, err = parse(data)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	out.relativeTo(filepath.Dir(abs))
	return out, nil
}

// parse reads a file and reports all that is wrong with it.
func parse(data []byte) (*File, error) {
	out := new(File)
	d := toml.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(out)
	var unknown *toml.StrictMissingError
	var bad *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		var errs []error
		for _, e := range unknown.Errors {
			row, _ := e.Position()
			errs = append(errs, fmt.Errorf("line %d: there is no key %q%s", row, strings.Join(e.Key(), "."), hint(e.Key())))
		}
		return nil, errors.Join(errs...)
	case errors.As(err, &bad):
		row, column := bad.Position()
		return nil, fmt.Errorf("line %d, column %d: %w", row, column, err)
	case err != nil:
		return nil, err
	}
	return out, out.check()
}

// hint is for keys that hold a secret elsewhere.
func hint(key []string) string {
	last := key[len(key)-1]
	for _, word := range []string{"password", "token", "secret", "key", "access", "bearer"} {
		if strings.Contains(strings.ToLower(last), word) {
			return `: no secret stands in this file; say where it is, by [credentials.NAME] with file, env or systemd`
		}
	}
	return ""
}

// check returns all that is wrong, joined.
func (f *File) check() error {
	var errs []error
	for name, c := range f.Credentials {
		if err := c.check(); err != nil {
			errs = append(errs, fmt.Errorf("[credentials.%s]: %w", name, err))
		}
		if len(c.Hosts) == 0 && !f.refersTo(name) {
			errs = append(errs, fmt.Errorf("[credentials.%s]: it is for nobody: say for which hosts it is, or name it in [s3.NAME]", name))
		}
	}
	for name, s := range f.S3 {
		if s.Credentials != "" && f.Credentials[s.Credentials] == nil {
			errs = append(errs, fmt.Errorf("[s3.%s]: there is no [credentials.%s]", name, s.Credentials))
		}
		if n := count(s.Credentials != "", s.Profile != "", s.Anonymous); n > 1 {
			errs = append(errs, fmt.Errorf("[s3.%s]: credentials, profile and anonymous exclude each other", name))
		}
	}
	if format := f.Log.Format; format != "" && format != "text" && format != "json" {
		errs = append(errs, fmt.Errorf("[log]: format is %q, and may be text or json", format))
	}
	if q := f.Copies.Quota; q != nil && *q < 0 {
		errs = append(errs, fmt.Errorf("[copies]: quota is %d, the least is 0, which keeps none", *q))
	}
	if b := f.Sources.Bandwidth; b != nil && *b < 1<<10 {
		errs = append(errs, fmt.Errorf("[sources]: bandwidth is %d bytes a second, the least is 1024", *b))
	}
	if n := f.Sources.PerHost; n != 0 && n < 2 { // who holds a stream may need another beside it
		errs = append(errs, fmt.Errorf("[sources]: per_host is %d, the least is 2", n))
	}
	errs = append(errs, f.Serve.check(), f.Gateway.check())
	return errors.Join(append(errs, f.checkWatch()...)...)
}

// refersTo reports whether a service of S3 has the credentials called name.
func (f *File) refersTo(name string) bool {
	for _, s := range f.S3 {
		if s.Credentials == name {
			return true
		}
	}
	return false
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// relativeTo makes paths absolute that are relative to the file's folder.
func (f *File) relativeTo(dir string) {
	for _, path := range f.paths() {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
}

func (f *File) paths() []*string {
	paths := []*string{&f.Repo, &f.Sources.CA, &f.Admin.Socket, &f.Admin.Tokens}
	paths = append(paths, f.Serve.paths()...)
	for i := range f.Gateway.Denylists {
		paths = append(paths, &f.Gateway.Denylists[i])
	}
	for i := range f.Sources.Files {
		paths = append(paths, &f.Sources.Files[i])
	}
	for i := range f.Sources.KnownHosts {
		paths = append(paths, &f.Sources.KnownHosts[i])
	}
	for _, c := range f.Credentials {
		paths = append(paths, &c.File, &c.Key)
	}
	for _, s := range f.S3 {
		paths = append(paths, &s.CA)
	}
	for i := range f.Watch {
		paths = append(paths, &f.Watch[i].Path)
	}
	return paths
}

// IsAbsent reports whether err says that there is no file.
func IsAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
