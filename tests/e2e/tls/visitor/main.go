// Asks a service over one TLS connection after another, each of which goes on with the session of the one before, and
// prints for each whether it did and which server answered. Arguments: address, file of authorities, version, how often.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	authorities, err := os.ReadFile(os.Args[2])
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authorities)
	version := uint16(tls.VersionTLS13)
	if os.Args[3] == "1.2" {
		version = tls.VersionTLS12
	}
	count, err := strconv.Atoi(os.Args[4])
	check(err)
	config := &tls.Config{
		RootCAs: roots, ServerName: "app.test", MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	for n := 0; n < count; n++ {
		connection, err := tls.Dial("tcp", os.Args[1], config)
		check(err)
		_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
		check(err)
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		check(err)
		_, err = io.Copy(io.Discard, answer.Body)
		check(err)
		how := "new"
		if connection.ConnectionState().DidResume {
			how = "resumed"
		}
		fmt.Println(how, answer.Header.Get("X-Demo-Server"))
		check(connection.Close())
	}
}
