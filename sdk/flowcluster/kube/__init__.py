"""Kubernetes as the SDK uses it: which cluster is meant, the FlowRun and its Lease, and ways to a pod's ports."""
