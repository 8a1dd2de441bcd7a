"""The exception with a message for the user."""

from __future__ import annotations


class ToolError(Exception):
    """A failure that the user can act on.

    The message has what happened and what to do. The command line prints it without a traceback.
    """
