"""What holds for all unit tests."""

from __future__ import annotations

from hypothesis import settings

# Not for all tests: those of the contract also run in a pod, where there is no hypothesis.
settings.register_profile("tests", derandomize=True, deadline=None, database=None, max_examples=50)
#: Of `make quick`, which names it on the command line.
settings.register_profile("quick", settings.get_profile("tests"), max_examples=10)
settings.load_profile("tests")
