"""Rules, one a file: pure functions from an `Observed` run to a verdict. No I/O, no clock, no kopf."""
