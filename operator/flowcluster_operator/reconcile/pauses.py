"""Seconds between passes that no watch event causes."""

from __future__ import annotations

#: After which a refused child is tried again: a quota may have been raised.
RETRY_SECONDS = 5.0
#: Between looks at what no watch reports: Events about children, the age of a silent cluster resource.
LOOK_SECONDS = 1.5
#: Between looks at a cluster that the run uses and does not own.
REFERENCE_SECONDS = 4.0
#: The shortest time between two looks that only a clock causes.
SHORTEST_LOOK_SECONDS = 0.5
#: For which passes fail before status shows why.
SHOWN_SECONDS = 3.0
