//go:build tools

// Package tools pins kubeadm, in the version of the other programs of Kubernetes.
package tools

import _ "k8s.io/kubernetes/cmd/kubeadm"
