"""Parameters: from the command line, and converted to the types of a function."""

from __future__ import annotations

import enum
import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
import pytest

from flowcluster.cli import parameters as assignments
from flowcluster.cli.startup_error import StartupError
from flowcluster.engine import parameters, run_names
from flowcluster.errors import ParameterError

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers


class Size(enum.Enum):
    SMALL = "small"


class Model(pydantic.BaseModel):
    number: int


class Plain:
    pass


def bound(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return parameters.bind("demo", function, args, kwargs).arguments


def test_value_is_parsed_as_json_when_it_is_json() -> None:
    """Numbers, lists and objects are parsed. Any other value is a text."""
    given = ["a=1", "b=[1, 2]", "c=hello", 'd="1"', "e=", "f=x=y", "g=null"]

    def function(**anything: Any) -> None:
        pass

    assert assignments.fitted(assignments.parse(given), function) == {
        "a": 1,
        "b": [1, 2],
        "c": "hello",
        "d": "1",
        "e": "",
        "f": "x=y",
        "g": None,
    }


def test_value_is_read_from_a_file(tmp_path: Path) -> None:
    """The value of `key=@file.json` is the file's JSON."""
    file = tmp_path / "names.json"
    file.write_text('["a", "b"]')

    assert assignments.parse([f"names=@{file}"]) == {"names": ["a", "b"]}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("names", "write -p name=value"),
        ("two words=1", "write -p name=value"),
        ("names=@/no/such.json", "Parameter 'names': /no/such.json: No such file or directory"),
    ],
)
def test_invalid_assignment_is_refused(given: str, text: str) -> None:
    """The error reports a text that is not an assignment, or a file that cannot be read."""
    with pytest.raises(StartupError, match=text) as caught:
        assignments.parse([given])
    assert caught.value.reason == "InvalidParameters"


def test_invalid_json_file_is_refused_by_name(tmp_path: Path) -> None:
    """The error has the name of the file and the place."""
    file = tmp_path / "broken.json"
    file.write_text("{")

    with pytest.raises(StartupError, match=r"Parameter 'x': .*broken\.json is not JSON: .*line 1"):
        assignments.parse([f"x=@{file}"])


@pytest.mark.parametrize(("text", "problem"), [("{", "X is not JSON"), ("[1]", "X must be a JSON object")])
def test_parameters_from_outside_must_be_an_object(text: str, problem: str) -> None:
    """One JSON object contains all parameters."""
    with pytest.raises(StartupError, match=problem):
        assignments.from_json(text, "X")


def test_annotated_parameters_are_converted() -> None:
    """Pydantic converts models, enums, constraints and unions."""

    def function(
        model: Model, size: Size, limit: Annotated[int, pydantic.Field(gt=0)], maybe: int | None = None
    ) -> None:
        pass

    values = bound(function, {"number": "3"}, "small", "5", maybe="7")

    assert values == {"model": Model(number=3), "size": Size.SMALL, "limit": 5, "maybe": 7}
    with pytest.raises(ParameterError, match=r"parameter 'limit': Input should be greater than 0, not 0\."):
        bound(function, Model(number=1), Size.SMALL, 0)
    with pytest.raises(ParameterError, match=r"parameter 'model'\['number'\]"):
        bound(function, {"number": "x"}, "small", 1)


def test_plain_classes_are_checked_by_instance() -> None:
    """The SDK checks a class that pydantic does not know with `isinstance`."""

    def function(plain: Plain) -> None:
        pass

    plain = Plain()

    assert bound(function, plain)["plain"] is plain
    with pytest.raises(ParameterError, match="instance of Plain"):
        bound(function, 1)


def test_variable_arguments_are_converted_one_by_one() -> None:
    """The SDK converts each of `*args` and `**kwargs`. An error has the key of its argument."""

    def function(*numbers: int, **named: float) -> None:
        pass

    assert bound(function, "1", 2, x="0.5") == {"numbers": (1, 2), "named": {"x": 0.5}}
    with pytest.raises(ParameterError, match="parameter 'y'"):
        bound(function, y="far")


def test_parameter_is_not_checked_when_its_annotation_exists_only_for_type_checkers() -> None:
    """The SDK still checks the other parameters."""

    def function(price: OnlyForCheckers, number: int) -> None:
        pass

    assert bound(function, "as it is", "5") == {"price": "as it is", "number": 5}


def test_superfluous_arguments_are_refused() -> None:
    """There are more arguments than parameters, or one argument is given twice."""

    def function(one: int) -> None:
        pass

    with pytest.raises(ParameterError, match="Flow 'demo': too many positional arguments; it takes: one"):
        bound(function, 1, 2)
    with pytest.raises(ParameterError, match="multiple values for argument 'one'"):
        bound(function, 1, one=2)


def test_defaults_are_not_converted() -> None:
    """The author of the flow chooses the type of a default."""

    def function(items: list[int] = ()) -> None:  # type: ignore[assignment]
        pass

    assert bound(function) == {}


def test_simple_parameters_need_no_pydantic() -> None:
    """The SDK does not import pydantic, which is slow, for values that have the annotated type already."""
    program = (
        "import sys\n"
        "from flowcluster.engine.parameters import bind\n"
        "def f(a: int, b: str, c, d: float = 0.5): pass\n"
        "bind('f', f, (1, 'x', object()), {})\n"
        "print('pydantic' in sys.modules)\n"
    )

    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"


def test_functions_that_were_made_for_one_call_are_freed() -> None:
    def made(value: Any) -> Any:
        def function(number: int) -> Any:
            return value, number

        return function

    function = made([])
    released = weakref.ref(function)
    parameters.bind("demo", function, ("1",), {})
    parameters.by_name(function, (1,), {})
    run_names.used_by(function)
    del function
    gc.collect()

    assert released() is None
