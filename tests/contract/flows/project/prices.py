"""What the tasks of `price_list` use."""

import threading
from dataclasses import dataclass

TAX = 0.19

lock = threading.Lock()  # a module that cannot be pickled


class PriceError(Exception):
    """There is no price."""


@dataclass
class Item:
    """Something that is sold."""

    name: str
    net: float
    gross: float = 0.0


def with_tax(net: float) -> float:
    """The gross price."""
    with lock:
        return round(net * (1 + TAX), 2)
