"""Timestamps of Kubernetes. Pure."""

from __future__ import annotations

import datetime as dt


def parse_time(text: str) -> dt.datetime:
    """Return a Kubernetes timestamp as an aware datetime."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


def timestamp(now: dt.datetime) -> str:
    """Return a time as Kubernetes writes it: in whole seconds, in UTC."""
    return now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
