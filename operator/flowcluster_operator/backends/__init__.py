"""What differs between Dask and Ray clusters, behind the Protocol in `base`."""
