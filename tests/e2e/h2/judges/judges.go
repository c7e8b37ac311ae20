//go:build tools

// Package judges pins what judges our HTTP/2, with everything that it needs; its go.mod and go.sum are the list.
package judges

import _ "github.com/summerwind/h2spec/cmd/h2spec"
