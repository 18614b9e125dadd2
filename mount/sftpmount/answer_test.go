package sftpmount_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/sftpmount"
)

// The kinds of packets of SFTP that are needed here.
const (
	pktInit, pktVersion                      = 1, 2
	pktOpen, pktClose, pktRead, pktFstat     = 3, 4, 5, 8
	pktStat                                  = 17
	pktStatus, pktHandle, pktData, pktAttrs  = 101, 102, 103, 105
	attrSize, attrPermissions, attrModified  = 1, 4, 8
	codeFailure, codeEOF, codeOK, modeFolder = 4, 1, 0, 0o40755
)

// packet is a packet of SFTP: its length, kind, number, and what follows.
func packet(kind byte, id uint32, rest ...[]byte) []byte {
	body := binary.BigEndian.AppendUint32([]byte{kind}, id)
	body = append(body, bytes.Join(rest, nil)...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func text(s string) []byte { return append(u32(uint32(len(s))), s...) }

// attrs are those of a file of size bytes.
func attrs(size uint64, mode uint32) []byte {
	b := u32(attrSize | attrPermissions | attrModified)
	b = binary.BigEndian.AppendUint64(b, size)
	return append(append(append(b, u32(mode)...), u32(1e9)...), u32(1e9)...)
}

// good is what a server answers that has a file of 5 bytes.
func good(kind byte, id uint32) []byte {
	switch kind {
	case pktInit:
		return packet(pktVersion, 3)
	case pktOpen:
		return packet(pktHandle, id, text("h"))
	case pktStat, pktFstat:
		return packet(pktAttrs, id, attrs(5, 0o100644))
	case pktRead:
		return packet(pktData, id, text("bytes"))
	}
	return packet(pktStatus, id, u32(codeOK), text(""), text(""))
}

// puppet is a server of SFTP that answers as it is told, or not at all.
func puppet(t *testing.T, answer func(kind byte, id uint32) []byte) (address, known string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			servePuppet(conn, config, answer)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	known = filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(knownhosts.Line([]string{l.Addr().String()}, key.PublicKey())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), known
}

// servePuppet serves one connection with one channel.
func servePuppet(conn net.Conn, config *ssh.ServerConfig, answer func(byte, uint32) []byte) {
	defer conn.Close()
	server, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer server.Close()
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, asked, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range asked {
				_ = r.Reply(true, nil)
			}
		}()
		for {
			head := make([]byte, 9)
			if _, err := io.ReadFull(channel, head); err != nil {
				break
			}
			if _, err := io.CopyN(io.Discard, channel, int64(binary.BigEndian.Uint32(head))-5); err != nil {
				break
			}
			reply := answer(head[4], binary.BigEndian.Uint32(head[5:]))
			if reply == nil {
				break
			}
			if _, err := channel.Write(reply); err != nil {
				break
			}
		}
		channel.Close()
	}
}

// What a server answers against all rules is an error, and nothing that it says
// is shown.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		to     byte // this kind of packet is answered with
		answer func(id uint32) []byte
		want   error
	}{
		"good":                {0, nil, nil},
		"no version":          {pktInit, func(uint32) []byte { return packet(pktStatus, 3) }, errAny},
		"another version":     {pktInit, func(uint32) []byte { return packet(pktVersion, 77) }, errAny},
		"closes at once":      {pktInit, func(uint32) []byte { return nil }, errAny},
		"no length":           {pktOpen, func(uint32) []byte { return u32(0) }, errAny},
		"a short packet":      {pktOpen, func(uint32) []byte { return []byte{0, 0, 0, 2, pktHandle, 0} }, errAny},
		"a huge packet":       {pktOpen, func(uint32) []byte { return []byte{255, 255, 255, 255, pktHandle} }, errAny},
		"another number":      {pktOpen, func(id uint32) []byte { return packet(pktHandle, id+7, text("h")) }, errAny},
		"another kind":        {pktOpen, func(id uint32) []byte { return packet(pktData, id, text("marker")) }, errAny},
		"a handle cut short":  {pktOpen, func(id uint32) []byte { return packet(pktHandle, id, u32(1<<31), []byte("marker")) }, errAny},
		"marker in a status":  {pktOpen, func(id uint32) []byte { return packet(pktStatus, id, u32(codeFailure), text("marker"), text("marker")) }, errAny},
		"an unknown status":   {pktOpen, func(id uint32) []byte { return packet(pktStatus, id, u32(1<<31), text("marker")) }, errAny},
		"a status of nothing": {pktOpen, func(id uint32) []byte { return packet(pktStatus, id) }, errAny},
		"ok instead":          {pktOpen, func(id uint32) []byte { return packet(pktStatus, id, u32(codeOK)) }, errAny},
		"attributes of none":  {pktFstat, func(id uint32) []byte { return packet(pktAttrs, id) }, errAny},
		"attributes cut":      {pktFstat, func(id uint32) []byte { return packet(pktAttrs, id, attrs(5, 0o100644)[:9]) }, errAny},
		"below zero":          {pktFstat, func(id uint32) []byte { return packet(pktAttrs, id, attrs(1<<63, 0o100644)) }, errAny},
		"a folder":            {pktFstat, func(id uint32) []byte { return packet(pktAttrs, id, attrs(5, modeFolder)) }, sftpmount.ErrNotRegular},
		"more than asked":     {pktRead, func(id uint32) []byte { return packet(pktData, id, text("bytes and more")) }, nil},
		"data cut short":      {pktRead, func(id uint32) []byte { return packet(pktData, id, u32(1000), []byte("marker")) }, errAny},
		"no data for ever":    {pktRead, func(id uint32) []byte { return packet(pktData, id, text("")) }, context.DeadlineExceeded},
		"the end too early":   {pktRead, func(id uint32) []byte { return packet(pktStatus, id, u32(codeEOF), text("")) }, io.ErrUnexpectedEOF},
		"closes in a read":    {pktRead, func(uint32) []byte { return nil }, io.ErrUnexpectedEOF},
		"closing refused":     {pktClose, func(id uint32) []byte { return packet(pktStatus, id, u32(codeFailure), text("marker")) }, nil},
	} {
		address, known := puppet(t, func(kind byte, id uint32) []byte {
			if kind == c.to && c.answer != nil {
				return c.answer(id)
			}
			return good(kind, id)
		})
		client := sftpmount.New(sftpmount.Config{
			KnownHosts: []string{known}, Login: as(&sftpmount.Login{User: "ann"}), StallTime: late,
		})
		m, err := client.Open("sftp://" + address + "/x")
		if err != nil {
			t.Fatal(err)
		}
		within(t, name, func() {
			ctx, cancel := context.WithCancel(t.Context())
			if errors.Is(c.want, context.DeadlineExceeded) {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			}
			defer cancel()
			got, err := read(ctx, m)
			switch {
			case c.want == nil && (err != nil || string(got) != "bytes"),
				c.want == errAny && err == nil, c.want != nil && c.want != errAny && !errors.Is(err, c.want),
				err != nil && strings.Contains(err.Error(), "marker"):
				t.Errorf("%s: %.20q, %v, not %v", name, got, err, c.want)
			}
		})
		within(t, "Close after "+name, func() { client.Close() })
	}
}

// An answer that is not understood says so.
func TestAnswersAreNamed(t *testing.T) {
	t.Parallel()
	address, known := puppet(t, func(kind byte, id uint32) []byte {
		if kind == pktStat {
			return packet(pktHandle, id, text("h"))
		}
		return good(kind, id)
	})
	client := sftpmount.New(sftpmount.Config{KnownHosts: []string{known}, Login: as(&sftpmount.Login{User: "ann"})})
	defer client.Close()
	m, err := client.Open("sftp://" + address + "/x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Stat(t.Context()); !errors.Is(err, mount.ErrAnswer) {
		t.Errorf("%v", err)
	}
}
