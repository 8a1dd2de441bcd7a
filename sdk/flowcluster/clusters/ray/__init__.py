"""Connect a process to a Ray cluster: as a client with a token, or as a node of the cluster."""
