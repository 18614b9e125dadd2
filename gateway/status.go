package gateway

import (
	"context"
	"errors"
	"net/http"

	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// retryAfter is after how many seconds a client may ask again for what is
// out of reach for now.
const retryAfter = "10"

// A blockError is why a block cannot be served, in words that are fit for
// everyone: the errors of the store name shards and where they lie, and those
// are nobody's business but the operator's.
type blockError struct {
	cid    cid.Cid
	status int
	why    string
}

func (e *blockError) Error() string {
	if !e.cid.Defined() {
		return e.why
	}
	return "block " + e.cid.String() + ": " + e.why
}

// publicError translates an error of the store for the block c. Every
// sentinel has its line here; what is not an error of the store is an
// internal error.
func publicError(c cid.Cid, err error) *blockError {
	status, why := statusOf(err)
	return &blockError{c, status, why}
}

func statusOf(err error) (status int, why string) {
	switch {
	case is(err, shard.ErrBlock, shard.ErrCAR):
		return http.StatusNotFound, "its bytes are damaged wherever the store has them"
	case is(err, shard.ErrDestroyed, shard.ErrDestroying, shard.ErrUnknown):
		return http.StatusNotFound, "it has just been removed from the store"
	case is(err, shard.ErrRemote):
		return http.StatusNotFound, "it is not on this machine"
	case is(err, shard.ErrStalled, mount.ErrStalled, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, "its source did not answer in time"
	case is(err, shard.ErrSource, shard.ErrChanged, shard.ErrDenied, shard.ErrQuota, shard.ErrFailed,
		mount.ErrChanged, mount.ErrDenied, mount.ErrScheme, mount.ErrURL, mount.ErrNoRanges, mount.ErrNotLocal, mount.ErrRange, mount.ErrNoSiblings,
		mount.ErrBusy, mount.ErrUnreachable, mount.ErrAnswer, mount.ErrNotReady):
		return http.StatusServiceUnavailable, "its source cannot be read now"
	case is(err, shard.ErrIndex, index.ErrDamaged, index.ErrVersion, shard.ErrBusy, shard.ErrHeld):
		return http.StatusServiceUnavailable, "it is being indexed again"
	case is(err, dagstore.ErrClosed, dagstore.ErrNoSpace):
		return http.StatusServiceUnavailable, "the store is not available now"
	case is(err, verifcid.ErrPossiblyInsecureHashFunction, verifcid.ErrDigestTooSmall, verifcid.ErrDigestTooLarge):
		return http.StatusNotFound, "its multihash is of a kind that is not served"
	default:
		// No read gives these but by a fault in the program: shard.ErrKey,
		// ErrExists, ErrKeyUsed and ErrLastCopy, dagstore.ErrNoStore, ErrInUse, ErrVersion,
		// ErrReadOnly, ErrNoManifest, ErrNotMember and ErrManifestName,
		// index.ErrRecord and ErrSpent.
		return http.StatusInternalServerError, "internal error"
	}
}

func is(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
