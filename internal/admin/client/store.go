package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// Store says who holds the store.
func (c *Client) Store(ctx context.Context) (out wire.Store, err error) {
	if err = c.get(ctx, "/store", nil, &out); err == nil {
		c.met.CompareAndSwap(nil, &out)
	}
	return out, err
}

// Statistics are those of the store.
func (c *Client) Statistics(ctx context.Context) (out wire.Stats, err error) {
	err = c.get(ctx, "/stats", nil, &out)
	return out, err
}

// Health is how the servers are that sources lie on.
func (c *Client) Health(ctx context.Context) ([]wire.Host, error) {
	var out wire.Hosts
	err := c.get(ctx, "/hosts", nil, &out)
	return out.Hosts, err
}

// Link makes a one-time link to the page.
func (c *Client) Link(ctx context.Context) (out wire.OneTimeLink, err error) {
	err = c.post(ctx, "/links", nil, &out)
	return out, err
}

// Detail is all that is known of a shard, its last events included.
func (c *Client) Detail(ctx context.Context, key shard.Key) (out wire.Detail, err error) {
	path, query := at(key, "")
	err = c.get(ctx, path, query, &out)
	return out, err
}

// Info is as of [dagstore.Store].
func (c *Client) Info(ctx context.Context, key shard.Key) (shard.Info, error) {
	d, err := c.Detail(ctx, key)
	if err != nil {
		return shard.Info{}, err
	}
	return d.Info()
}

// pageSize is how many shards are asked for at once.
const pageSize = "1000"

// Shards is as of [dagstore.Store].
func (c *Client) Shards(ctx context.Context, f *dagstore.Filter) iter.Seq2[shard.Info, error] {
	query := url.Values{"limit": {pageSize}}
	if f != nil {
		set(query, "prefix", f.Prefix)
		set(query, "after", string(f.After))
		for i, state := range f.States {
			if i > 0 {
				query.Set("state", query.Get("state")+","+state.String())
			} else {
				query.Set("state", state.String())
			}
		}
	}
	return func(yield func(shard.Info, error) bool) {
		query := maps.Clone(query) // each loop begins anew
		for {
			var page wire.Page
			if err := c.get(ctx, "/shards", query, &page); err != nil {
				yield(shard.Info{}, err)
				return
			}
			if !yieldPage(&page, yield) || page.Next == "" {
				return
			}
			query.Set("after", page.Next)
		}
	}
}

// yieldPage yields what a page has, by rising key.
func yieldPage(page *wire.Page, yield func(shard.Info, error) bool) bool {
	damaged := page.Damaged
	for i := range page.Shards {
		for len(damaged) > 0 && damaged[0].Key < page.Shards[i].Key {
			if !yield(shard.Info{}, damaged[0].Problem.Err()) {
				return false
			}
			damaged = damaged[1:]
		}
		if !yield(page.Shards[i].Info()) {
			return false
		}
	}
	for i := range damaged {
		if !yield(shard.Info{}, damaged[i].Problem.Err()) {
			return false
		}
	}
	return true
}

func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

// An UntoldError says how many shards are missing from a list, since they cannot be
// told of: [Client.Shards] says which, and why.
type UntoldError struct{ N int64 }

// Error says how many.
func (e *UntoldError) Error() string {
	if e.N == 1 {
		return "1 shard is missing from the list"
	}
	return fmt.Sprintf("%d shards are missing from the list", e.N)
}

// Export yields the shards as lines of a list, by rising key, but for those that
// are being removed. An [UntoldError] comes last. Who takes long over them is no
// reason for it to end: it goes on where it was broken off.
func (c *Client) Export(ctx context.Context, prefix string) iter.Seq2[wire.Entry, error] {
	return func(yield func(wire.Entry, error) bool) {
		query := make(url.Values)
		set(query, "prefix", prefix)
		for more := true; more; {
			more = c.exportPart(ctx, query, yield)
		}
	}
}

// exportPart yields what one answer has. It reports whether another is to be asked
// for, which query then says.
func (c *Client) exportPart(ctx context.Context, query url.Values, yield func(wire.Entry, error) bool) (more bool) {
	response, err := c.send(ctx, request{method: http.MethodGet, path: "/export", query: query})
	if err != nil {
		yield(wire.Entry{}, err)
		return false
	}
	defer response.Body.Close()
	in, came := bodyOf(response), false
	for entry, err := range wire.ReadList(in) {
		if err == nil {
			came = true
			query.Set("after", entry.Key)
			if !yield(entry, nil) {
				return false
			}
			continue
		}
		// The last line of an answer that broke off is no line.
		if err = c.wrong(ctx, in, err); errors.Is(err, ErrBroken) && came {
			return true
		}
		yield(wire.Entry{}, err)
		return false
	}
	if n, err := strconv.ParseInt(response.Trailer.Get(wire.Untold), 10, 64); err == nil && n > 0 {
		yield(wire.Entry{}, &UntoldError{n})
	}
	return false
}

// mostPlaces is how many places of a block one answer can have.
const mostPlaces = 10000

// Find is as of [dagstore.Store].
func (c *Client) Find(ctx context.Context, id cid.Cid) iter.Seq2[shard.Location, error] {
	return func(yield func(shard.Location, error) bool) {
		var out wire.Locations
		// A loop that wants a few is not kept waiting for all.
		for _, limit := range []int{16, mostPlaces} {
			seen := len(out.Locations)
			if err := c.get(ctx, "/blocks/"+id.String()+"/locations", url.Values{"limit": {strconv.Itoa(limit)}}, &out); err != nil {
				yield(shard.Location{}, err)
				return
			}
			for i := min(seen, len(out.Locations)); i < len(out.Locations); i++ {
				if !yield(out.Locations[i].Location(), nil) {
					return
				}
			}
			if !out.More {
				break
			}
			if limit == mostPlaces {
				yield(shard.Location{}, fmt.Errorf("%s lies in more than %d places, and no more are told of from elsewhere", id, limit))
				return
			}
			out.More = false
		}
		if out.Problem != nil {
			yield(shard.Location{}, out.Problem.Err())
		}
	}
}

// Register is as of [dagstore.Store].
func (c *Client) Register(ctx context.Context, key shard.Key, m mount.Mount, opts *dagstore.RegisterOptions) error {
	if opts == nil {
		opts = new(dagstore.RegisterOptions)
	}
	path, query := at(key, "")
	r, err := request{method: http.MethodPut, path: path, query: query}.with(wire.RegistrationOf(m.URL(), opts))
	if err != nil {
		return err
	}
	response, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return &shard.Error{Key: key, Op: shard.OpRegister, Err: shard.ErrExists}
	}
	return c.hear(ctx, key, response)
}

// doing asks for something that concerns one shard.
func (c *Client) doing(ctx context.Context, key shard.Key, what string, body any) error {
	path, query := at(key, "/"+what)
	r := request{method: http.MethodPost, path: path, query: query, once: what == "remount"}
	if body != nil {
		var err error
		if r, err = r.with(body); err != nil {
			return err
		}
	}
	response, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return c.hear(ctx, key, response)
}

// hear reads a shard, and passes on what was told of it meanwhile. If its end does
// not come, what was asked for is done all the same: the status says so.
func (c *Client) hear(ctx context.Context, key shard.Key, response *http.Response) error {
	var d wire.Detail
	if err := readJSON(response.Body, &d); err != nil {
		if in := bodyOf(response); in.failed == nil || ctx.Err() != nil {
			return c.wrong(ctx, in, err)
		}
		return nil
	}
	for i := range d.Lies {
		if c.Heard != nil {
			c.Heard(dagstore.FaultEvent{Key: key, Fault: d.Lies[i].Fault()})
		}
	}
	return nil
}

// Recover is as of [dagstore.Store].
func (c *Client) Recover(ctx context.Context, key shard.Key, _ *dagstore.RecoverOptions) error {
	return c.doing(ctx, key, "recover", nil)
}

// Await waits until a shard is indexed and has been opened.
func (c *Client) Await(ctx context.Context, key shard.Key) error {
	return c.doing(ctx, key, "index", nil)
}

// Destroy is as of [dagstore.Store].
func (c *Client) Destroy(ctx context.Context, key shard.Key, opts *dagstore.DestroyOptions) error {
	path, query := at(key, "")
	if opts != nil {
		query.Set("held", wire.HeldName(opts.Held))
	}
	return c.remove(ctx, path, query)
}

// Pin is as of [dagstore.Store].
func (c *Client) Pin(ctx context.Context, key shard.Key) error {
	return c.doing(ctx, key, "pin", nil)
}

// Unpin is as of [dagstore.Store].
func (c *Client) Unpin(ctx context.Context, key shard.Key) error {
	return c.doing(ctx, key, "unpin", nil)
}

// Evict is as of [dagstore.Store].
func (c *Client) Evict(ctx context.Context, key shard.Key, opts *dagstore.EvictOptions) error {
	var e wire.Eviction
	if opts != nil {
		e.LastCopy = opts.LastCopy
	}
	return c.doing(ctx, key, "evict", e)
}

// Remount is as of [dagstore.Store].
func (c *Client) Remount(ctx context.Context, key shard.Key, m mount.Mount, check dagstore.Comparison) error {
	return c.doing(ctx, key, "remount", wire.Move{Mount: m.URL(), Check: wire.ComparisonName(check)})
}

// Replace is as of [dagstore.Store].
func (c *Client) Replace(ctx context.Context, key shard.Key, m mount.Mount, opts *dagstore.RegisterOptions) error {
	return c.doing(ctx, key, "replace", wire.RegistrationOf(m.URL(), opts))
}

// GC is as of [dagstore.Store].
func (c *Client) GC(ctx context.Context) (dagstore.GCReport, error) {
	var out wire.GC
	err := c.post(ctx, "/gc", nil, &out)
	return out.Report(), err
}

// Manifests is as of [dagstore.Store].
func (c *Client) Manifests(ctx context.Context, key shard.Key) iter.Seq2[dagstore.Manifest, error] {
	return func(yield func(dagstore.Manifest, error) bool) {
		var out wire.Manifests
		path, query := at(key, "/manifests")
		if err := c.get(ctx, path, query, &out); err != nil {
			yield(dagstore.Manifest{}, err)
			return
		}
		for i := range out.Manifests {
			if !yield(out.Manifests[i].Manifest(), nil) {
				return
			}
		}
		for i := range out.Damaged {
			if !yield(dagstore.Manifest{}, out.Damaged[i].Err()) {
				return
			}
		}
	}
}

// manifest is the path of a manifest.
func manifest(key shard.Key, name string) (string, url.Values) {
	path, query := at(key, "/manifests/")
	return path + segment("name", name, query), query
}

// Members is as of [dagstore.Store].
func (c *Client) Members(ctx context.Context, key shard.Key, name string) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		path, query := manifest(key, name)
		response, err := c.send(ctx, request{method: http.MethodGet, path: path, query: query})
		if err != nil {
			yield(nil, err)
			return
		}
		defer response.Body.Close()
		in := bodyOf(response)
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			mh, err := multihash.FromB58String(lines.Text())
			if err != nil {
				err = c.wrong(ctx, in, err)
			}
			if !yield(mh, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, c.wrong(ctx, in, err))
		}
	}
}

// HasMember is as of [dagstore.Store].
func (c *Client) HasMember(ctx context.Context, key shard.Key, name string, mh multihash.Multihash) (bool, error) {
	path, query := manifest(key, name)
	var out wire.Membership
	err := c.get(ctx, path+"/members/"+cid.NewCidV1(cid.Raw, mh).String(), query, &out)
	return out.Member, err
}

// PutManifest is as of [dagstore.Store], but that members may still be waited for
// when it returns an error, and are then read no further.
func (c *Client) PutManifest(
	ctx context.Context, key shard.Key, m dagstore.Manifest, members iter.Seq2[multihash.Multihash, error], opts *dagstore.ManifestOptions,
) (dagstore.Manifest, error) {
	path, query := manifest(key, m.Name)
	set(query, "rule", m.Rule)
	query.Set("version", strconv.FormatUint(m.Version, 10))
	if opts != nil && opts.Loose {
		query.Set("loose", "true")
	}
	given, bad := membersOf(members)
	defer given.Close() //nolint:errcheck // it ends who writes, and always succeeds
	body := steady(given, beat)
	defer body.Close() //nolint:errcheck // likewise
	var out wire.Manifest
	err := c.call(ctx, request{method: http.MethodPut, path: path, query: query, body: body, kind: "text/plain"}, &out)
	// An error of who gives the members is why the request broke off.
	if cause := bad(); err != nil && cause != nil {
		return dagstore.Manifest{}, &shard.Error{Key: key, Op: shard.OpManifest, Err: cause}
	}
	return out.Manifest(), err
}

// RemoveManifest is as of [dagstore.Store].
func (c *Client) RemoveManifest(ctx context.Context, key shard.Key, name string) error {
	path, query := manifest(key, name)
	return c.remove(ctx, path, query)
}

// Reconcile yields what does not agree in the store.
func (c *Client) Reconcile(ctx context.Context, mend bool) iter.Seq2[wire.Discrepancy, error] {
	query := url.Values{"mend": {strconv.FormatBool(mend)}}
	return follow[wire.Discrepancy](ctx, c, request{method: http.MethodPost, path: "/reconcile", query: query})
}

// Backup is as of [dagstore.Store]. The folder is one of the machine of the
// store, and its path absolute.
func (c *Client) Backup(ctx context.Context, dir string, opts *dagstore.BackupOptions) (dagstore.BackupReport, error) {
	b := wire.NewBackup{Dir: dir}
	if opts != nil {
		b.Copies = opts.Copies
	}
	var out wire.Backup
	r, err := request{method: http.MethodPost, path: "/backup", once: true}.with(b)
	if err == nil {
		err = c.call(ctx, r, &out)
	}
	return dagstore.BackupReport{Linked: out.Linked, LinkedBytes: out.LinkedBytes, Copied: out.Copied, CopiedBytes: out.CopiedBytes}, err
}

// Page is a page of shards; query selects them as of GET /shards.
func (c *Client) Page(ctx context.Context, query url.Values) (out wire.Page, err error) {
	err = c.get(ctx, "/shards", query, &out)
	return out, err
}

// FindPiece is as of [dagstore.Store].
func (c *Client) FindPiece(ctx context.Context, id cid.Cid) iter.Seq2[shard.Info, error] {
	return func(yield func(shard.Info, error) bool) {
		var page wire.Page
		if err := c.get(ctx, "/pieces/"+id.String(), nil, &page); err != nil {
			yield(shard.Info{}, err)
			return
		}
		yieldPage(&page, yield)
	}
}

// CheckPiece is as of [dagstore.Store].
func (c *Client) CheckPiece(ctx context.Context, key shard.Key) (dagstore.PieceCheck, error) {
	var out wire.PieceCheck
	path, query := at(key, "/piece")
	if err := c.do(ctx, http.MethodPost, path, query, nil, &out); err != nil {
		return dagstore.PieceCheck{}, err
	}
	return out.Check()
}
