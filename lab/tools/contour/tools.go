//go:build tools

// Package tools pins Contour, the ingress controller that `make up ingress=contour` runs.
package tools

import _ "github.com/projectcontour/contour/cmd/contour"
