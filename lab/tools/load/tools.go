//go:build tools

// Package tools pins the load generator of the tests and measurements.
package tools

import _ "github.com/tsenart/vegeta/v12"
