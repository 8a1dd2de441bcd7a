"""The operator: it creates clusters and Jobs for FlowRuns, and deletes them when the runs end.

Data flows in one direction: `informer` (watches, and the last known state) → `reconcile.observe` → `reconcile.decide`
(pure) → `reconcile.apply`. It flows back only through the API server.
"""
