package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// storage is a store, as commands see it: one that this process has open, or
// the process that has it open, over its socket. A command does not know which.
// What has the name of a method of [dagstore.Store] does what that does.
type storage interface {
	Info(ctx context.Context, key shard.Key) (shard.Info, error)
	Shards(ctx context.Context, f *dagstore.Filter) iter.Seq2[shard.Info, error]
	Find(ctx context.Context, c cid.Cid) iter.Seq2[shard.Location, error]
	Register(ctx context.Context, key shard.Key, m mount.Mount, opts *dagstore.RegisterOptions) error
	Recover(ctx context.Context, key shard.Key, opts *dagstore.RecoverOptions) error
	Destroy(ctx context.Context, key shard.Key, opts *dagstore.DestroyOptions) error
	Pin(ctx context.Context, key shard.Key) error
	Unpin(ctx context.Context, key shard.Key) error
	Evict(ctx context.Context, key shard.Key, opts *dagstore.EvictOptions) error
	Remount(ctx context.Context, key shard.Key, m mount.Mount, check dagstore.Comparison) error
	Replace(ctx context.Context, key shard.Key, m mount.Mount, opts *dagstore.RegisterOptions) error
	GC(ctx context.Context) (dagstore.GCReport, error)
	FindPiece(ctx context.Context, c cid.Cid) iter.Seq2[shard.Info, error]
	CheckPiece(ctx context.Context, key shard.Key) (dagstore.PieceCheck, error)
	Manifests(ctx context.Context, key shard.Key) iter.Seq2[dagstore.Manifest, error]
	Members(ctx context.Context, key shard.Key, name string) iter.Seq2[multihash.Multihash, error]
	PutManifest(ctx context.Context, key shard.Key, m dagstore.Manifest, members iter.Seq2[multihash.Multihash, error], opts *dagstore.ManifestOptions) (dagstore.Manifest, error)
	RemoveManifest(ctx context.Context, key shard.Key, name string) error

	// Detail is all that is known of a shard, as the API tells it.
	Detail(ctx context.Context, key shard.Key) (wire.Detail, error)
	// Statistics is the store in figures.
	Statistics(ctx context.Context) (wire.Stats, error)
	// Health is how the servers are that sources lie on.
	Health(ctx context.Context) ([]wire.Host, error)
	// Blocks reads the blocks of all shards, checked.
	Blocks() blockstore.Blockstore
	// Await waits until a shard is indexed, and has it indexed if need be.
	Await(ctx context.Context, key shard.Key) error
	// Index opens the index and the CAR of a shard, which must be closed. If
	// background is set it waits for its turn behind other work.
	Index(ctx context.Context, key shard.Key, background bool) (*heldIndex, error)
	Backup(ctx context.Context, dir string, opts *dagstore.BackupOptions) (dagstore.BackupReport, error)
}

// A heldIndex is the index of a shard, with its CAR.
type heldIndex struct {
	ix    index.Index
	car   io.ReadSeeker
	close func() error
}

var (
	_ storage = ownStore{}
	_ storage = farStore{}
)

// ownStore is a store that this process has open.
type ownStore struct{ *dagstore.Store }

// Detail implements storage.
func (s ownStore) Detail(ctx context.Context, key shard.Key) (wire.Detail, error) {
	info, err := s.Info(ctx, key)
	return wire.DetailOf(info), err
}

// Statistics implements storage.
func (s ownStore) Statistics(context.Context) (wire.Stats, error) {
	return wire.StatsOf(s.Stats(), time.Now()), nil
}

// Health implements storage.
func (s ownStore) Health(context.Context) (out []wire.Host, _ error) {
	for _, h := range s.Hosts() {
		out = append(out, wire.HostOf(h))
	}
	return out, nil
}

// Blocks implements storage.
func (s ownStore) Blocks() blockstore.Blockstore { return s.Blockstore(nil) }

// Await implements storage.
func (s ownStore) Await(ctx context.Context, key shard.Key) error {
	accessor, err := s.Acquire(ctx, key, nil)
	if err != nil {
		return err
	}
	return accessor.Close()
}

// Index implements storage.
func (s ownStore) Index(ctx context.Context, key shard.Key, background bool) (*heldIndex, error) {
	acc, err := s.Acquire(ctx, key, &dagstore.AcquireOptions{Background: background})
	if err != nil {
		return nil, err
	}
	return &heldIndex{acc.Index(), acc.CAR(ctx), acc.Close}, nil
}

// farStore is the process that has the store open.
type farStore struct{ *client.Client }

// Blocks implements storage.
func (s farStore) Blocks() blockstore.Blockstore { return s.Client.Blocks() }

// Index implements storage.
func (s farStore) Index(ctx context.Context, key shard.Key, _ bool) (*heldIndex, error) {
	ix, err := s.OpenIndex(ctx, key)
	if err != nil {
		return nil, err
	}
	car, err := s.CAR(ctx, key)
	if err != nil {
		return nil, errors.Join(err, ix.Close())
	}
	return &heldIndex{ix, car, func() error { return errors.Join(car.Close(), ix.Close()) }}, nil
}
