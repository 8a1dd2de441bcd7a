"""The keeper of a SharedCluster: a process in a pod of the cluster, ``python -m flowcluster.agent.keeper``.

It reports demand and idleness in the cluster's Lease, retires idle workers, and releases data and tasks of ended runs.
It reads the operator's instructions in the same Lease: `flowcluster_api.keeper`.
"""
