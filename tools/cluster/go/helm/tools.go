//go:build tools

// Package tools pins the helm client that installs the chart.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
