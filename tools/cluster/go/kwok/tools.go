//go:build tools

// Package tools pins the controller that plays the kubelets of nodes on which nothing runs.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
