package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// Time in which what must come has come.
const patience = 10 * time.Second

// Kinds of frames (RFC 6455, section 5.2).
const (
	more   = 0x0
	text   = 0x1
	bin    = 0x2
	closes = 0x8
	ping   = 0x9
	pong   = 0xa
	fin    = 0x80
)

// A frame as bytes: `first` is its first byte, `masked` whether it is one of a client.
func frame(first byte, masked bool, content []byte) []byte {
	var mask byte
	if masked {
		mask = 0x80
	}
	out := []byte{first}
	switch n := len(content); {
	case n < 126:
		out = append(out, mask|byte(n))
	case n < 1<<16:
		out = append(out, mask|126, byte(n>>8), byte(n))
	default:
		out = append(out, mask|127)
		out = binary.BigEndian.AppendUint64(out, uint64(n))
	}
	if !masked {
		return append(out, content...)
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	out = append(out, key[:]...)
	for at, b := range content {
		out = append(out, b^key[at%4])
	}
	return out
}

// What a close frame carries.
func closing(code int, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

// What one end saw, in order.
type record struct {
	sync.Mutex
	lines []string
}

func (r *record) add(format string, values ...any) {
	r.Lock()
	defer r.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, values...))
}

func (r *record) text() string {
	r.Lock()
	defer r.Unlock()
	return strings.Join(r.lines, "; ")
}

// Content in a few letters.
func short(content []byte) string {
	if len(content) <= 40 {
		return fmt.Sprintf("%q", content)
	}
	return fmt.Sprintf("%d bytes %x", len(content), sha256.Sum256(content))[:40]
}

// An end in words that do not depend on addresses.
func ended(err error) string {
	var closed *websocket.CloseError
	var late net.Error
	switch {
	case errors.As(err, &closed) && closed.Code == websocket.CloseAbnormalClosure:
		return "an end without a word"
	case errors.As(err, &closed):
		return fmt.Sprintf("close %d %q", closed.Code, closed.Text)
	case errors.As(err, &late) && late.Timeout():
		return "silence"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "a reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "an end without a word"
	}
	return err.Error()
}

// Notes each ping, pong and close; answers as the library does by itself.
func watch(conn *websocket.Conn, seen *record) {
	answer := conn.PingHandler()
	conn.SetPingHandler(func(content string) error {
		seen.add("ping %s", short([]byte(content)))
		return answer(content)
	})
	conn.SetPongHandler(func(content string) error {
		seen.add("pong %s", short([]byte(content)))
		return nil
	})
	conn.SetReadDeadline(time.Now().Add(patience))
}

// Reads up to the end, and gives each message to `then` if there is one.
func drain(conn *websocket.Conn, seen *record, then func(kind int, content []byte)) {
	for {
		kind, content, err := conn.ReadMessage()
		if err != nil {
			seen.add("%s", ended(err))
			return
		}
		seen.add("message %d %s", kind, short(content))
		if then != nil {
			then(kind, content)
		}
	}
}
