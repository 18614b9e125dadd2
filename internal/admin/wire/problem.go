package wire

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"syscall"

	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A Problem is an error as RFC 9457 has it. Type is the path of its
// description and ends with its name, which is one of [Problems]; Causes are
// the names of everything that the error wraps.
type Problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail,omitempty"`
	Instance string   `json:"instance,omitempty"` // the path of the request
	Key      string   `json:"key,omitempty"`      // of the shard that it is about
	Op       string   `json:"op,omitempty"`       // what was being done with it
	Causes   []string `json:"causes,omitempty"`
}

// TypePath stands before the name of a problem in its type.
const TypePath = "/api/v1/problems/"

// A ProblemKind is a kind of problem.
type ProblemKind struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	err    error
}

// Problems are all kinds of problems. It is searched from the top, and the
// first one that an error wraps gives its name and status: what is wrong with
// the whole store goes before what is wrong with one shard, and what says more
// before what says less. Names are never given another meaning.
var problems = []ProblemKind{
	{"cancelled", "the request was given up", 499, context.Canceled},
	{"timeout", "it took too long", http.StatusGatewayTimeout, context.DeadlineExceeded},

	{"no-store", "there is no store", http.StatusServiceUnavailable, dagstore.ErrNoStore},
	{"store-in-use", "the store is in use by another process", http.StatusServiceUnavailable, dagstore.ErrInUse},
	{"store-version", "the store was written by another version", http.StatusServiceUnavailable, dagstore.ErrVersion},
	{"no-space", "there is no space on the disk of the store", http.StatusInsufficientStorage, dagstore.ErrNoSpace},
	{"disk-full", "a disk is full", http.StatusInsufficientStorage, syscall.ENOSPC},
	{"disk-quota", "a disk quota is used up", http.StatusInsufficientStorage, syscall.EDQUOT},
	{"read-only", "the store takes no changes", http.StatusServiceUnavailable, dagstore.ErrReadOnly},
	{"closed", "the store is being closed", http.StatusServiceUnavailable, dagstore.ErrClosed},
	{"no-manifest", "the shard has no such manifest", http.StatusNotFound, dagstore.ErrNoManifest},
	{"not-member", "a multihash is not in the shard", http.StatusUnprocessableEntity, dagstore.ErrNotMember},
	{"manifest-name", "the name or the rule of the manifest is bad", http.StatusBadRequest, dagstore.ErrManifestName},

	{"shard-key", "the key of the shard is bad", http.StatusBadRequest, shard.ErrKey},
	{"shard-unknown", "there is no such shard", http.StatusNotFound, shard.ErrUnknown},
	{"shard-exists", "the shard is registered with this source already", http.StatusConflict, shard.ErrExists},
	{"shard-key-used", "the key is used for another source", http.StatusConflict, shard.ErrKeyUsed},
	{"shard-held", "somebody holds the shard", http.StatusConflict, shard.ErrHeld},
	{"shard-busy", "work on the shard is under way", http.StatusConflict, shard.ErrBusy},
	{"shard-destroying", "the shard is being removed", http.StatusConflict, shard.ErrDestroying},
	{"shard-destroyed", "the shard was removed", http.StatusGone, shard.ErrDestroyed},
	{"shard-remote", "the shard is not on this machine", http.StatusConflict, shard.ErrRemote},
	{"source-denied", "the source is not allowed", http.StatusForbidden, shard.ErrDenied},
	{"source-changed", "the source has changed", http.StatusConflict, shard.ErrChanged},
	{"source-stalled", "the source makes no progress", http.StatusGatewayTimeout, shard.ErrStalled},
	{"no-room", "there is no room for a local copy", http.StatusInsufficientStorage, shard.ErrQuota},
	{"last-copy", "the local copy may be the last", http.StatusConflict, shard.ErrLastCopy},
	{"bad-car", "the CAR is bad", http.StatusUnprocessableEntity, shard.ErrCAR},
	{"bad-block", "the block is bad", http.StatusUnprocessableEntity, shard.ErrBlock},
	{"bad-index", "the index is bad", http.StatusUnprocessableEntity, shard.ErrIndex},

	{"mount-scheme", "there is no kind of source of this name", http.StatusBadRequest, mount.ErrScheme},
	{"mount-url", "the URL of the source is bad", http.StatusBadRequest, mount.ErrURL},
	{"mount-denied", "the source is not allowed", http.StatusForbidden, mount.ErrDenied},
	{"mount-changed", "the source has changed", http.StatusConflict, mount.ErrChanged},
	{"mount-range", "the range is not in the source", http.StatusRequestedRangeNotSatisfiable, mount.ErrRange},
	{"mount-no-ranges", "the source offers no ranges", http.StatusConflict, mount.ErrNoRanges},
	{"mount-not-local", "the source is not on this machine", http.StatusConflict, mount.ErrNotLocal},
	{"mount-no-siblings", "nothing can lie beside the source", http.StatusConflict, mount.ErrNoSiblings},
	{"mount-busy", "the source has too much to do", http.StatusServiceUnavailable, mount.ErrBusy},
	{"mount-stalled", "the source brings nothing", http.StatusGatewayTimeout, mount.ErrStalled},
	{"mount-unreachable", "the host of the source cannot be reached", http.StatusServiceUnavailable, mount.ErrUnreachable},
	{"mount-answer", "the source does not answer as its protocol demands", http.StatusServiceUnavailable, mount.ErrAnswer},
	{"mount-not-ready", "the source has to be made ready by its owner", http.StatusConflict, mount.ErrNotReady},
	{"source", "the source cannot be read", http.StatusServiceUnavailable, shard.ErrSource},

	{"index-damaged", "the index is damaged", http.StatusUnprocessableEntity, index.ErrDamaged},
	{"index-version", "the index is of another version", http.StatusUnprocessableEntity, index.ErrVersion},
	{"index-record", "a record of the index is bad", http.StatusUnprocessableEntity, index.ErrRecord},
	{"index-spent", "the index was written already", http.StatusInternalServerError, index.ErrSpent},
	{"shard-failed", "the shard has failed and was not recovered", http.StatusConflict, shard.ErrFailed},

	{"not-found", "no shard has the block", http.StatusNotFound, ipld.ErrNotFound{}},
	{"no-file", "there is no such file", http.StatusNotFound, fs.ErrNotExist},
	{"file-exists", "there is such a file already", http.StatusConflict, fs.ErrExist},
	{"invalid", "an argument is not possible", http.StatusBadRequest, fs.ErrInvalid},
	{"unsupported", "it cannot be done here", http.StatusNotImplemented, errors.ErrUnsupported},
	{"permission", "there is no permission", http.StatusForbidden, fs.ErrPermission},

	// Of the API itself.
	{"bad-request", "the request is wrong", http.StatusBadRequest, ErrRequest},
	{"unauthorized", "a token is needed", http.StatusUnauthorized, ErrUnauthorized},
	{"forbidden", "the token does not allow this", http.StatusForbidden, ErrForbidden},
	{"foreign-host", "the request names a host that is not served here", http.StatusMisdirectedRequest, ErrForeignHost},
	{"cross-origin", "the request comes from another site", http.StatusForbidden, ErrCrossOrigin},
	{"no-route", "there is nothing at this path", http.StatusNotFound, ErrNoRoute},
	{"method", "the method is not allowed here", http.StatusMethodNotAllowed, ErrMethod},
	{"media-type", "the body is of another media type than is read here", http.StatusUnsupportedMediaType, ErrMediaType},
	{"http-version", "the answer has no length, and HTTP/1.0 cannot tell its end from its breaking off", http.StatusHTTPVersionNotSupported, ErrHTTPVersion},
	{"too-large", "the body is too large", http.StatusRequestEntityTooLarge, ErrTooLarge},
	{"slow-client", "the body comes too slowly", http.StatusRequestTimeout, ErrSlow},
	{"too-many", "there are too many of them now", http.StatusTooManyRequests, ErrTooMany},
	{"no-job", "there is no such job", http.StatusNotFound, ErrNoJob},
	{"job-state", "the job is not in a state for this", http.StatusConflict, ErrJobState},
	{"internal", "something went wrong that should not", http.StatusInternalServerError, nil},
}

// The errors of the API itself.
var (
	ErrRequest      = errors.New("the request is wrong")
	ErrUnauthorized = errors.New("a token is needed")
	ErrForbidden    = errors.New("the token does not allow this")
	ErrForeignHost  = errors.New("a host that is not served here")
	ErrCrossOrigin  = errors.New("a request of another site")
	ErrNoRoute      = errors.New("there is nothing at this path")
	ErrMethod       = errors.New("the method is not allowed here")
	ErrMediaType    = errors.New("another media type than is read here")
	ErrHTTPVersion  = errors.New("the answer has no length: ask by HTTP/1.1")
	ErrTooLarge     = errors.New("the body is too large")
	ErrSlow         = errors.New("the body comes too slowly")
	ErrTooMany      = errors.New("too many at once")
	ErrNoJob        = errors.New("no such job")
	ErrJobState     = errors.New("the job is not in a state for this")
)

// Problems are all kinds of problems, in the order in which they count.
func Problems() []ProblemKind { return append([]ProblemKind(nil), problems...) }

// NameOf is the name of the kind that err is of, and all kinds that it wraps.
func NameOf(err error) (name string, causes []string) {
	for _, k := range problems {
		if k.err != nil && errors.Is(err, k.err) {
			causes = append(causes, k.Name)
		}
	}
	if len(causes) == 0 {
		return "internal", nil
	}
	return causes[0], causes
}

// kindOf is the kind that a name means.
func kindOf(name string) ProblemKind {
	for _, k := range problems {
		if k.Name == name {
			return k
		}
	}
	return problems[len(problems)-1]
}

// ProblemOf is err as a problem.
func ProblemOf(err error) Problem {
	name, causes := NameOf(err)
	k := kindOf(name)
	p := Problem{Type: TypePath + name, Title: k.Title, Status: k.Status, Detail: err.Error(), Causes: causes}
	if about, ok := errors.AsType[*shard.Error](err); ok {
		p.Key, p.Op = string(about.Key), string(about.Op)
	}
	return p
}

// Name is the name of the kind of p.
func (p *Problem) Name() string {
	if len(p.Type) > len(TypePath) && p.Type[:len(TypePath)] == TypePath {
		return p.Type[len(TypePath):]
	}
	return "internal"
}

// Err is p as an error that wraps what the error wrapped that it was made of.
func (p *Problem) Err() error {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	return &RemoteError{Name: p.Name(), Text: text, Causes: p.Causes, Key: shard.Key(p.Key), Op: shard.Op(p.Op)}
}

// A RemoteError is an error of another process. It has its text, and wraps the
// sentinels that it wrapped there.
type RemoteError struct {
	Name   string // of its kind
	Text   string
	Causes []string
	Key    shard.Key // of the shard that it is about
	Op     shard.Op
}

// Error returns the text as it was there.
func (e *RemoteError) Error() string { return e.Text }

// As makes a [shard.Error] of one that is about a shard.
func (e *RemoteError) As(target any) bool {
	about, ok := target.(**shard.Error)
	if !ok || e.Key == "" {
		return false
	}
	*about = &shard.Error{Key: e.Key, Op: e.Op, Err: &RemoteError{Name: e.Name, Text: e.Text, Causes: e.Causes}}
	return true
}

// Unwrap returns the sentinels.
func (e *RemoteError) Unwrap() (errs []error) {
	for _, name := range append([]string{e.Name}, e.Causes...) {
		if err := kindOf(name).err; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
