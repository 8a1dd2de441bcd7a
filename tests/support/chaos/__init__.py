"""Chaos: lives of runs with one fault each, compared with the same life without a fault.

`python -m tests.support.chaos` (``make chaos``) runs all of it on a rig of its own (`tests.support.rig`).
"""
