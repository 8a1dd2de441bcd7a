"""Clients for Kubernetes: choice of the cluster, FlowRuns and Leases, and port-forwards."""
