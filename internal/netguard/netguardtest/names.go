package netguardtest

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
)

// Names is a name server that finds one IPv4 address under every name.
type Names struct {
	addr  netip.Addr
	conn  net.PacketConn
	ended chan struct{}
	asked atomic.Int64
}

// NewNames starts a name server; Close ends it.
func NewNames(addr netip.Addr) (*Names, error) {
	conn, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &Names{addr: addr, conn: conn, ended: make(chan struct{})}
	go n.serve()
	return n, nil
}

// Resolver asks n.
func (n *Names) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", n.conn.LocalAddr().String())
	}}
}

// Asked is how many questions there were.
func (n *Names) Asked() int64 { return n.asked.Load() }

// Close ends the server and waits for its end.
func (n *Names) Close() error {
	err := n.conn.Close()
	<-n.ended
	return err
}

func (n *Names) serve() {
	defer close(n.ended)
	buf := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		n.asked.Add(1)
		if a := n.answer(buf[:size]); a != nil {
			_, _ = n.conn.WriteTo(a, from) // who gets no answer asks again
		}
	}
}

const (
	header  = 12 // bytes of a message before its question
	typeA   = 1
	pointer = 0xc00c // to the name in the question
)

// answer makes of a question (RFC 1035, section 4) its answer: that the name
// has the address, or that it has nothing of another type.
func (n *Names) answer(question []byte) []byte {
	end := header
	for end < len(question) && question[end] != 0 {
		end += 1 + int(question[end])
	}
	end += 5 // the root, type and class
	if end > len(question) {
		return nil
	}
	out := append([]byte(nil), question[:end]...)
	binary.BigEndian.PutUint16(out[2:], 0x8180) // an answer, without error
	clear(out[6:header])
	if binary.BigEndian.Uint16(question[end-4:]) != typeA {
		return out
	}
	out[7] = 1 // answer
	out = binary.BigEndian.AppendUint16(out, pointer)
	out = append(out, 0, typeA, 0, 1, 0, 0, 0, 1, 0, 4) // of the internet, for a second, four bytes
	return append(out, n.addr.AsSlice()...)
}
