package copies

import (
	"encoding/binary"
	"hash/crc32"
)

// write writes unit n, if it is not here yet and there is space for it. What cannot
// be kept is no matter: it was read. One at a time writes.
func (s *Sparse) write(n int, data []byte) {
	if !s.room(n) {
		return
	}
	s.mu.Lock()
	slot := s.next
	s.next++
	s.long = max(s.long, int64(slot)*unit+int64(len(data)))
	s.mu.Unlock()
	if _, err := s.data.WriteAt(data, int64(slot)*unit); err != nil {
		return // its space stays taken, as what was written may be there
	}
	s.mu.Lock()
	s.units[n] = extent{slot: slot, sum: crc32.Checksum(data, castagnoli), checked: true}
	s.pending = append(s.pending, n)
	due := len(s.pending)*unit >= syncAfter
	s.mu.Unlock()
	if due {
		_ = s.writeEntries() // tried again by the next
	}
}

// room takes space for unit n and its entry, unless it is here or the copy is
// about to go.
func (s *Sparse) room(n int) bool {
	s.mu.Lock()
	_, have := s.units[n]
	have = have || s.closed || s.failed || int(s.next) >= s.count()
	entries := s.entries + int64(len(s.pending))
	bytes := charged(max(s.long, int64(s.next)*unit+s.length(n))) - charged(s.long)
	s.mu.Unlock()
	if have {
		return false
	}
	bytes += charged(headLength+(entries+1)*entryLength) - charged(headLength+entries*entryLength)
	space, err := s.k.takeFor(bytes, s.spare)
	if err != nil || space == nil {
		return false
	}
	s.k.mu.Lock()
	defer s.k.unlock(true)
	s.k.used -= space.bytes
	if s.k.entries[s.e.id] != s.e || s.e.state == leaving || s.e.state == stuck {
		return false
	}
	s.k.change(s.e, func() { s.e.charge += space.bytes })
	return true
}

// writeEntries syncs the units that have no entry, then writes the entries.
func (s *Sparse) writeEntries() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	pending := s.pending
	s.pending = nil
	var entries []byte
	for _, n := range pending {
		have, ok := s.units[n]
		if !ok {
			continue // it proved damaged
		}
		at := len(entries)
		entries = binary.LittleEndian.AppendUint32(entries, uint32(n))
		entries = binary.LittleEndian.AppendUint32(entries, have.slot)
		entries = binary.LittleEndian.AppendUint32(entries, have.sum)
		entries = binary.LittleEndian.AppendUint32(entries, crc32.Checksum(entries[at:], castagnoli))
	}
	at := headLength + s.entries*entryLength
	s.mu.Unlock()
	if len(entries) == 0 {
		return nil
	}
	err := s.data.Sync()
	if err == nil {
		_, err = s.extents.WriteAt(entries, at)
	}
	if err == nil {
		err = s.extents.Sync()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		// What was not synced may be lost, whatever the next sync says.
		s.failed = true
		for _, n := range pending {
			delete(s.units, n)
		}
		return err
	}
	s.entries += int64(len(entries)) / entryLength
	return nil
}
