"""Flows that import from the package above theirs."""
