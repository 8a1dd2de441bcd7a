"""A module that `of_two_files` imports."""

from dataclasses import dataclass

TAX = 0.19


@dataclass
class Item:
    name: str
    net: float
    gross: float = 0.0


def with_tax(net: float) -> float:
    return round(net * (1 + TAX), 2)
