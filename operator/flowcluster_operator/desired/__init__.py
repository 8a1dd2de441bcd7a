"""Builders of child objects: spec in, whole object out. Pure."""
