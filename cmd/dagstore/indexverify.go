package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/multiformats/go-multihash"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/scratch"
)

// A verdict is what "index verify --json" prints.
type verdict struct {
	Name     string `json:"name"`
	Records  int64  `json:"records"`
	CAR      bool   `json:"car"`             // every entry was held against the CAR
	Missing  int64  `json:"missing"`         // sections that are not listed
	Invented int64  `json:"invented"`        // entries that lead to no such section
	First    string `json:"first,omitempty"` // of either, for people
	Error    string `json:"error,omitempty"` // the file itself is damaged
	OK       bool   `json:"ok"`
}

func (a *app) indexVerifyCommand() *cobra.Command {
	var isKey bool
	var carName string
	cmd := &cobra.Command{
		Use:   "verify KEY|FILE",
		Short: "Hold an index against its checksums and its CAR",
		Long: `Hold an index against its checksums and its order, and every entry of it
against the sections of its CAR: the shard's, or the one that --car names. No
block is hashed; every read does that. What is wrong is exit code 1; "dagstore
index import" or removing and adding the shard makes its index anew.

` + targetHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withIndex(ctx, args[0], isKey, func(t *indexTarget) error {
				if t.car == nil && carName != "" {
					file, err := os.Open(carName)
					if err != nil {
						return err
					}
					defer file.Close()
					t.car = file
				}
				return a.verifyIndex(ctx, t)
			})
		},
	}
	cmd.Flags().StringVar(&carName, "car", "", "CAR of the index in FILE")
	keyFlag(cmd, &isKey)
	a.jsonFlag(cmd)
	return cmd
}

// verifyIndex checks an index and prints how it is.
func (a *app) verifyIndex(ctx context.Context, t *indexTarget) error {
	v := verdict{Name: t.name}
	err := v.check(ctx, t)
	switch {
	case errors.Is(err, index.ErrDamaged), errors.Is(err, index.ErrVersion):
		v.Error = err.Error()
	case err != nil:
		return err
	}
	v.OK = v.Error == "" && v.Missing+v.Invented == 0
	if printErr := a.printVerdict(&v); printErr != nil {
		return printErr
	}
	switch {
	case v.OK:
		return nil
	case err != nil:
		return exitError(exitFailed, err)
	default:
		return exitError(exitFailed, fmt.Errorf("%s: %d sections of the CAR are not listed, %d entries are wrong", showText(v.Name), v.Missing, v.Invented))
	}
}

// check fills in the verdict.
func (v *verdict) check(ctx context.Context, t *indexTarget) error {
	switch {
	case t.digests != nil && t.car != nil:
		return exitError(exitUsage, errors.New("an IndexSorted does not say of which hash functions its entries are: leave out --car"))
	case t.digests != nil:
		v.Records = t.digests.Len()
		for _, err := range t.digests.All() {
			if err != nil {
				return err
			}
		}
		return nil
	}
	v.Records = t.ix.Len()
	if t.file != nil {
		if err := t.file.Verify(ctx); err != nil {
			return err
		}
	}
	if t.car == nil {
		return nil
	}
	v.CAR = true
	truth, closeTruth, err := indexOf(ctx, t.car)
	if err != nil {
		return err
	}
	defer closeTruth()
	return v.compare(t.ix.All(), truth.All())
}

// indexOf reads a CAR and makes its index, in a temporary file.
func indexOf(ctx context.Context, r io.ReadSeeker) (*index.File, func(), error) {
	size, err := r.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, nil, err
	}
	b := index.NewBuilder(nil)
	defer func() { _ = b.Close() }() // what was spilled is removed if it can be
	_, err = car.Scan(ctx, r, car.Options{Size: size}, func(s *car.Section) error {
		return b.Add(s.Multihash(), index.Position{Offset: s.Offset, Size: s.Size, Head: s.Head})
	})
	if err != nil {
		return nil, nil, err
	}
	file, err := scratch.File("", "dagstore-verify-*")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = file.Close() } // a temporary file
	stats, err := b.WriteTo(ctx, file, [16]byte{})
	if err != nil {
		remove()
		return nil, nil, err
	}
	f, err := index.NewFile(file, stats.Length)
	if err != nil {
		remove()
		return nil, nil, err
	}
	return f, remove, nil
}

// compare merges what an index lists with what is true, both in the order of
// [index.Index].
func (v *verdict) compare(listed, truth iter.Seq2[index.Record, error]) error {
	next, stop := iter.Pull2(truth)
	defer stop()
	want, err, more := next()
	for have, haveErr := range listed {
		if haveErr != nil {
			return haveErr
		}
		for more && err == nil && byPlace(want, have) < 0 {
			v.tell(&v.Missing, "is not listed", want)
			want, err, more = next()
		}
		if err != nil {
			return err
		}
		if more && byPlace(want, have) == 0 {
			if have.Size >= 0 && have.Head > 0 && (have.Size != want.Size || have.Head != want.Head) {
				v.tell(&v.Invented, "has another size", have)
			}
			want, err, more = next()
			continue
		}
		v.tell(&v.Invented, "is not there", have)
	}
	for ; more && err == nil; want, err, more = next() {
		v.tell(&v.Missing, "is not listed", want)
	}
	return err
}

func (v *verdict) tell(count *int64, what string, r index.Record) {
	if *count++; v.First == "" {
		v.First = fmt.Sprintf("the block %s at offset %d %s", r.Multihash.HexString(), r.Offset, what)
	}
}

// byPlace is the order of an index.
func byPlace(a, b index.Record) int {
	x, errX := multihash.Decode(a.Multihash)
	y, errY := multihash.Decode(b.Multihash)
	if errX != nil || errY != nil {
		return bytes.Compare(a.Multihash, b.Multihash)
	}
	return cmp.Or(cmp.Compare(x.Code, y.Code), cmp.Compare(x.Length, y.Length), bytes.Compare(x.Digest, y.Digest), cmp.Compare(a.Offset, b.Offset))
}

func (a *app) printVerdict(v *verdict) error {
	if a.jsonOut {
		return printJSON(a.stdout, v)
	}
	if !v.OK {
		if v.First != "" {
			a.notef("%s: %s", showText(v.Name), v.First)
		}
		return nil
	}
	against := "its checksums and order"
	if v.CAR {
		against = "the CAR"
	}
	_, err := fmt.Fprintf(a.stdout, "ok  %s  %s, held against %s\n", showText(v.Name), plural(v.Records, "record"), against)
	return err
}
