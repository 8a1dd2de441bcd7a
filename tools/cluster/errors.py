"""The one exception that a person is meant to read."""

from __future__ import annotations


class ToolError(Exception):
    """Something failed in a way that the reader can act on.

    The message says what happened and what to do next; the command line prints it without a traceback.
    """
