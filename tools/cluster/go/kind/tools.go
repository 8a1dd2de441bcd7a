//go:build tools

// Package tools pins kind, which runs the cluster where a Docker engine answers.
package tools

import _ "sigs.k8s.io/kind"
