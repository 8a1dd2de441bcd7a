"""A real one-node Kubernetes on Linux, for root, without a Docker engine.

It runs in namespaces of its own (process, mount, network, hostname, IPC). When their first
process is killed, the kernel removes all their processes, mounts, interfaces and packet rules.
"""
