"""Policies, one a file: pure functions from an `Observed` run to a decision. No I/O, no clock, no kopf."""
