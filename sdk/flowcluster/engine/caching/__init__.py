"""Cached results of tasks, and the cache keys by which runs find them."""
