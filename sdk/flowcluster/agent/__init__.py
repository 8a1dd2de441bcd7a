"""The driver's agent: a process beside the driver that keeps the run's cluster.

The agent renews the run's Lease and forwards the driver's connections to the cluster. It is a separate process, so it
continues while a task in the driver holds the interpreter's lock or blocks the event loop. When the driver is killed,
the agent ends the lease.
"""
