"""The checks and tests of the project: which parts there are, and how one run of some of them goes."""
