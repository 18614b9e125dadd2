package main

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
)

// blockCID reads the CID of one block, bare or as "/ipfs/CID" or
// "ipfs://CID", in any version and base.
func blockCID(s string) (cid.Cid, error) {
	path, err := extract.ParsePath(s)
	if err != nil {
		return cid.Undef, exitError(exitUsage, err)
	}
	if len(path.Names) > 0 {
		return cid.Undef, exitError(exitUsage, fmt.Errorf("%q is a path: this command takes the CID of one block", s))
	}
	return path.Root, nil
}
