"""Seconds between passes that no watch event causes."""

from __future__ import annotations

#: Before a refused child is created again: a quota may have been raised.
RETRY_SECONDS = 5.0
#: Between checks of what no watch reports: Events about children, the age of a silent cluster resource.
CHECK_SECONDS = 1.5
#: Between checks of a cluster that the run uses and does not own.
REFERENCE_SECONDS = 4.0
#: The shortest time between two checks that only a clock causes.
SHORTEST_CHECK_SECONDS = 0.5
#: For which passes fail before status shows why.
SHOWN_SECONDS = 3.0
