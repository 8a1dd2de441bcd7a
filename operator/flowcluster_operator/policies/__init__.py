"""Policies, one in each file: pure functions from what was observed to a decision. No I/O, no clock, no kopf."""
