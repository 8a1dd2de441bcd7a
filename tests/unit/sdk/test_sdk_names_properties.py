"""Properties of all names, entrypoints, command-line parameters and packed files."""

from __future__ import annotations

import json
import keyword
import os
import re
import string
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from flowcluster._util import names
from flowcluster._util.words import ADJECTIVES, ANIMALS
from flowcluster.cli import entrypoint, parameters
from flowcluster.cli.startup_error import StartupError
from flowcluster.engine import run_names
from flowcluster.flows import Flow
from flowcluster.project import by_value
from flowcluster.submit import packing

IDENTIFIERS = st.from_regex(r"[a-z_][a-z0-9_]{0,11}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
#: Names of files and folders, on any file system.
FILE_NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and name.strip()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def function_named(name: str, module: str = "somewhere") -> Callable[[], None]:
    """Return a function with that name."""

    def function() -> None:
        pass

    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    return function


class TestNames:
    """Names of runs, flows and tasks."""

    @given(st.binary(min_size=4, max_size=4))
    def test_run_name_is_an_adjective_and_an_animal(self, random: bytes) -> None:
        with mock.patch.object(os, "urandom", return_value=random):
            adjective, animal = names.run_name().split("-")

        assert adjective in ADJECTIVES
        assert animal in ANIMALS

    @given(IDENTIFIERS)
    def test_flow_name_is_the_name_of_the_function_with_dashes(self, name: str) -> None:
        assert names.function_name(function_named(name)) == name
        assert names.flow_name(function_named(name)) == name.replace("_", "-")

    @given(st.text(), FILE_NAMES, FILE_NAMES)
    @example("f", "folder", "file\udce9")
    def test_task_key_is_the_same_for_a_script_and_for_its_module(self, name: str, folder: str, stem: str) -> None:
        main = types.ModuleType("__main__")
        main.__file__ = f"/{folder}/{stem}.py"
        with mock.patch.dict(sys.modules, {"__main__": main}):
            of_script = names.task_key(function_named(name, "__main__"))

        assert of_script == names.task_key(function_named(name, stem))
        assert re.fullmatch("[0-9a-f]{8}", of_script)


LITERALS = st.text(st.characters(codec="utf-8"), max_size=8)


class TestRunNames:
    """Templates of run names."""

    @given(st.lists(st.tuples(LITERALS, IDENTIFIERS), max_size=4), LITERALS)
    def test_template_is_filled_in(self, parts: list[tuple[str, str]], end: str) -> None:
        assume(parts or end)
        escape = str.maketrans({"{": "{{", "}": "}}"})
        template = "".join(f"{text.translate(escape)}{{{name}}}" for text, name in parts) + end.translate(escape)
        values = {name: f"<{name}>" for _, name in parts}

        assert run_names.used_by(template) == set(values)
        assert run_names.render("option", template, values) == "".join(f"{a}<{b}>" for a, b in parts) + end

    @given(st.text("{}[].!:axyr0< ", max_size=12), st.dictionaries(st.sampled_from("axy"), st.integers() | st.text()))
    @example("{x:{y}}", {"x": "1", "y": 5})
    @example("{x:{}}", {"x": "1"})
    def test_template_is_a_name_or_is_refused(self, template: str, values: dict[str, Any]) -> None:
        try:
            fields = list(string.Formatter().parse(template))
        except ValueError:
            assume(False)
        assume(not any(spec and re.search(r"\d{3}", spec) for _, _, spec, _ in fields))  # a wide name takes memory
        used = run_names.used_by(template)
        try:
            name = run_names.render("option", template, values)
        except ValueError as error:
            refused = str(error)
            name = None
        if name is None:
            assert refused.startswith("option ")
        else:
            assert name
            assert used <= set(values)
            assert name == run_names.render("option", template, {key: values[key] for key in used})


class TestParameters:
    """Arguments ``-p name=value``."""

    @given(IDENTIFIERS, JSON)
    def test_json_is_read_as_json(self, name: str, value: Any) -> None:
        text = json.dumps(value)

        assert parameters.parse([f"{name}={text}"]) == {name: parameters.Text(text, value)}
        assert parameters.from_json(json.dumps({name: value}), "X") == {name: value}

    @given(IDENTIFIERS, JSON)
    def test_file_is_read_as_json(self, tmp_path_factory: pytest.TempPathFactory, name: str, value: Any) -> None:
        file = tmp_path_factory.getbasetemp() / "value.json"
        file.write_text(json.dumps(value), encoding="utf-8")

        assert parameters.parse([f"{name}=@{file}"]) == {name: value}

    @given(st.text())
    @example("9" * 5000)
    @example("[" * 100_000)
    def test_text_is_the_value_of_a_parameter_of_type_str(self, text: str) -> None:
        def function(name: str) -> None:
            pass

        assume(not text.startswith("@"))
        (given,) = parameters.parse([f"name={text}"]).values()
        value = parameters.fitted({"name": given}, function)["name"]

        assert value == (given.value if isinstance(given.value, str) else text)

    @given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
    def test_number_is_converted_for_a_parameter_of_a_number_type(self, number: float) -> None:
        def function(name: float) -> None:
            pass

        assert parameters.fitted(parameters.parse([f"name={number!r}"]), function) == {"name": number}

    @given(st.text())
    @example("a=@\0")
    @example("9" * 5000)
    @example("[" * 100_000)
    def test_text_is_parsed_or_is_refused_with_an_error_for_the_user(self, text: str) -> None:
        understood: list[Callable[[], dict[str, Any]]] = [
            lambda: parameters.parse([text]),
            lambda: parameters.from_json(text, "X"),
        ]
        for understand in understood:
            try:
                assert isinstance(understand(), dict)
            except StartupError as problem:
                refused = problem.reason
            else:
                continue
            assert refused == "InvalidParameters"


@contextmanager
def imports_undone() -> Iterator[None]:
    """Undo the changes in this process that loading a flow's file makes."""
    path, modules, scripts = list(sys.path), set(sys.modules), set(by_value.scripts)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if name in by_value.scripts:
                del sys.modules[name]
        by_value.scripts.clear()
        by_value.scripts.update(scripts)


class TestEntrypoints:
    """Entrypoints ``FILE.py:FUNCTION``."""

    @given(FILE_NAMES, FILE_NAMES, IDENTIFIERS)
    @example("Flow Clüster", "a:b.c", "total")
    @example("100%25", "json", "f")
    @example("folder", "file\udce9", "f")
    def test_flow_of_a_file_is_loaded(
        self, tmp_path_factory: pytest.TempPathFactory, folder: str, stem: str, name: str
    ) -> None:
        place = tmp_path_factory.mktemp("entrypoints") / folder
        place.mkdir()
        file = place / f"{stem}.py"
        file.write_text(f"from flowcluster import flow\n@flow\ndef {name}():\n    return __file__\n")
        with imports_undone():
            flow = entrypoint.load(f"{file}:{name}")
            assert isinstance(flow, Flow)
            assert flow() == str(file)
            assert packing.location_of(flow) == packing.location_at(f"{file}:{name}") == (str(file), name, True)

    @given(st.text())
    @example("\0/flow.py:f")
    @example("flow.py:")
    @example(".relative:f")
    @example("a..b:f")
    def test_entrypoint_without_a_flow_is_an_error_for_the_user(self, text: str) -> None:
        with imports_undone(), pytest.raises(StartupError) as caught:
            entrypoint.load(text)

        assert caught.value.reason in ("EntrypointNotFound", "ImportFailed")

    @given(st.text(min_size=1), st.text(st.characters(exclude_characters=":"), min_size=1))
    def test_entrypoint_is_split_at_its_last_colon(self, where: str, name: str) -> None:
        assert packing.location_at(f"{where}:{name}") == (where, name, where.endswith(".py"))


class TestPacking:
    """Packing of the file that contains a flow."""

    @given(st.binary(max_size=100))
    def test_content_is_packed_byte_for_byte(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        file = tmp_path_factory.getbasetemp() / "packed.py"
        file.write_bytes(content)

        assert packing.packed(str(file)) == packing.Code("packed.py", content)

    @given(FILE_NAMES)
    def test_name_that_is_invalid_in_a_config_map_is_refused(
        self, tmp_path_factory: pytest.TempPathFactory, name: str
    ) -> None:
        file = tmp_path_factory.getbasetemp() / name
        file.write_bytes(b"")
        try:
            packed = packing.packed(str(file))
        except ValueError:
            packed = None

        assert (packed is not None) is (re.fullmatch("[-._a-zA-Z0-9]+", name) is not None)

    @given(st.sets(IDENTIFIERS, max_size=3), st.sets(IDENTIFIERS, max_size=3), st.sampled_from(range(4)))
    def test_imported_files_in_the_same_folder_are_packed(
        self, tmp_path_factory: pytest.TempPathFactory, beside: set[str], imported: set[str], form: int
    ) -> None:
        forms = ("import {}", "import {}.part as other", "from {}.part import other", "def f():\n    import {}")
        folder = tmp_path_factory.mktemp("packing")
        for name in beside:
            (folder / f"{name}.py").write_text("")
        file = folder / "own-file.py"
        file.write_text("from . import relative\n" + "".join(f"{forms[form].format(name)}\n" for name in imported))
        needed = beside & imported - sys.stdlib_module_names - {"flowcluster", "flowcluster_api"}

        assert packing.packed(str(file)).modules == {f"{name}.py": b"" for name in needed}
