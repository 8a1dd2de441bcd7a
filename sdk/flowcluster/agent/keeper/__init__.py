"""The keeper of a SharedCluster: a process in a pod of the cluster, ``python -m flowcluster.agent.keeper``.

It reports demand and idleness in the cluster's Lease, and releases data and tasks of ended runs. On a Dask cluster, it
also retires idle workers. It reads the operator's instructions in the same Lease: `flowcluster_api.keeper`.
"""
