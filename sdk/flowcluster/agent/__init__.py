"""The driver's agent: a process of its own beside the driver, which keeps the run's cluster for it.

It renews the run's Lease and carries the driver's connections to the cluster. Being another process, it goes on while
a task in the driver holds the interpreter's lock or its event loop stands still, and it outlives a driver that is
killed for as long as it takes to say so.
"""
