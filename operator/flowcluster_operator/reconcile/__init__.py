"""Observe, decide, apply: one pass over one run, and the queue that asks for it."""
