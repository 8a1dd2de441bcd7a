"""A real one-node Kubernetes for Linux and root, where no Docker engine is at hand.

All of it lives in namespaces of its own (process, mount, network, hostname, IPC): when their first
process is killed, the kernel takes away every process, mount, interface and packet rule with it.
"""
