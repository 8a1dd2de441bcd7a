"""Decisions on shared clusters: one policy a file. What a run decides alike is in the folder above."""
