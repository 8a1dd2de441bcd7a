"""The providers of a Kubernetes, one file each, with the protocol of `tools.cluster.providers.base`."""
