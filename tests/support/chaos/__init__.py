"""Chaos: lives of runs, disturbed by one fault each, compared with the same life undisturbed.

`python -m tests.support.chaos` (``make chaos``) runs all of it on a rig of its own (`tests.support.rig`).
"""
