"""The operator: turns FlowRuns into clusters and Jobs, and takes them away again.

The way of the data: `handlers` (kopf events) → `store` (what was seen last) → `reconcile.observe` →
`reconcile.decide` (pure) → `reconcile.apply`. Nothing flows back but through the API server.
"""
