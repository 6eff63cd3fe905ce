"""What changes the hash of a function, and what does not."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rayorch.code_hash import code_hash

SOURCE = """
import functools
import helper

LIMIT = 10
TABLE = {"a": [1, 2], "b": {"x", "y"}}


class Scorer:
    def score(self, x):
        return x * 2

    @property
    def name(self):
        return "one"


def inner(x):
    return x + LIMIT


@functools.cache
def slow(x):
    return x - 1


def f(table, flag=True):
    if flag:
        return helper.cleaned(inner(table), TABLE)
    return [slow(x) for x in Scorer().score(table)]
"""
HELPER = (
    "def cleaned(table, limit):\n    return table.slice(0, 1)\n\n\ndef unused():\n    return 1\n"
)


def hashed(source: str = SOURCE, helper: str = HELPER, file: str = "/a/user.py") -> str:
    """The hash of `f` in a file with this source."""
    module("helper", helper, "/a/helper.py")
    return code_hash(module("ro_hash_user", source, file).f)


def module(name: str, source: str, file: str) -> Any:
    made = ModuleType(name)
    made.__file__ = file
    sys.modules[name] = made
    exec(compile(source, file, "exec"), made.__dict__)  # noqa: S102 - it is our own source.
    return made


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return x * 2", "return x * 3"),
        ("return x + LIMIT", "return x - LIMIT"),
        ("LIMIT = 10", "LIMIT = 11"),
        ('"x", "y"', '"x", "z"'),
        ("return x - 1", "return x - 2"),
        ('return "one"', 'return "two"'),
        ("flag=True", "flag=False"),
        ("helper.cleaned", "helper.unused"),
    ],
)
def test_an_edit_of_anything_that_it_reaches_changes_the_hash(old: str, new: str) -> None:
    assert hashed(SOURCE.replace(old, new)) != hashed()


def test_an_edit_of_a_helper_in_another_module_changes_the_hash() -> None:
    assert hashed(helper=HELPER.replace("slice(0", "slice(1")) != hashed()


def test_an_edit_of_what_it_does_not_reach_does_not_change_the_hash() -> None:
    assert hashed(helper=HELPER.replace("return 1\n", "return 2\n")) == hashed()


def test_comments_lines_and_moves_do_not_change_the_hash() -> None:
    commented = "# New.\n\n\n" + SOURCE.replace("return x * 2", "return x * 2  # twice")

    assert hashed(commented, file="/b/moved.py") == hashed()


def test_closure_values_count() -> None:
    def made(factor: object) -> Callable[..., object]:
        return lambda table: (table, factor)

    assert code_hash(made(1)) == code_hash(made(1))
    assert code_hash(made(1)) != code_hash(made(2))
    assert code_hash(made(1)) != code_hash(made(True))
    assert code_hash(made("1")) != code_hash(made(1))


@pytest.mark.parametrize(
    ("value", "same", "other"),
    [
        (np.arange(3), np.arange(3), np.arange(4)),
        (pa.table({"a": [1]}), pa.table({"a": [1]}), pa.table({"a": [2]})),
        (pa.schema({"a": pa.int64()}), pa.schema({"a": pa.int64()}), pa.schema({"a": pa.int32()})),
        (pc.field("a") > 1, pc.field("a") > 1, pc.field("a") > 2),
        (functools.partial(int, base=2), functools.partial(int, base=2), functools.partial(int)),
        ({"a": (1, 2)}, {"a": (1, 2)}, {"a": (1, 3)}),
        (("ab", "c"), ("ab", "c"), ("a", "bc")),
        (b"x", b"x", b"y"),
        (Path("/a"), Path("/a"), Path("/b")),
    ],
)
def test_values_count_by_what_they_hold(value: object, same: object, other: object) -> None:
    assert code_hash(value) == code_hash(same)
    assert code_hash(value) != code_hash(other)


def test_functions_that_call_each_other_end() -> None:
    source = "def f(n):\n    return g(n)\n\n\ndef g(n):\n    return f(n - {step})\n"

    one = hashed(source.replace("{step}", "1"))

    assert one == hashed(source.replace("{step}", "1"))
    assert one != hashed(source.replace("{step}", "2"))


def test_a_module_imported_inside_the_function_counts(tmp_path: Path) -> None:
    source = "def f(table):\n    import ro_inner\n    return ro_inner.x\n"
    file = tmp_path / "ro_inner.py"
    sys.path.insert(0, str(tmp_path))
    try:
        file.write_text("x = 1  # one\n")
        first = hashed(source)
        file.write_text("x = 1\n")
        commented = hashed(source)
        file.write_text("x = 2\n")
        edited = hashed(source)
    finally:
        sys.path.remove(str(tmp_path))

    assert first == commented
    assert first != edited
