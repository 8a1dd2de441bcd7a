"""Builders of child objects: each returns a whole object, built from the spec. Pure."""
