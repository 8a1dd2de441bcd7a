"""Seconds between passes that only a timer causes, and no watch event."""

from __future__ import annotations

#: Seconds before the operator creates a refused child again: a quota may have been raised.
RETRY_SECONDS = 5.0
#: Seconds between checks of what no watch reports: Events about children, or how long an upstream operator is silent.
CHECK_SECONDS = 1.5
#: Seconds between checks of a DaskCluster or RayCluster that the run uses but does not own.
REFERENCE_SECONDS = 4.0
#: Minimum seconds before such a pass.
SHORTEST_CHECK_SECONDS = 0.5
#: Seconds for which passes must fail before the operator writes the cause into status.
SHOWN_SECONDS = 3.0
