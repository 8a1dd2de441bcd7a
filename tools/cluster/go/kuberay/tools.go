//go:build tools

// Package tools pins the operator that serves RayCluster, with its CRDs.
package tools

import _ "github.com/ray-project/kuberay/ray-operator"
