"""The local copy of the API server's objects. Watches and full lists fill it, and its changes wake runs."""
