package main

import (
	"bufio"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// One connection of a case, straight or through something.
type try struct {
	base, word string
	trust      *tls.Config
	seen       *record
}

type oneCase struct {
	name, want string
	does       func(t *try)
}

func (t *try) address(query string) string {
	return t.base + "/ws?word=" + t.word + "&" + query
}

// Opens a WebSocket; nil, with a note, if it is refused.
func (t *try) open(query string, header http.Header, change func(*websocket.Dialer)) *websocket.Conn {
	dialer := websocket.Dialer{TLSClientConfig: t.trust, HandshakeTimeout: patience}
	if change != nil {
		change(&dialer)
	}
	conn, answer, err := dialer.Dial(t.address(query), header)
	if err != nil {
		status := 0
		var body []byte
		if answer != nil {
			status = answer.StatusCode
			body, _ = io.ReadAll(answer.Body)
		}
		t.seen.add("refused with %d %q: %v", status, body, err)
		return nil
	}
	t.seen.add("open protocol %q extensions %q cookies %q", conn.Subprotocol(),
		answer.Header.Get("Sec-Websocket-Extensions"), answer.Header.Values("Set-Cookie"))
	watch(conn, t.seen)
	return conn
}

// A connection without the library, for what it would not send: the head, and what comes back of a head.
func (t *try) bare(head string) (net.Conn, *bufio.Reader) {
	place, _ := url.Parse(t.base)
	conn, err := net.DialTimeout("tcp", place.Host, patience)
	if err != nil {
		t.seen.add("%v", err)
		return nil, nil
	}
	if place.Scheme == "wss" {
		conn = tls.Client(conn, t.trust)
	}
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write([]byte(strings.ReplaceAll(head, "WORD", t.word)))
	return conn, bufio.NewReader(conn)
}

// Sends this head; notes the answer, and the end of the connection if there is to be one.
func plainly(head string) func(t *try) {
	return func(t *try) {
		conn, reader := t.bare(head)
		if conn == nil {
			return
		}
		defer conn.Close()
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.seen.add("no answer: %s", ended(err))
			return
		}
		t.seen.add("%d version %q upgrade %q accept %q", answer.StatusCode, answer.Header.Get("Sec-Websocket-Version"),
			answer.Header.Get("Upgrade"), answer.Header.Get("Sec-Websocket-Accept"))
	}
}

// Opens, sends these frames as they are, and reads up to the end.
func sends(query string, frames ...[]byte) func(t *try) {
	return func(t *try) {
		conn := t.open(query, nil, nil)
		if conn == nil {
			return
		}
		defer conn.Close()
		for _, bytes := range frames {
			if _, err := conn.UnderlyingConn().Write(bytes); err != nil {
				t.seen.add("writing: %s", ended(err))
			}
		}
		drain(conn, t.seen, nil)
	}
}

// The same, then a close of 1000, so that an honest exchange comes to its end.
func exchanges(frames ...[]byte) func(t *try) {
	return sends("do=echo", append(frames, frame(fin|closes, true, closing(1000, "")))...)
}

// Sends a message again and again while answers are read, `count` times, then closes.
func streams(query string, count int, content []byte, change func(*websocket.Dialer)) func(t *try) {
	return func(t *try) {
		conn := t.open(query, nil, change)
		if conn == nil {
			return
		}
		defer conn.Close()
		var wait sync.WaitGroup
		wait.Add(1)
		got := 0
		go func() {
			defer wait.Done()
			drain(conn, t.seen, func(int, []byte) {
				got++
				if got == count {
					conn.WriteControl(websocket.CloseMessage, closing(1000, ""), time.Now().Add(patience))
				}
			})
		}()
		for n := 0; n < count; n++ {
			if err := conn.WriteMessage(websocket.BinaryMessage, content); err != nil {
				t.seen.add("writing: %s", ended(err))
				break
			}
		}
		wait.Wait()
		t.seen.add("%d came back", got)
	}
}

// Bytes that a scripted server sends with its 101.
func fromServer(then string, frames ...[]byte) string {
	var all []byte
	for _, bytes := range frames {
		all = append(all, bytes...)
	}
	return "do=raw&then=" + then + "&bytes=" + hex.EncodeToString(all)
}

// Opens to a scripted server and reads up to the end. The library checks the key that it chose itself, so the head is
// written here, with the key that the server's answer is for.
func hears(then string, frames ...[]byte) func(t *try) {
	return func(t *try) {
		conn, reader := t.bare(head("GET", "WORD&"+fromServer(then, frames...), ""))
		if conn == nil {
			return
		}
		defer conn.Close()
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.seen.add("no answer: %s", ended(err))
			return
		}
		content := make([]byte, 0, 4096)
		if then == "read" {
			// It waits for our end, so what it said is all that comes.
			content = content[:len(flat(frames))]
			_, err = io.ReadFull(reader, content)
		} else {
			content, err = io.ReadAll(reader)
		}
		how := "an end"
		if err != nil {
			how = ended(err)
		}
		t.seen.add("%d, then %s, %s", answer.StatusCode, short(content), how)
	}
}

func flat(frames [][]byte) (all []byte) {
	for _, bytes := range frames {
		all = append(all, bytes...)
	}
	return all
}

// The head of an upgrade: the word and further query, further fields.
func head(method, query, fields string) string {
	return method + " /ws?word=" + query + " HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + fields + "\r\n"
}
