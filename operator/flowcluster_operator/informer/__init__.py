"""The local copy of the objects on the API server: watches and full lists fill it, and it wakes runs."""
