//go:build tools

package main

// The judge, pinned with everything that it needs; go.mod and go.sum are the list.
import _ "google.golang.org/grpc/interop/client"
