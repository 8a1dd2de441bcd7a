"""Exceptions that raise errors in the code that handles them, as the code of users can raise them."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import threading
import types
from collections.abc import Callable
from typing import Any


class TextRaises(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class TextExits(Exception):
    def __str__(self) -> str:
        sys.exit("no text")


class TextIsNoText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class ReduceRaises(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("not to be pickled")


class ReduceExits(Exception):
    def __reduce__(self) -> Any:
        sys.exit(4)


class ReduceIsWrong(Exception):
    def __reduce__(self) -> Any:
        return int, ("7",)


class NewNeedsArguments(Exception):
    def __new__(cls, code: str, text: str) -> NewNeedsArguments:
        return super().__new__(cls, text)

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class InitNeedsKeyword(Exception):
    def __init__(self, *, status: int) -> None:
        super().__init__(f"answered {status}")
        self.status = status


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Unhashable(Exception):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


class TakesNoAttributes(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class HoldsALock(Exception):
    def __init__(self) -> None:
        super().__init__("held")
        self.lock = threading.Lock()


class FailsToLoad(Exception):
    def __setstate__(self, state: Any) -> None:
        sys.exit("not to be read")


class Base(BaseException):
    pass


class CodeWithoutText:
    def __repr__(self) -> str:
        raise ValueError("no text")


class Falsy(Exception):
    def __bool__(self) -> bool:
        raise ValueError("neither")

    def __len__(self) -> int:
        raise ValueError("no length")


def caused_by_itself() -> Exception:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


def long_chain() -> Exception:
    error = ValueError("innermost")
    for number in range(2000):
        outer = ValueError(str(number))
        outer.__context__ = error
        error = outer
    return error


def deep_group() -> Exception:
    error: Exception = TextRaises("innermost")
    for _ in range(50):
        error = ExceptionGroup("more", [error])
    return error


def of_unknown_module() -> Exception:
    """Return an exception whose class only this process can import."""
    module = types.ModuleType("known_here_only")
    exec("class KnownHereOnly(Exception):\n    pass\n", vars(module))
    sys.modules[module.__name__] = module
    error: Exception = module.KnownHereOnly("known here")
    return error


def of_local_class() -> Exception:
    class Local(Exception):
        def __init__(self, table: str, row: int) -> None:
            super().__init__(f"{table}: {row}")

    return Local("orders", 7)


def lazy() -> Exception:
    """Return an exception whose pickle needs a class that is absent when it is read."""
    error = of_unknown_module()
    vars(error)["__notes__"] = [TextRaises()]
    return error


#: Each exception, with the name of its type first. `state_of` has how a handler treats it.
ORDINARY: dict[str, Callable[[], BaseException]] = {
    "TextRaises": lambda: TextRaises("x"),
    "TextExits": lambda: TextExits("x"),
    "TextIsNoText": lambda: TextIsNoText("x"),
    "ReduceRaises": lambda: ReduceRaises("x"),
    "ReduceExits": lambda: ReduceExits("x"),
    "ReduceIsWrong": lambda: ReduceIsWrong("x"),
    "NewNeedsArguments": lambda: NewNeedsArguments("E42", "torn"),
    "InitNeedsKeyword": lambda: InitNeedsKeyword(status=502),
    "Frozen": lambda: Frozen(3),
    "Unhashable": lambda: Unhashable("x"),
    "TakesNoAttributes": lambda: TakesNoAttributes("x"),
    "Slotted": lambda: Slotted(8),
    "HoldsALock": HoldsALock,
    "FailsToLoad": lambda: FailsToLoad("x"),
    "Falsy": lambda: Falsy("x"),
    "ValueError cycle": caused_by_itself,
    "ValueError chain": long_chain,
    "ExceptionGroup": deep_group,
    "KnownHereOnly": of_unknown_module,
    "KnownHereOnly notes": lazy,
    "Local": of_local_class,
    "StopIteration": lambda: StopIteration("x"),
    "StopAsyncIteration": lambda: StopAsyncIteration("x"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "broken"),
    "FileNotFoundError": lambda: FileNotFoundError(2, "No such file", "data.csv"),
}

#: Those that are not an `Exception`.
OTHERS: dict[str, Callable[[], BaseException]] = {
    "Base": lambda: Base("x"),
    "SystemExit": lambda: SystemExit(CodeWithoutText()),
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
}


def make(name: str) -> BaseException:
    return {**ORDINARY, **OTHERS}[name]()
