"""The keeper of a SharedCluster: a process of its own in the cluster, ``python -m flowcluster.agent.keeper``.

It reports demand and idleness in the cluster's Lease, has idle workers retire, and releases what runs left there that
are over. It reads there what the operator wants: `flowcluster_api.keeper`.
"""
