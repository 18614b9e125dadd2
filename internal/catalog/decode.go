package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

var errShort = errors.New("it is cut short")

// checkValue returns the part of a value before its checksum, which is right, and
// whose version we know.
func checkValue(key shard.Key, value []byte) ([]byte, error) {
	if len(value) < headSize+crcSize {
		return nil, errShort
	}
	body, sum := value[:len(value)-crcSize], binary.LittleEndian.Uint32(value[len(value)-crcSize:])
	if got := checksum(key, body); got != sum {
		return nil, fmt.Errorf("checksum is %08x, not %08x", got, sum)
	}
	if v := body[offVersion]; v != recordVersion {
		return nil, fmt.Errorf("%w: record version %d, ours is %d", ErrVersion, v, recordVersion)
	}
	return body, nil
}

// decodeHead reads what a batch must know, after the checksum.
func decodeHead(key shard.Key, value []byte) (head, error) {
	body, err := checkValue(key, value)
	if err != nil {
		return head{}, &DamagedError{Key: key, Err: err}
	}
	kept, err := keptOf(body)
	if err != nil {
		return head{}, &DamagedError{Key: key, Err: err}
	}
	piece, err := pieceOf(key, body)
	if err != nil {
		return head{}, &DamagedError{Key: key, Err: err}
	}
	return head{
		kept:     kept,
		piece:    piece,
		revision: binary.LittleEndian.Uint64(body[offRevision:]),
		intent:   Intent(body[offIntent]),
		seq:      binary.LittleEndian.Uint64(body[offSeq:]),
		index:    index.ID(binary.LittleEndian.Uint32(body[offIndex:])),
	}, nil
}

// keptOf returns the number of the copy that a record names.
func keptOf(body []byte) (uint32, error) {
	if body[offFlags]&flagKept == 0 {
		return 0, nil
	}
	d := decoder{rest: body[headSize:]}
	for len(d.rest) > 0 {
		tag := d.byte()
		field := decoder{rest: d.bytes()}
		if d.err != nil {
			return 0, d.err
		}
		if tag == tagKept {
			n := field.uint32()
			return n, field.err
		}
	}
	return 0, errNoKept
}

// errNoKept is of a record whose flags promise a copy.
var errNoKept = errors.New("its flags and its copy disagree")

// decodeRecord reads the value of key. It keeps nothing of value. All that is
// wrong with it is a [*DamagedError].
func decodeRecord(key shard.Key, value []byte) (*Record, error) {
	r, err := parseRecord(key, value)
	if err != nil {
		return nil, &DamagedError{Key: key, Err: err}
	}
	return r, nil
}

func parseRecord(key shard.Key, value []byte) (*Record, error) {
	body, err := checkValue(key, value)
	if err != nil {
		return nil, err
	}
	flags := body[offFlags]
	if flags&^knownFlags != 0 {
		return nil, fmt.Errorf("%w: flags %08b", ErrVersion, flags)
	}
	r := &Record{
		Key:      key,
		Revision: binary.LittleEndian.Uint64(body[offRevision:]),
		State:    shard.State(body[offState]),
		Intent:   Intent(body[offIntent]),
		Verify:   flags&flagVerify != 0,
		Pin:      flags&flagPin != 0,
		Discard:  flags&flagDiscard != 0,
		Index:    IndexRef{ID: index.ID(binary.LittleEndian.Uint32(body[offIndex:]))},
		Facts:    Facts{Trailing: flags&flagTrailing != 0},
	}
	if !stored(r.State) || r.Intent > Destroy {
		return nil, fmt.Errorf("%w: state %d, intent %d", ErrVersion, body[offState], body[offIntent])
	}
	if err := parseFields(r, body[headSize:]); err != nil {
		return nil, err
	}
	if (r.Indexer != "") != (flags&flagIndexer != 0) {
		return nil, fmt.Errorf("its flags and its indexer %q disagree", r.Indexer)
	}
	if (r.Index.Data != nil) != (flags&flagInline != 0) {
		return nil, fmt.Errorf("its flags and its index of %d bytes disagree", len(r.Index.Data))
	}
	if (r.Kept.ID != 0) != (flags&flagKept != 0) {
		return nil, errNoKept
	}
	// Whatever is read may be written again.
	if err := r.validate(); err != nil {
		return nil, err
	}
	return r, nil
}

func parseFields(r *Record, fields []byte) error {
	d := decoder{rest: fields}
	for last := byte(0); len(d.rest) > 0; {
		begin := d.rest
		tag := d.byte()
		field := decoder{rest: d.bytes()}
		if d.err != nil {
			return d.err
		}
		if tag <= last {
			return fmt.Errorf("field %d after field %d", tag, last)
		}
		last = tag
		if tag > lastTag {
			r.unknown = append(r.unknown, begin[:len(begin)-len(d.rest)]...)
			continue
		}
		field.into(r, tag)
		if field.err == nil && len(field.rest) > 0 {
			field.err = fmt.Errorf("%d bytes too many", len(field.rest))
		}
		if field.err != nil {
			return fmt.Errorf("field %d: %w", tag, field.err)
		}
	}
	return nil
}

// into reads the field into r. The checks on counts are validate's.
func (d *decoder) into(r *Record, tag byte) {
	switch tag {
	case tagURL:
		r.URL = d.all()
	case tagRegistered:
		r.Registered = d.time()
	case tagChanged:
		r.Changed = d.time()
	case tagLabels:
		r.Labels = make(map[string]string)
		for d.more() {
			name := d.str()
			r.Labels[name] = d.str()
		}
	case tagPiece:
		r.Piece, d.err = castCID([]byte(d.all()))
	case tagIndex:
		r.Index.Length = d.varint()
		r.Index.CRC = d.uint32()
	case tagCAR:
		d.car(r)
	case tagRoots:
		for d.more() {
			r.Roots = append(r.Roots, d.cid())
		}
	case tagSourceVersion:
		r.SourceVersion = d.all()
	case tagSourceTime:
		r.SourceTime = d.time()
	case tagVerified:
		r.Verified = shard.Verified(d.byte())
		r.VerifiedAt = d.time()
	case tagFaults:
		r.Faults = d.varint()
	case tagFaulty:
		for d.more() {
			r.Faulty = append(r.Faulty, d.fault())
		}
	case tagFailure:
		r.Failure = d.failure(r.Key)
	case tagIndexer:
		r.Indexer = d.all()
	case tagPolicy:
		r.Policy = Policy(d.byte())
	case tagCopy:
		r.Copy = d.all()
	case tagInline:
		r.Index.Data = d.clone()
	case tagIndexURL:
		r.IndexURL = d.all()
	case tagClaim:
		r.Claim = Claim(d.byte())
	case tagServe:
		r.Serve = shard.Mode(d.byte())
	case tagKept:
		r.Kept = Kept{ID: d.uint32(), Size: d.varint(), At: d.time()}
	case tagPieceAt:
		r.PieceAt = d.time()
	}
}

func (d *decoder) car(r *Record) {
	r.Version = int(d.varint())
	r.RootCount = int(d.varint())
	r.Bytes = d.varint()
	r.Payload = shard.Extent{Offset: d.varint(), Size: d.varint()}
	r.Sections = d.varint()
	r.Multihashes = d.varint()
}

func (d *decoder) fault() shard.Fault {
	return shard.Fault{
		Kind:   shard.FaultKind(d.byte()),
		Offset: d.varint(),
		CID:    d.cid(),
		Detail: d.str(),
	}
}
