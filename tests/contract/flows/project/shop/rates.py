"""A module that only a task's function imports."""

import prices


def tax() -> float:
    """The tax of the other module."""
    return float(prices.TAX)
