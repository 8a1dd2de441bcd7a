"""What differs between kinds of clusters, behind the Protocol in `base`."""
