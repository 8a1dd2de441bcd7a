"""Functions that the flows call."""

from .units import Amount


def gross(amount: Amount) -> Amount:
    return Amount(round(amount.value * 1.19, 2))
