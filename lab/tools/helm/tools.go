//go:build tools

// Package tools pins Helm, which bench/ compares with; nothing else needs it.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
