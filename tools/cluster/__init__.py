"""Bring up a Kubernetes for the project's tests and benchmarks, build its images and load them.

``python -m tools.cluster --help`` is the command line, `tools.cluster.api` the same for Python code.
"""
