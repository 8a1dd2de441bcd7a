"""Kubernetes quantities, such as ``500m`` and ``1.5Gi``, as exact numbers."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_QUANTITY = re.compile(rf"({_NUMBER})(?:[eE]([+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")
_POWERS_OF_TEN = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_POWERS_OF_TWO = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_FACTORS = {suffix: Fraction(10) ** power for suffix, power in _POWERS_OF_TEN.items()}
_FACTORS |= {suffix: Fraction(2) ** power for suffix, power in _POWERS_OF_TWO.items()}
#: The largest quantity. Kubernetes replaces a larger one by it.
LARGEST = 2**63 - 1


def exact(quantity: str | int) -> Fraction:
    """Return a quantity as an exact number.

    Args:
        quantity: as in a manifest.

    Raises:
        ValueError: the text is not a quantity.
    """
    text = str(quantity)
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    number, exponent, suffix = match.groups()
    value = Fraction(number) * _FACTORS[suffix or ""]
    if exponent:
        # An exponent beyond the number's digits plus forty puts the value past `LARGEST` or next to zero.
        most = len(text) + 40
        value *= Fraction(10) ** max(min(int(exponent), most), -most)
    return max(min(value, Fraction(LARGEST)), Fraction(-LARGEST))


def whole(quantity: str | int) -> int:
    """Return a quantity as a whole number, rounded up as Kubernetes does. Raises ValueError as `exact` does."""
    return math.ceil(exact(quantity))
