package admin

import (
	"net/http"
	"reflect"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// prefix stands before the path of every route.
const prefix = "/api/v1/"

// A route is one thing that can be asked for. The table of them is the API: the
// rights, the limits and the OpenAPI document are all read from it.
type route struct {
	method, path string // below prefix; {name} is one segment, escaped
	scope        Scope
	summary      string
	query        []param
	body         media // what it takes; none: no body
	answer       media // what it gives; none: no body, status 204
	status       int   // of success; 0: 200, or 204 without a body
	limit        int64 // bytes of the body; 0: mostBody
	handle       func(*Server, *call) error
}

// mostBody is how long a body may be where no route says otherwise.
const mostBody = 1 << 20

// A param is one of the query.
type param struct{ name, kind, what string }

// A media is what a body is.
type media struct {
	mime string
	typ  reflect.Type // of JSON, or of one line of NDJSON
}

func jsonOf[T any]() media  { return media{mimeJSON, reflect.TypeFor[T]()} }
func linesOf[T any]() media { return media{mimeLines, reflect.TypeFor[T]()} }

const (
	mimeJSON    = "application/json"
	mimeLines   = "application/x-ndjson"
	mimeProblem = "application/problem+json"
	mimeEvents  = "text/event-stream"
	mimeBytes   = "application/octet-stream"
	mimeText    = "text/plain; charset=utf-8"
)

func (r *route) pattern() string { return r.method + " " + prefix + r.path }

// success is the status of an answer that is no problem.
func (r *route) success() int {
	switch {
	case r.status != 0:
		return r.status
	case r.answer.mime == "":
		return http.StatusNoContent
	}
	return http.StatusOK
}

// unending reports whether the answer has no length, and only its last chunk tells
// its end from its breaking off.
func (r *route) unending() bool {
	switch r.answer.mime {
	case mimeLines, mimeBytes, mimeText:
		return true
	}
	return false
}

var (
	atKey = param{"key", "string", `the key, where the segment is "-": for those that a segment cannot hold, which are ".", ".." and "/"`}
	wait  = param{"wait", "boolean", "false: answer as soon as it is accepted"}
)

// table is all that there is. Nothing with an effect is a GET.
var table = []route{
	{method: "GET", path: "openapi.json", scope: Anyone, summary: "This document", answer: media{mime: mimeJSON}, handle: (*Server).getOpenAPI},
	{method: "GET", path: "problems", scope: Anyone, summary: "All kinds of problems", answer: jsonOf[[]wire.ProblemKind](), handle: (*Server).getProblems},
	{method: "GET", path: "problems/{name}", scope: Anyone, summary: "One kind of problems", answer: jsonOf[wire.ProblemKind](), handle: (*Server).getProblem},

	{method: "GET", path: "session", scope: Read, summary: "Who asks, and what is allowed", answer: jsonOf[wire.Session](), handle: (*Server).getSession},
	{method: "POST", path: "session", scope: Anyone, summary: "Exchange the code of a one-time link for a cookie", body: jsonOf[wire.Login](), answer: jsonOf[wire.Session](), status: http.StatusCreated, limit: 4 << 10, handle: (*Server).postSession},
	{method: "DELETE", path: "session", scope: Read, summary: "End the session of the cookie", handle: (*Server).deleteSession},
	{method: "POST", path: "links", scope: Read, summary: "Make a one-time link to the page, with the scopes of who asks", answer: jsonOf[wire.OneTimeLink](), status: http.StatusCreated, handle: (*Server).postLink},

	{method: "GET", path: "store", scope: Read, summary: "Who holds the store, and how it is reached", answer: jsonOf[wire.Store](), handle: (*Server).getStore},
	{method: "GET", path: "stats", scope: Read, summary: "The store in figures", answer: jsonOf[wire.Stats](), handle: (*Server).getStats},
	{method: "GET", path: "history", scope: Read, summary: "The last minutes, in samples", query: []param{{"after", "string", "only samples that were taken after this moment"}}, answer: jsonOf[wire.History](), handle: (*Server).getHistory},
	{method: "GET", path: "hosts", scope: Read, summary: "How the servers are that sources lie on", answer: jsonOf[wire.Hosts](), handle: (*Server).getHosts},
	{method: "GET", path: "watched", scope: Read, summary: "The places that are looked at for CARs that come to them", answer: jsonOf[wire.WatchedPlaces](), handle: (*Server).getWatched},
	{method: "GET", path: "events", scope: Read, summary: "What happens, as server-sent events; Last-Event-ID goes on after that event, and what is missing is told as a gap", query: []param{
		{"kind", "string", "only events of these kinds, separated by commas"},
		{"key", "string", "only events of this shard"},
		{"after", "string", "as Last-Event-ID, for who cannot send headers"},
		{"last", "integer", "without either: begin with so many events that have happened already, 4096 at most"},
	}, answer: media{mimeEvents, reflect.TypeFor[wire.Event]()}, handle: (*Server).getEvents},
	{method: "POST", path: "gc", scope: Write, summary: "Remove what belongs to no shard", answer: jsonOf[wire.GC](), handle: (*Server).postGC},
	{method: "POST", path: "reconcile", scope: Write, summary: "Compare what is stored with itself", query: []param{{"mend", "boolean", "also put right what does not agree"}}, answer: linesOf[wire.Discrepancy](), handle: (*Server).postReconcile},

	{method: "POST", path: "backup", scope: Write, summary: "Make a copy of the store in a new folder of its machine, which takes the scope sources:private, too", body: jsonOf[wire.NewBackup](), answer: jsonOf[wire.Backup](), status: http.StatusCreated, handle: (*Server).postBackup},

	{method: "GET", path: "shards", scope: Read, summary: "A page of shards, by rising key", query: []param{
		{"prefix", "string", "only keys that begin with it"},
		{"after", "string", "only keys greater than it: the next of the page before"},
		{"limit", "integer", "how many at most: 1 to 1000, 100 if it is not given"},
		{"status", "string", "only those of these statuses, separated by commas: ready, lazy, indexing, failed, removing"},
		{"state", "string", "only those in these states, separated by commas"},
		{"search", "string", "only those whose key or URL has this in it, in upper or lower case"},
		{"host", "string", "only those whose CAR lies on this host"},
		{"match", "string", "only those whose key matches this glob; without a slash it is held against the last part"},
		{"label", "string", "only those with this label: NAME=VALUE, or NAME for any value"},
	}, answer: jsonOf[wire.Page](), handle: (*Server).getShards},
	{method: "GET", path: "export", scope: Read, summary: "All shards as a list, which can be added elsewhere", query: []param{
		{"prefix", "string", "only keys that begin with it"}, {"after", "string", "only keys greater than it: the last of an answer that broke off"},
	}, answer: linesOf[wire.Entry](), handle: (*Server).getExport},
	{method: "GET", path: "shards/{key}", scope: Read, summary: "All that is known of a shard", query: []param{atKey}, answer: jsonOf[wire.Detail](), handle: (*Server).getShard},
	{method: "PUT", path: "shards/{key}", scope: Write, summary: "Register a shard; the same source again changes nothing, and is 200", query: []param{atKey, wait}, body: jsonOf[wire.Registration](), answer: jsonOf[wire.Detail](), status: http.StatusCreated, handle: (*Server).putShard},
	{method: "DELETE", path: "shards/{key}", scope: Write, summary: "Remove a shard, never its source", query: []param{atKey, {"held", "string", "what is done about those who hold it: refuse (the default), wait or force"}}, handle: (*Server).deleteShard},
	{method: "POST", path: "shards/{key}/index", scope: Write, summary: "Have a shard indexed and opened, and wait for that", query: []param{atKey}, answer: jsonOf[wire.Detail](), handle: (*Server).postIndex},
	{method: "POST", path: "shards/{key}/recover", scope: Write, summary: "Try a failed shard again", query: []param{atKey, wait}, answer: jsonOf[wire.Detail](), handle: (*Server).postRecover},
	{method: "POST", path: "shards/{key}/pin", scope: Write, summary: "Keep the local copy from eviction", query: []param{atKey}, answer: jsonOf[wire.Detail](), handle: (*Server).postPin},
	{method: "POST", path: "shards/{key}/unpin", scope: Write, summary: "Let the local copy be evicted", query: []param{atKey}, answer: jsonOf[wire.Detail](), handle: (*Server).postUnpin},
	{method: "POST", path: "shards/{key}/evict", scope: Write, summary: "Give back the space of the local copy", query: []param{atKey}, body: jsonOf[wire.Eviction](), answer: jsonOf[wire.Detail](), handle: (*Server).postEvict},
	{method: "POST", path: "shards/{key}/remount", scope: Write, summary: "Say where the CAR lies now", query: []param{atKey}, body: jsonOf[wire.Move](), answer: jsonOf[wire.Detail](), handle: (*Server).postRemount},
	{method: "POST", path: "shards/{key}/replace", scope: Write, summary: "Give a shard a new revision of its CAR", query: []param{atKey}, body: jsonOf[wire.Registration](), answer: jsonOf[wire.Detail](), handle: (*Server).postReplace},

	{method: "POST", path: "shards/{key}/piece", scope: Write, summary: "Hold the bytes of a shard against its piece CID, and remember that they are that piece", query: []param{atKey}, answer: jsonOf[wire.PieceCheck](), handle: (*Server).postPiece},
	{method: "GET", path: "pieces/{cid}", scope: Read, summary: "Which shards are a piece", answer: jsonOf[wire.Page](), handle: (*Server).getPiece},

	{method: "GET", path: "shards/{key}/file/index", scope: Read, summary: "The index of a shard, as a file", query: []param{atKey}, answer: media{mime: mimeBytes}, handle: (*Server).getIndexFile},
	{method: "GET", path: "shards/{key}/file/car", scope: Read, summary: "The CAR of a shard as it lies at its source, unchecked; takes ranges", query: []param{atKey}, answer: media{mime: "application/vnd.ipld.car"}, handle: (*Server).getCAR},

	{method: "GET", path: "shards/{key}/manifests", scope: Read, summary: "The manifests of a shard", query: []param{atKey}, answer: jsonOf[wire.Manifests](), handle: (*Server).getManifests},
	{method: "GET", path: "shards/{key}/manifests/{name}", scope: Read, summary: "The members of a manifest, a multihash in base58 a line", query: []param{atKey, atName}, answer: media{mime: mimeText}, handle: (*Server).getMembers},
	{method: "GET", path: "shards/{key}/manifests/{name}/members/{cid}", scope: Read, summary: "Whether a block is in a manifest, by one look-up", query: []param{atKey, atName}, answer: jsonOf[wire.Membership](), handle: (*Server).getMember},
	{method: "PUT", path: "shards/{key}/manifests/{name}", scope: Write, summary: "Store a manifest: a CID or a multihash a line", query: []param{
		atKey, atName, {"rule", "string", "by which the members were chosen"}, {"version", "integer", "of the rule"}, {"loose", "boolean", "take what is not in the shard, too"},
	}, body: media{mime: mimeText}, answer: jsonOf[wire.Manifest](), limit: 8 << 30, handle: (*Server).putManifest},
	{method: "DELETE", path: "shards/{key}/manifests/{name}", scope: Write, summary: "Forget a manifest", query: []param{atKey, atName}, handle: (*Server).deleteManifest},

	{method: "GET", path: "blocks/{cid}", scope: Read, summary: "What a block is: codec, size, links, and where it lies", answer: jsonOf[wire.Block](), handle: (*Server).getBlock},
	{method: "GET", path: "blocks/{cid}/raw", scope: Read, summary: "The bytes of a block, held against its CID", answer: media{mime: "application/vnd.ipld.raw"}, handle: (*Server).getRaw},
	{method: "GET", path: "blocks/{cid}/size", scope: Read, summary: "The size of a block", answer: jsonOf[wire.Size](), handle: (*Server).getSize},
	{method: "GET", path: "blocks/{cid}/locations", scope: Read, summary: "Where a block lies", query: []param{{"limit", "integer", "how many at most: 1 to 10000, 1000 if it is not given"}}, answer: jsonOf[wire.Locations](), handle: (*Server).getLocations},

	{method: "GET", path: "jobs", scope: Read, summary: "The jobs of this process, the newest first", answer: jsonOf[wire.Jobs](), handle: (*Server).getJobs},
	{method: "POST", path: "jobs", scope: Write, summary: "Begin a job; to follow it answers with lines, of which the first and the last have the job", query: []param{{"follow", "boolean", "go on with the results, until the job ends"}}, body: jsonOf[wire.NewJob](), answer: jsonOf[wire.Job](), status: http.StatusAccepted, handle: (*Server).postJob},
	{method: "GET", path: "jobs/{id}", scope: Read, summary: "How far a job has come", answer: jsonOf[wire.Job](), handle: (*Server).getJob},
	{method: "GET", path: "jobs/{id}/results", scope: Read, summary: "How the items of a job went", query: []param{
		{"after", "integer", "only results behind this one"}, {"follow", "boolean", "go on until the job ends"},
	}, answer: linesOf[wire.Result](), handle: (*Server).getResults},
	{method: "POST", path: "jobs/{id}/list", scope: Write, summary: `Send the list of a job that adds from "-"`, body: linesOf[wire.Entry](), limit: mostList, handle: (*Server).postList},
	{method: "POST", path: "jobs/{id}/cancel", scope: Write, summary: "End a job; what it has done stays", answer: jsonOf[wire.Job](), handle: (*Server).postCancel},
	{method: "POST", path: "import", scope: Write, summary: "Add what a list names: a job, in one request", query: []param{
		{"prefix", "string", "before every key that is made"}, {"lazy", "boolean", "index each when it is first used"},
		{"verify", "boolean", "hash every block"}, {"serve", "string", "auto, inplace, sparse or copy"}, {"index", "string", "auto, scan, hop, check, sample or adopt"},
	}, body: linesOf[wire.Entry](), answer: jsonOf[wire.Job](), status: http.StatusAccepted, limit: mostList, handle: (*Server).postImport},
}

var atName = param{"name", "string", `the name of the manifest, where the segment is "-"`}

// mostList is how long a list may be that is sent.
const mostList = 1 << 30
