// Package car turns the bytes of a CAR into records, in one pass, under hard
// limits. It reads CARv1 and CARv2 as https://ipld.io/specs/transport/car/
// describes them.
//
//	res, err := car.Scan(ctx, file, car.Options{Size: size}, func(s *car.Section) error {
//		return builder.Add(s.Multihash(), s.Offset, s.Size, s.Head)
//	})
//	if fault, ok := errors.AsType[*shard.Fault](err); ok {
//		// the CAR is bad, at fault.Offset
//	}
//
// # What is a bad CAR
//
// The bytes are not trusted. Three outcomes are kept apart:
//
//   - The framing is at fault: header, container or the lengths of sections.
//     Scan stops with a [*shard.Fault] that wraps [shard.ErrCAR], and nothing
//     of what it emitted may be used.
//   - One block is at fault: its CID is impossible, its hash function unknown
//     or of digests under 160 bits or, where bodies are hashed, its bytes are
//     others than its CID says. The section is counted and listed in [Result],
//     it is not emitted, and its neighbours are untouched: the length of the
//     section is framing, its CID is not.
//   - The source is at fault: it cannot be read, or ends before the size it
//     announced. Then the error is no Fault and wraps [shard.ErrSource]; the
//     same CAR may be good when it is read again.
//
// Where the specification leaves a choice, this package decides as go-car
// does: a section of length zero is null padding and ends the CAR, whatever
// follows it; a header may say null for no roots; a CARv2 may hold any bytes
// in the gaps before its payload and before its index. It is stricter in
// three points: a header is one DAG-CBOR item in its shortest form with no
// other keys, padding apart nothing may follow the payload of a CARv2 without
// an index, and the parts of a CARv2 must lie in their order inside of the file.
//
// # Cost
//
// No memory is allocated for a length that a CAR claims, and none at all for
// a section. Bodies are walked over in a buffer of 1 MiB; a source that is
// both an [io.Seeker] and an [io.ReaderAt], as a file is, is read by ReadAt
// around bodies of 128 KiB and more.
package car
