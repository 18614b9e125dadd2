package main

import (
	"bytes"
	"fmt"

	"github.com/multiformats/go-multihash"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/index"
)

// An indexObject is what "index inspect --json" prints.
type indexObject struct {
	Name     string       `json:"name"`
	Format   string       `json:"format"`
	Records  int64        `json:"records"`
	Repeated int64        `json:"repeated"` // of these, further ones of a multihash
	Bytes    int64        `json:"bytes,omitempty"`
	Sizes    bool         `json:"sizes"` // it knows the sizes of blocks
	Checked  bool         `json:"checksums"`
	Kinds    []kindObject `json:"kinds"`
}

// A kindObject is the records of one hash function and digest length.
type kindObject struct {
	Hash    string `json:"hash,omitempty"` // "": the index does not say
	Digest  int    `json:"digest"`         // its length in bytes
	Records int64  `json:"records"`
}

func (a *app) indexInspectCommand() *cobra.Command {
	var isKey bool
	cmd := &cobra.Command{
		Use:   "inspect KEY|FILE",
		Short: "Say what is in an index",
		Long: `Say what is in an index, which is read from end to end: its format, how many
records it has, and of which hash functions. ` + targetHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withIndex(cmd.Context(), args[0], isKey, func(t *indexTarget) error {
				o, err := inspect(t)
				if err != nil {
					return err
				}
				return a.printIndex(o)
			})
		},
	}
	keyFlag(cmd, &isKey)
	a.jsonFlag(cmd)
	return cmd
}

// inspect reads all of an index.
func inspect(t *indexTarget) (*indexObject, error) {
	o := &indexObject{Name: t.name, Format: index.MultihashSorted.String(), Bytes: max(t.bytes, 0), Kinds: []kindObject{}}
	if t.digests != nil {
		o.Format = index.DigestsSorted.String()
		for d, err := range t.digests.All() {
			if err != nil {
				return nil, err
			}
			o.add("", len(d.Digest))
		}
		return o, nil
	}
	o.Checked = t.file == nil || t.file.CRC() != 0
	var last []byte
	for r, err := range t.ix.All() {
		if err != nil {
			return nil, err
		}
		o.Sizes = o.Sizes || r.Size >= 0
		if bytes.Equal(last, r.Multihash) {
			o.Repeated++
		}
		last = append(last[:0], r.Multihash...)
		mh, err := multihash.Decode(r.Multihash)
		if err != nil {
			return nil, err
		}
		o.add(hashName(mh.Code), mh.Length)
	}
	return o, nil
}

// add counts a record, which follows those of its kind.
func (o *indexObject) add(hash string, digest int) {
	o.Records++
	if n := len(o.Kinds) - 1; n >= 0 && o.Kinds[n].Hash == hash && o.Kinds[n].Digest == digest {
		o.Kinds[n].Records++
		return
	}
	o.Kinds = append(o.Kinds, kindObject{hash, digest, 1})
}

// hashName is the name of a hash function, or its number.
func hashName(code uint64) string {
	if name := multihash.Codes[code]; name != "" {
		return name
	}
	return fmt.Sprintf("%#x", code)
}

func (a *app) printIndex(o *indexObject) error {
	if a.jsonOut {
		return printJSON(a.stdout, o)
	}
	sizes := "without sizes"
	if o.Sizes {
		sizes = "with sizes"
	}
	if _, err := fmt.Fprintf(a.stdout, "%s  %s, %s %s\n", showText(o.Name), o.Format, plural(o.Records, "record"), sizes); err != nil {
		return err
	}
	for _, k := range o.Kinds {
		hash := k.Hash
		if hash == "" {
			hash = "unknown hash function"
		}
		if _, err := fmt.Fprintf(a.stdout, "  %s, %s: %s\n", hash, plural(int64(k.Digest), "byte"), plural(k.Records, "record")); err != nil {
			return err
		}
	}
	return nil
}
