"""The ways to a Kubernetes, one file each, behind the small protocol of :mod:`tools.cluster.providers.base`."""
