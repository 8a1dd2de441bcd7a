"""A package of flows and what they use."""
