package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// What the server saw, by the word that the client gave the connection.
type book struct {
	sync.Mutex
	pages map[string]*page
}

type page struct {
	seen record
	done chan struct{}
	once sync.Once
}

func (b *book) page(word string) *page {
	b.Lock()
	defer b.Unlock()
	if b.pages[word] == nil {
		b.pages[word] = &page{done: make(chan struct{})}
	}
	return b.pages[word]
}

func serve(address string) error {
	pages := book{pages: map[string]*page{}}
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	http.HandleFunc("/seen", func(w http.ResponseWriter, r *http.Request) {
		page := pages.page(r.URL.Query().Get("word"))
		select {
		case <-page.done:
		case <-time.After(2 * patience):
			page.seen.add("and the server waits on")
		}
		fmt.Fprint(w, page.seen.text())
	})
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		page := pages.page(r.URL.Query().Get("word"))
		defer page.once.Do(func() { close(page.done) })
		talk(w, r, &page.seen)
	})
	return http.ListenAndServe(address, nil)
}

func talk(w http.ResponseWriter, r *http.Request, seen *record) {
	query := r.URL.Query()
	seen.add("%s %s origin %q protocols %q cookie %q", r.Method, query.Get("note"), r.Header.Get("Origin"),
		r.Header.Values("Sec-WebSocket-Protocol"), r.Header.Get("Cookie"))
	if query.Get("do") == "refuse" {
		http.Error(w, "not today", http.StatusForbidden)
		return
	}
	if query.Get("do") == "raw" {
		raw(w, query.Get("bytes"), query.Get("then"), seen)
		return
	}
	upgrader := websocket.Upgrader{
		CheckOrigin:       func(*http.Request) bool { return true },
		EnableCompression: query.Get("deflate") == "1",
		Subprotocols:      []string{"second", "first"},
	}
	if query.Get("do") == "fragments" {
		// So small that a message leaves in many frames.
		upgrader.WriteBufferSize = 128
	}
	conn, err := upgrader.Upgrade(w, r, http.Header{"Set-Cookie": {"a=1", "b=2"}})
	if err != nil {
		seen.add("no upgrade: %v", err)
		return
	}
	defer conn.Close()
	watch(conn, seen)
	conn.SetReadLimit(9 << 20)
	number, _ := strconv.Atoi(query.Get("number"))
	switch query.Get("do") {
	case "limit":
		conn.SetReadLimit(1000)
	case "ping":
		for n := 0; n < number; n++ {
			conn.WriteControl(websocket.PingMessage, []byte(fmt.Sprint(n)), time.Now().Add(patience))
		}
	case "close":
		conn.WriteControl(websocket.CloseMessage, closing(number, query.Get("reason")), time.Now().Add(patience))
	case "big", "fragments":
		conn.WriteMessage(websocket.BinaryMessage, make([]byte, number))
	case "end":
		return
	case "reset":
		conn.UnderlyingConn().(*net.TCPConn).SetLinger(0)
		return
	case "half":
		// No more from here, and what still comes is read.
		conn.UnderlyingConn().(*net.TCPConn).CloseWrite()
	}
	drain(conn, seen, func(kind int, content []byte) {
		if err := conn.WriteMessage(kind, content); err != nil {
			seen.add("writing: %s", ended(err))
		}
	})
}

// Takes the connection over: its 101 and these bytes leave in one write. Then it ends, is reset, or reads up to the end.
func raw(w http.ResponseWriter, bytes, then string, seen *record) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		seen.add("%v", err)
		return
	}
	defer conn.Close()
	content, _ := hex.DecodeString(bytes)
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	conn.Write(append([]byte(head), content...))
	if then == "reset" {
		conn.(*net.TCPConn).SetLinger(0)
		return
	}
	if then == "end" {
		return
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	total, part := 0, make([]byte, 4096)
	for {
		n, err := conn.Read(part)
		total += n
		if err != nil {
			seen.add("%d bytes, then %s", total, ended(err))
			return
		}
	}
}
