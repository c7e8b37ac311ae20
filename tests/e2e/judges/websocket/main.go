// A WebSocket server and a client that tries it: straight, and through something between them. What both ends see must
// be the same.
//
//	websocketjudge serve ADDRESS
//	websocketjudge run SERVER CA VIA...
//
// VIA is ws://HOST:PORT or wss://HOST:PORT. One line of JSON for each case and way.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
)

// Cases that run at the same time.
const together = 8

type verdict struct {
	Name   string `json:"name"`
	Via    string `json:"via"`
	Want   string `json:"want"`
	Same   bool   `json:"same"`
	Ok     bool   `json:"ok"`
	Direct string `json:"direct"`
	Saw    string `json:"saw"`
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		fail(serve(os.Args[2]))
	case len(os.Args) > 4 && os.Args[1] == "run":
		run(os.Args[2], os.Args[3], os.Args[4:])
	default:
		fail(fmt.Errorf("usage: serve ADDRESS | run SERVER CA VIA..."))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(server, authority string, ways []string) {
	pem, err := os.ReadFile(authority)
	fail(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	trust := &tls.Config{RootCAs: roots, ServerName: "app.test"}
	var wait sync.WaitGroup
	var out sync.Mutex
	slots := make(chan struct{}, together)
	for number, c := range cases() {
		number, c := number, c
		wait.Add(1)
		slots <- struct{}{}
		go func() {
			defer wait.Done()
			direct := both(c, "ws://"+server, server, fmt.Sprintf("%d-direct", number), trust)
			for at, way := range ways {
				saw := both(c, way, server, fmt.Sprintf("%d-%d", number, at), trust)
				same := saw == direct
				line, err := json.Marshal(verdict{c.name, way[:strings.Index(way, ":")], c.want, same,
					same && strings.Contains(direct, c.want), direct, saw})
				fail(err)
				out.Lock()
				fmt.Println(string(line))
				out.Unlock()
			}
			<-slots
		}()
	}
	wait.Wait()
}

// What client and server see of a case.
func both(c oneCase, base, server, word string, trust *tls.Config) string {
	seen := &record{}
	c.does(&try{base: base, word: word, trust: trust, seen: seen})
	return "client: " + seen.text() + " | server: " + asked(server, word)
}

func asked(server, word string) string {
	answer, err := http.Get("http://" + server + "/seen?word=" + url.QueryEscape(word))
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	content, _ := io.ReadAll(answer.Body)
	return string(content)
}
