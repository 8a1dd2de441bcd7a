"""A class that the modules of the package share."""

from dataclasses import dataclass


@dataclass
class Amount:
    value: float
