"""What scripts of tests import, and what their code finds by its name in every process."""

from __future__ import annotations

from contextvars import ContextVar

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


class WithTopic:
    """A class whose subclasses have to be defined with a topic."""

    topic: str

    def __init_subclass__(cls, /, topic: str) -> None:
        super().__init_subclass__()
        cls.topic = topic
