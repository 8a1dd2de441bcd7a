"""The checks and tests of the project: their parts, and the run of some of them."""
