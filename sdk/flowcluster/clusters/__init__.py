"""Clusters: how a runner gets one for the time of a flow run, or finds one that exists."""
