"""The function that rebuilds an object of a script, in pickles that `flowcluster.runners.task_pickles` writes.

Such pickles contain this module's name, and users keep them in files. So the function must stay in this module.
"""

from __future__ import annotations

from pickle import loads  # the original function, before `task_pickles.install`
from typing import Any


def by_value(data: bytes) -> Any:
    """Return an object of a script from a pickle with its code."""
    return loads(data)
