"""Tracebacks without the frames of the SDK, and the line of the user's code that they lead to."""

from __future__ import annotations

import functools
import linecache
import os
import re
import traceback
import weakref
from types import TracebackType

from flowcluster._util import guarding
from flowcluster.context import PROCESS
from flowcluster.errors import RemoteTraceback

# Attribute of a built-in exception. Its value names the process, because the exception can be sent to another process,
# which has another log.
_LOGGED = "__flowcluster_logged__"

# By identity: an exception can be unhashable.
_logged: dict[int, weakref.ref[BaseException]] = {}

# The path as code objects have it: not made absolute, and with "..".
_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep

#: Parts of the paths of installed packages; the second one is Debian's.
_PACKAGES = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))


#: A frame without its line of code, which is indented further.
_BARE = re.compile(r'^( *)File "(.+)", line (\d+), in .*\n(?!\1  )', re.MULTILINE)


def is_ours(filename: str) -> bool:
    """Return whether a source file belongs to the SDK."""
    return filename.startswith(_HERE)


def format_trimmed(error: BaseException) -> str:
    """Return the traceback of `error` and its causes, without frames of the SDK and without a final line break.

    If the exception cannot be formatted because its own code raises an error, return only its text.
    """
    try:
        return _formatted(error)
    except Exception:
        return guarding.describe(error)


def _formatted(error: BaseException) -> str:
    if error.__traceback__ is None and (remote := _remote(error)) is not None:
        return remote.text  # it was not raised since it came from a worker
    shown = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = shown
    while part is not None:
        kept = [frame for frame in part.stack if not is_ours(frame.filename)]
        # An error of the SDK itself keeps its frames: it has no others.
        if kept:
            part.stack = traceback.StackSummary.from_list(kept)
        part = part.__cause__ or part.__context__
    return "".join(shown.format()).rstrip("\n")


def _remote(error: BaseException) -> RemoteTraceback | None:
    """Return the worker's traceback of this exception; None if only its cause came from a worker."""
    seen: set[int] = set()
    cause = error.__cause__
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, RemoteTraceback):
            return cause if cause.owner == id(error) else None
        seen.add(id(cause))
        cause = cause.__cause__
    return None


def with_code(text: str) -> str:
    """Return a worker's traceback with the lines of code whose files only this process has, such as a script."""

    def completed(frame: re.Match[str]) -> str:
        indent, file, number = frame.groups()
        linecache.checkcache(file)
        line = linecache.getline(file, int(number)).strip()
        return f"{frame[0]}{indent}  {line}\n" if line else frame[0]

    return _BARE.sub(completed, text)


def first_time(error: BaseException) -> bool:
    """Return whether this is the first call for `error` in this process, so that its traceback is logged only once.

    The exception of a task is often raised again by its flow, and by the flows around that one.
    """
    known = _logged.get(id(error))
    if known is not None and known() is error:
        return False
    try:
        _logged[id(error)] = weakref.ref(error, functools.partial(_forget, id(error)))
        return True
    except TypeError:
        pass  # built-in exceptions allow no weak references, and are marked by an attribute
    try:
        attributes = vars(error)
        known_here = attributes.get(_LOGGED) == PROCESS
        attributes[_LOGGED] = PROCESS
    except Exception:
        return True
    return not known_here


def _forget(identity: int, reference: weakref.ref[BaseException]) -> None:
    if _logged.get(identity) is reference:
        del _logged[identity]


def location(error: BaseException) -> str | None:
    """Return the innermost line of the user's code: ``greetings.py:12 in say_hello``; None if there is none.

    Lines of the SDK and of installed packages do not count. For an exception from a worker, it is the line there.
    """
    try:
        return _location(error)
    except Exception:
        return None  # the exception's own code raises


def _location(error: BaseException) -> str | None:
    if (remote := _remote(error)) is not None:
        return remote.location
    found = None
    frame: TracebackType | None = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        if is_of_project(code.co_filename):
            found = f"{os.path.basename(code.co_filename)}:{frame.tb_lineno} in {code.co_name}"
        frame = frame.tb_next
    return found


def is_of_project(filename: str) -> bool:
    """Return whether a source file belongs neither to the SDK nor to an installed package."""
    return bool(filename) and not is_ours(filename) and not _is_installed(filename)


def _is_installed(filename: str) -> bool:
    library = os.path.dirname(os.__file__) + os.sep
    return filename.startswith(("<frozen", library)) or any(folder in filename for folder in _PACKAGES)
