//go:build tools

package main

// The generator and the server of grpc-go's own benchmark, pinned with everything that they need; go.mod and go.sum are the
// list.
import (
	_ "google.golang.org/grpc/benchmark/client"
	_ "google.golang.org/grpc/benchmark/server"
)
