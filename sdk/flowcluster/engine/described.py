"""Name, description and version of a task or a flow, for people."""

from __future__ import annotations

import inspect

from flowcluster.engine.run_spec import RunSpec


class Described:
    """The common base of Task and Flow.

    Attributes:
        spec: its function and options.
    """

    spec: RunSpec

    @property
    def name(self) -> str:
        """Name of the task or flow."""
        return self.spec.name

    @property
    def description(self) -> str | None:
        """Description for people: the option, or the function's docstring."""
        return self.spec.description if self.spec.description is not None else inspect.getdoc(self.spec.function)

    @property
    def version(self) -> str | None:
        """The option of that name."""
        return self.spec.version
