"""The next status of a FlowRun or SharedCluster, built from its last one. Pure: the time is an argument.

Only `Draft` writes phases, conditions and the story, so that their rules hold. A phase changes only as `PHASE_MOVES`
allows. A condition keeps its transition time while it keeps its value. The story does not repeat an entry.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from flowcluster_api import conditions as c
from flowcluster_api.v1alpha1.status import MESSAGE_LIMIT, STORY_LIMIT
from flowcluster_operator.errors import IllegalTransition
from flowcluster_operator.model.plan import Emit
from flowcluster_operator.resources import Object
from flowcluster_operator.timestamps import timestamp


class Draft:
    """The status that a pass will write.

    Args:
        run: the FlowRun or SharedCluster, with the status to continue from.
        now: the time of the pass.
        written: the status on the API server; None where it is that of `run`.
        moves: by phase, the phases that can follow it.
        wording: a function that changes each text before it is written.

    Attributes:
        written: the status on the API server.
    """

    def __init__(
        self,
        run: Object,
        now: dt.datetime,
        written: Object | None = None,
        moves: Mapping[str, frozenset[str]] = c.PHASE_MOVES,
        wording: Callable[[str], str] = str,
    ) -> None:
        known: Object = run.get("status") or {}
        self.written = known if written is None else written
        self.now = now
        self._moves, self._wording = moves, wording
        self._generation = run["metadata"].get("generation")
        self.status: dict[str, Any] = _copied(known)
        self.events: list[Emit] = []

    def phase(self, phase: c.Phase | c.SharedPhase) -> None:
        """Move to `phase`.

        Raises:
            IllegalTransition: the run cannot move there from its present phase.
        """
        current = self.status.get("phase") or "Pending"
        if phase != current and phase not in self._moves[current]:
            story = "; ".join(f"{entry['time']} {entry['reason']}" for entry in self.status.get("story") or [])
            raise IllegalTransition(f"{current} cannot become {phase}; the run's story: {story}")
        self.status["phase"] = phase

    def explain(self, reason: str, message: str) -> None:
        """Set reason and message: the one-line cause."""
        self.status["reason"], self.status["message"] = reason, self._short(message)

    def condition(self, kind: str, value: bool, reason: str, message: str = "") -> None:
        """Set one condition."""
        text = "True" if value else "False"
        items = self.status.setdefault("conditions", [])
        known = next((item for item in items if item["type"] == kind), None)
        new = {
            "type": kind,
            "status": text,
            "reason": reason,
            "message": self._short(message),
            "lastTransitionTime": timestamp(self.now),
            "observedGeneration": self._generation,
        }
        if known is None:
            items.append(new)
            return
        if known["status"] == text:
            new["lastTransitionTime"] = known["lastTransitionTime"]
        known.update(new)

    def forget(self, *kinds: str) -> None:
        """Remove conditions that do not apply any more."""
        self.status["conditions"] = [item for item in self.status.get("conditions") or [] if item["type"] not in kinds]

    def add_to_story(
        self, reason: str, message: str, *, warning: bool = False, part: str = "", has_event: bool = True
    ) -> None:
        """Add an entry to the story, and emit it as a Kubernetes Event.

        An entry that repeats the last one is not added. A cause, which has a part, repeats an earlier entry of the same
        part and class if only causes followed that entry, or if the text is the same. It then updates the earlier entry
        and emits no Event, because Kubernetes alternates between several reasons for one cause.

        Args:
            reason: one CamelCase word.
            message: one sentence.
            warning: whether the Event is a warning.
            part: for a cause, the component that it concerns; empty for other entries.
            has_event: whether an Event is emitted.
        """
        story: list[dict[str, Any]] = self.status.setdefault("story", [])
        entry = {"time": timestamp(self.now), "reason": reason, "message": self._short(message)}
        if part:
            entry["part"] = part
        known = _same_cause(story, entry) if part else _repeated(story, entry)
        if known is not None:
            known.update(reason=reason, message=entry["message"])
            return
        story.append(entry)
        del story[:-STORY_LIMIT]
        if has_event:
            self.events.append(Emit("Warning" if warning else "Normal", reason, entry["message"]))

    def announce(self, reason: str, message: str) -> None:
        """Emit one Kubernetes Event for several entries of the story."""
        self.events.append(Emit("Normal", reason, self._short(message)))

    def stamp(self, field: str) -> None:
        """Set a time field, once."""
        self.status.setdefault(field, timestamp(self.now))

    def summarise(self, state: str, reason: str, message: str) -> None:
        """Set the three conditions that kstatus reads: `state` is progressing, ready or failed."""
        self.condition(c.RECONCILING, state == "progressing", reason, message)
        self.condition(c.READY, state == "ready", reason, message)
        self.condition(c.STALLED, state == "failed", reason, message)

    def _short(self, message: str) -> str:
        text = self._wording(message)
        return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"

    def changed(self) -> Object | None:
        """Return the new status; None when it is the one on the API server."""
        if self.status == self.written:
            return None
        if self._generation is not None:
            self.status["observedGeneration"] = self._generation
        return self.status


def _copied(value: Any) -> Any:
    """Copy a JSON value: several times faster than `copy.deepcopy`, and each pass copies a status."""
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _repeated(story: list[dict[str, Any]], entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return the last entry, if it has the same reason and message."""
    last: dict[str, Any] | None = story[-1] if story else None
    return last if last is not None and _text(last) == _text(entry) else None


def _same_cause(story: list[dict[str, Any]], entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return the entry of the same cause; None where there is none."""
    only_causes_since = True
    known: dict[str, Any]
    for known in reversed(story):
        only_causes_since = only_causes_since and "part" in known
        same_text = _text(known) == _text(entry)
        if _cause(known) == _cause(entry) and (only_causes_since or same_text):
            return known
    return None


def _text(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["reason"], entry.get("message") or ""


def _cause(entry: dict[str, Any]) -> tuple[str | None, str]:
    return entry.get("part"), c.cause_class(entry["reason"])
