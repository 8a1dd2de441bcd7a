"""The function that rebuilds what a script defines, in pickles that `task_pickles` writes.

Such pickles have this module's name in them, and users keep them in files: the function has to stay here.
"""

from __future__ import annotations

from pickle import loads  # the function of before `task_pickles.install`
from typing import Any


def by_value(data: bytes) -> Any:
    """Return what a script defines from a pickle that has its code."""
    return loads(data)
