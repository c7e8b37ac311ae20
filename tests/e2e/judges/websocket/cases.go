package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// Every case: its name, words that what is seen must hold (straight, so that nothing is compared that never was), and
// what is done.
func cases() []oneCase {
	all := honest()
	all = append(all, controls()...)
	all = append(all, ends()...)
	all = append(all, broken()...)
	all = append(all, servers()...)
	return append(all, heads()...)
}

func honest() (all []oneCase) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20, 4 << 20} {
		content := bytes.Repeat([]byte("a"), size)
		all = append(all,
			oneCase{fmt.Sprintf("text of %d bytes", size), "message 1", exchanges(frame(fin|text, true, content))},
			oneCase{fmt.Sprintf("binary of %d bytes", size), "message 2", exchanges(frame(fin|bin, true, content))})
	}
	one := frame(fin|text, true, []byte("a message in single bytes"))
	var single, hundred [][]byte
	for at := range one {
		single = append(single, one[at:at+1])
	}
	hundred = append(hundred, frame(bin, true, []byte("0")))
	for n := 1; n < 99; n++ {
		hundred = append(hundred, frame(more, true, []byte{byte('0' + n%10)}))
	}
	hundred = append(hundred, frame(fin|more, true, []byte("end")))
	snow := []byte("κόσμε ☃ 𝄞")
	many := bytes.Repeat(frame(fin|text, true, []byte("one of a thousand")), 1000)
	return append(all,
		oneCase{"a message of two fragments", "\"first second\"",
			exchanges(frame(text, true, []byte("first ")), frame(fin|more, true, []byte("second")))},
		oneCase{"a message of a hundred fragments", "message 2", exchanges(hundred...)},
		oneCase{"empty fragments around a message", "\"x\"", exchanges(frame(text, true, nil), frame(more, true, nil),
			frame(more, true, []byte("x")), frame(fin|more, true, nil))},
		oneCase{"a ping in the middle of fragments", "pong \"now\"", exchanges(frame(text, true, []byte("a")),
			frame(fin|ping, true, []byte("now")), frame(fin|more, true, []byte("b")))},
		oneCase{"a frame in single bytes", "\"a message in single bytes\"", exchanges(single...)},
		oneCase{"a thousand messages in one write", "\"one of a thousand\"", exchanges(many)},
		oneCase{"letters of several bytes", "message 1", exchanges(frame(fin|text, true, snow))},
		oneCase{"a letter cut between two frames", "message 1",
			exchanges(frame(text, true, snow[:3]), frame(fin|more, true, snow[3:]))},
		oneCase{"every letter cut", "message 1", exchanges(frame(text, true, snow[:1]), frame(more, true, snow[1:4]),
			frame(more, true, snow[4:12]), frame(fin|more, true, snow[12:]))},
		oneCase{"text that is no UTF-8", "message 1", exchanges(frame(fin|text, true, []byte{0xce, 0xba, 0xff, 0xed, 0xa0, 0x80}))},
		oneCase{"16 MiB both ways at once", "64 came back", streams("do=echo", 64, make([]byte, 256<<10), nil)},
		oneCase{"3,000 messages both ways at once", "3000 came back", streams("do=echo", 3000, []byte("hello"), nil)})
}

func controls() (all []oneCase) {
	var pings [][]byte
	for n := 0; n < 100; n++ {
		pings = append(pings, frame(fin|ping, true, []byte(fmt.Sprint(n))))
	}
	return []oneCase{
		{"an empty ping", "pong \"\"", exchanges(frame(fin|ping, true, nil))},
		{"a ping of 125 bytes", "pong", exchanges(frame(fin|ping, true, make([]byte, 125)))},
		{"a ping of 126 bytes", "close 1002", sends("do=echo", frame(fin|ping, true, make([]byte, 126)))},
		{"a ping in fragments", "close 1002", sends("do=echo", frame(ping, true, []byte("a")), frame(fin|more, true, []byte("b")))},
		{"a hundred pings", "pong \"99\"", exchanges(pings...)},
		{"a pong that nobody asked for", "server: GET", exchanges(frame(fin|pong, true, []byte("x")))},
		{"pings of the server", "ping \"9\"", func(t *try) {
			if conn := t.open("do=ping&number=10", nil, nil); conn != nil {
				defer conn.Close()
				conn.WriteMessage(websocket.TextMessage, []byte("after"))
				drain(conn, t.seen, func(int, []byte) {
					conn.WriteControl(websocket.CloseMessage, closing(1000, ""), time.Now().Add(patience))
				})
			}
		}},
	}
}

func ends() (all []oneCase) {
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999} {
		all = append(all,
			oneCase{fmt.Sprintf("the client closes with %d", code), fmt.Sprintf("client: open protocol \"\" extensions \"\" cookies [\"a=1\" \"b=2\"]; close %d", code),
				sends("do=echo", frame(fin|closes, true, closing(code, "because")))},
			oneCase{fmt.Sprintf("the server closes with %d", code), fmt.Sprintf("close %d \"because\"", code),
				sends(fmt.Sprintf("do=close&reason=because&number=%d", code))})
	}
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65535} {
		all = append(all, oneCase{fmt.Sprintf("the client closes with %d, which there is not", code), "close",
			sends("do=echo", frame(fin|closes, true, closing(code, "")))})
	}
	say := func(t *try) *websocket.Conn {
		conn := t.open("do=echo", nil, nil)
		if conn != nil {
			conn.WriteMessage(websocket.TextMessage, []byte("last words"))
			_, content, err := conn.ReadMessage()
			t.seen.add("%s %v", short(content), err)
		}
		return conn
	}
	long := strings.Repeat("r", 123)
	return append(all,
		oneCase{"a close without content", "close 1005", sends("do=echo", frame(fin|closes, true, nil))},
		oneCase{"a close of one byte", "close 1005", sends("do=echo", frame(fin|closes, true, []byte{3}))},
		oneCase{"a close with the longest reason", long, sends("do=echo", frame(fin|closes, true, closing(1000, long)))},
		oneCase{"a close whose reason is no UTF-8", "close", sends("do=echo", frame(fin|closes, true, closing(1000, "\xff\xfe")))},
		oneCase{"a close in the middle of fragments", "close 1000",
			sends("do=echo", frame(text, true, []byte("a")), frame(fin|closes, true, closing(1000, "")))},
		oneCase{"a message and its close in one write", "message 1", sends("do=echo",
			append(frame(fin|text, true, []byte("x")), frame(fin|closes, true, closing(1000, ""))...))},
		oneCase{"the client ends without a word", "server: GET", func(t *try) {
			if conn := say(t); conn != nil {
				conn.Close()
			}
		}},
		oneCase{"the client resets", "server: GET", func(t *try) {
			if conn := say(t); conn != nil {
				under := conn.UnderlyingConn()
				if secured, is := under.(interface{ NetConn() net.Conn }); is {
					under = secured.NetConn()
				}
				under.(*net.TCPConn).SetLinger(0)
				under.Close()
			}
		}},
		oneCase{"the client ends its side only", "message 1", func(t *try) {
			if conn := say(t); conn != nil {
				defer conn.Close()
				conn.WriteMessage(websocket.TextMessage, []byte("and these"))
				conn.UnderlyingConn().(interface{ CloseWrite() error }).CloseWrite()
				drain(conn, t.seen, nil)
			}
		}},
		oneCase{"the server ends without a word", "an end without a word", sends("do=end")},
		oneCase{"the server resets", "client: open", sends("do=reset")},
		oneCase{"the server ends its side only", "message 1", func(t *try) {
			if conn := t.open("do=half", nil, nil); conn != nil {
				defer conn.Close()
				conn.UnderlyingConn().Write(frame(fin|text, true, []byte("still there?")))
				drain(conn, t.seen, nil)
				conn.UnderlyingConn().Write(frame(fin|closes, true, closing(1000, "")))
			}
		}})
}

func broken() []oneCase {
	word := []byte("word")
	huge := []byte{fin | bin, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}
	vast := []byte{fin | bin, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}
	wide := append([]byte{fin | text, 0x80 | 126, 0, 4, 0, 0, 0, 0}, word...)
	wider := append([]byte{fin | text, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0}, word...)
	return []oneCase{
		{"a frame of a client that is not masked", "close 1002", sends("do=echo", frame(fin|text, false, word))},
		{"the first reserved bit", "close 1002", sends("do=echo", frame(fin|0x40|text, true, word))},
		{"the second reserved bit", "close 1002", sends("do=echo", frame(fin|0x20|text, true, word))},
		{"the third reserved bit", "close 1002", sends("do=echo", frame(fin|0x10|text, true, word))},
		{"a kind of data that there is not", "close 1002", sends("do=echo", frame(fin|3, true, word))},
		{"a kind of control that there is not", "close 1002", sends("do=echo", frame(fin|0xb, true, word))},
		{"a fragment without a beginning", "close 1002", sends("do=echo", frame(fin|more, true, word))},
		{"a message in the middle of another", "close 1002", sends("do=echo", frame(text, true, word), frame(fin|text, true, word))},
		{"a length beyond all numbers", "client: open", sends("do=echo", huge)},
		{"a length beyond all memory", "close 1009", sends("do=echo", vast)},
		{"a length in more bytes than it needs", "word", exchanges(wide)},
		{"a length in eight bytes", "word", exchanges(wider)},
		{"a message beyond the limit of the server", "close 1009", sends("do=limit", frame(fin|bin, true, make([]byte, 2000)))},
		{"fragments beyond the limit of the server", "close 1009", sends("do=limit", frame(bin, true, make([]byte, 900)), frame(fin|more, true, make([]byte, 900)))},
		{"a frame that ends in its header", "server: GET", func(t *try) {
			if conn := t.open("do=echo", nil, nil); conn != nil {
				conn.UnderlyingConn().Write(frame(fin|text, true, word)[:3])
				conn.Close()
			}
		}},
		{"a frame that ends in its content", "server: GET", func(t *try) {
			if conn := t.open("do=echo", nil, nil); conn != nil {
				conn.UnderlyingConn().Write(frame(fin|text, true, word)[:7])
				conn.Close()
			}
		}},
		{"bytes that are no frames", "close 1002", sends("do=echo", []byte("GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"))},
	}
}

func servers() []oneCase {
	word := []byte("word")
	deflate := func(d *websocket.Dialer) { d.EnableCompression = true }
	return []oneCase{
		{"a message with the 101", "\"\\x81\\x04word\"", hears("end", frame(fin|text, false, word))},
		{"two hundred messages with the 101", "1200 bytes", hears("end", bytes.Repeat(frame(fin|text, false, word), 200))},
		{"a message with the 101 of a server that reads on", "word", hears("read", frame(fin|text, false, word))},
		{"a masked frame of a server", "101", hears("end", frame(fin|text, true, word))},
		{"a reserved bit of a server", "101", hears("end", frame(fin|0x10|text, false, word))},
		{"a kind of frame that there is not of a server", "101", hears("end", frame(fin|0xf, false, word))},
		{"half a frame of a server", "101", hears("end", frame(fin|text, false, word)[:4])},
		{"another answer behind the 101", "101", hears("end", []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))},
		{"a mebibyte of the server", "1048576", sendsAndCloses("do=big&number=1048576")},
		{"eight mebibytes of the server", "8388608", sendsAndCloses("do=big&number=8388608")},
		{"a mebibyte of the server in 10,000 fragments", "1048576", sendsAndCloses("do=fragments&number=1048576")},
		{"compressed messages", "permessage-deflate", streams("do=echo&deflate=1", 20, []byte(strings.Repeat("again ", 100)), deflate)},
		{"a compressed mebibyte", "permessage-deflate", streams("do=echo&deflate=1", 2, make([]byte, 1<<20), deflate)},
		{"compression that the server does not want", "extensions \"\"", streams("do=echo", 2, word, deflate)},
		{"compression that the client does not want", "extensions \"\"", streams("do=echo&deflate=1", 2, word, nil)},
	}
}

func sendsAndCloses(query string) func(t *try) {
	return sends(query, frame(fin|closes, true, closing(1000, "")))
}

func heads() []oneCase {
	offers := func(protocols ...string) func(t *try) {
		return streams("do=echo", 1, []byte("x"), func(d *websocket.Dialer) { d.Subprotocols = protocols })
	}
	without := func(fields string) string {
		return strings.Replace(head("GET", "WORD", ""), fields, "", 1)
	}
	return []oneCase{
		{"one protocol", "open protocol \"first\"", offers("first")},
		{"two protocols", "open protocol \"second\"", offers("first", "second")},
		{"a protocol that nobody knows", "open protocol \"\"", offers("third")},
		{"origin, cookies and a query", "origin \"https://app.test\"", func(t *try) {
			fields := http.Header{"Origin": {"https://app.test"}, "Cookie": {"c=3; d=4"}}
			if conn := t.open("note=a%20b%2Fc&do=end", fields, nil); conn != nil {
				defer conn.Close()
				drain(conn, t.seen, nil)
			}
		}},
		{"an upgrade that the server refuses", "refused with 403 \"not today\\n\"", func(t *try) { t.open("do=refuse", nil, nil) }},
		{"an upgrade with a key", "101", plainly(head("GET", "WORD&do=end", ""))},
		{"an upgrade without a key", "400", plainly(without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"))},
		{"an upgrade without a version", "400", plainly(without("Sec-WebSocket-Version: 13\r\n"))},
		{"an upgrade of another version", "400 version \"13\"", plainly(strings.Replace(head("GET", "WORD", ""), ": 13", ": 8", 1))},
		{"an upgrade without the word in Connection", "400", plainly(without("Connection: Upgrade\r\n"))},
		{"an upgrade with 4,000 bytes of cookies", "101", plainly(head("GET", "WORD&do=end", "Cookie: a="+strings.Repeat("b", 4000)+"\r\n"))},
	}
}
