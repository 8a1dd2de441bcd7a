"""The driver's agent: a process beside the driver that keeps the run's cluster.

It renews the run's Lease and forwards the driver's connections to the cluster. It is a process of its own, so it
continues while a task in the driver holds the interpreter's lock or blocks the event loop. When the driver is killed,
the agent ends the lease.
"""
