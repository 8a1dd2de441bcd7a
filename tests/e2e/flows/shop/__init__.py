"""A package of flows and of the modules that they use."""
