package dag

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/codec/raw"
	"github.com/ipld/go-ipld-prime/linking"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/multicodec"
	"github.com/ipld/go-ipld-prime/storage"
)

// A Storage is a [Source] as storage of go-ipld-prime, to be read and not
// written. Its keys are CIDs as bytes, which is what a [linking.LinkSystem]
// asks with. It may be used by many goroutines at once; its errors are those of
// the Source, or of a key that is no CID.
type Storage struct{ src Source }

var (
	_ storage.ReadableStorage          = (*Storage)(nil)
	_ storage.StreamingReadableStorage = (*Storage)(nil)
	_ storage.PeekableStorage          = (*Storage)(nil)
)

// NewStorage makes a Storage over src.
func NewStorage(src Source) *Storage { return &Storage{src} }

// Has reports whether there is a block. An identity CID is one by itself.
func (s *Storage) Has(ctx context.Context, key string) (bool, error) {
	c, err := keyCID(key)
	if err != nil {
		return false, err
	}
	if _, ok, err := inline(c); ok {
		return err == nil, err
	}
	return s.src.Has(ctx, c)
}

// Get returns a copy of the bytes of a block, which is the caller's.
func (s *Storage) Get(ctx context.Context, key string) ([]byte, error) {
	data, err := s.peek(ctx, key)
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(data)), data...), nil
}

// Peek returns the bytes of a block, which must not be changed. Closing does
// nothing.
func (s *Storage) Peek(ctx context.Context, key string) ([]byte, io.Closer, error) {
	data, err := s.peek(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	return data, io.NopCloser(nil), nil
}

// GetStream returns a reader of the bytes of a block, which it holds: they were
// read, and are right, before it returns. Closing it does nothing.
func (s *Storage) GetStream(ctx context.Context, key string) (io.ReadCloser, error) {
	data, err := s.peek(ctx, key)
	if err != nil {
		return nil, err
	}
	return stream{bytes.NewReader(data)}, nil
}

func (s *Storage) peek(ctx context.Context, key string) ([]byte, error) {
	c, err := keyCID(key)
	if err != nil {
		return nil, err
	}
	return get(ctx, s.src, c)
}

func keyCID(key string) (cid.Cid, error) {
	c, err := cid.Cast([]byte(key))
	if err != nil {
		return cid.Undef, fmt.Errorf("dag: a key that is no CID: %w", err)
	}
	return c, nil
}

// A stream keeps the methods of its reader: codecs look for them.
type stream struct{ *bytes.Reader }

// Close does nothing.
func (stream) Close() error { return nil }

// LinkSystem returns a link system that loads from src, and stores nothing. It
// knows raw, dag-pb, dag-cbor and dag-json, whatever codecs the program has
// registered. It is trusted: it hashes nothing, since a [Source] has done so.
func LinkSystem(src Source) linking.LinkSystem {
	var codecs multicodec.Registry
	codecs.RegisterDecoder(cid.Raw, raw.Decode)
	codecs.RegisterDecoder(cid.DagProtobuf, dagpb.Decode)
	codecs.RegisterDecoder(cid.DagCBOR, dagcbor.Decode)
	codecs.RegisterDecoder(cid.DagJSON, dagjson.Decode)
	links := cidlink.LinkSystemUsingMulticodecRegistry(codecs)
	links.SetReadStorage(NewStorage(src))
	links.TrustedStorage = true
	return links
}
