//go:build tools

// Package tools pins the Pulumi CLI the lab builds where no fitting `pulumi` is on PATH.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
