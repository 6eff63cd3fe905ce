"""Programs as bytes: what goes by value, and what cannot go."""

import functools
import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import rayorch as ro
from rayorch import shipping
from rayorch.compiling import compile_program
from rayorch.program import FilterCode, MapCode, dump_program, load_program
from rayorch.relational import AggregateCode
from tests.rayorch.refusals import refusal
from tests.rayorch.test_aggregate import Longest

LOCK = threading.Lock()


def shipped(function: Callable[..., object]) -> Callable[..., Any]:
    """The function after it went to another process and back."""
    code = load_program(dump(function)).stages[0].steps[0].code
    assert isinstance(code, MapCode)
    return code.function


def dump(function: Callable[..., object]) -> bytes:
    pipeline = ro.Pipeline("nightly")
    pipeline.read("lines", "/lines").map(function, output="m").write("/out")
    return dump_program(compile_program(pipeline))


def test_expressions_survive_the_journey() -> None:
    pipeline = ro.Pipeline("nightly")
    lines = pipeline.read("lines", "/lines").map(lambda table: table, output="m")
    lines.filter("a in (1, 2)").write("/out")

    loaded = load_program(dump_program(compile_program(pipeline)))

    code = loaded.stages[0].steps[1].code
    assert isinstance(code, FilterCode)
    assert code.predicate.equals(pc.field("a").isin([1, 2]))


def test_a_function_of_a_user_goes_by_value_with_its_helpers(tmp_path: Path) -> None:
    """A process that has neither module, as a runner on another machine, can run it."""
    (tmp_path / "ro_helper_a.py").write_text("def add(x):\n    return x + 1\n")
    (tmp_path / "ro_user_a.py").write_text(
        "import ro_helper_a\n\ndef f(table):\n    return ro_helper_a.add(table)\n"
    )
    function = imported(tmp_path, "ro_user_a").f
    (tmp_path / "program").write_bytes(dump(function))
    check = (
        "import sys\nfrom rayorch.program import load_program\n"
        "program = load_program(open(sys.argv[1], 'rb').read())\n"
        "print(program.stages[0].steps[0].code.function(41))\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", check, str(tmp_path / "program")],
        env={**os.environ, "PYTHONPATH": str(Path(ro.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == "42\n"


def test_what_no_code_names_of_a_users_module_stays_behind(tmp_path: Path) -> None:
    """A helper module may hold a lock or a client that no transform uses."""
    (tmp_path / "ro_helper_c.py").write_text(
        "import threading\nimport ro_helper_d as d\nLOCK = threading.Lock()\n"
        "def add(x):\n    return d.one(x)\n"
    )
    (tmp_path / "ro_helper_d.py").write_text(
        "import ro_helper_c as c\nSTEP = 1\ndef one(x):\n    return x + c.d.STEP\n"
    )
    (tmp_path / "ro_user_c.py").write_text(
        "import ro_helper_c\ndef f(x):\n    return ro_helper_c.add(x)\n"
        "def g(x):\n    return getattr(ro_helper_c, 'ad' + 'd')(x)\n"
        "def h(x):\n    return ro_helper_c.LOCK\n"
    )
    user = imported(tmp_path, "ro_user_c")

    assert shipped(user.f)(41) == 42
    with pytest.raises(AttributeError, match=r"ro_helper_c\.add did not come along: no code names"):
        shipped(user.g)(41)
    assert "field=ro_helper_c.LOCK, value=_thread.lock" in refusal(lambda: dump(user.h))


def test_an_edited_function_is_not_run_as_it_was(tmp_path: Path) -> None:
    """A warm runner has imported the old module: by reference, it would run that."""
    (tmp_path / "ro_user_b.py").write_text("def f(table):\n    return 'old'\n")
    module = imported(tmp_path, "ro_user_b")
    data = dump(module.f)

    module.f = lambda table: "something else"

    code = load_program(data).stages[0].steps[0].code
    assert isinstance(code, MapCode)
    assert code.function(None) == "old"


def test_a_function_of_an_installed_library_goes_by_name() -> None:
    assert shipped(functools.partial(pc.add, 1)).func is pc.add  # type: ignore[attr-defined]


def test_cached_functions_go_by_value_even_when_they_call_themselves() -> None:
    @functools.cache
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    def m(n: Any) -> Any:
        return fibonacci(n) + 1

    assert shipped(m)(30) == 832041


def test_registering_modules_by_value_leaves_no_trace() -> None:
    before = cloudpickle.list_registry_pickle_by_value()

    dump(lambda table: table)

    assert cloudpickle.list_registry_pickle_by_value() == before


def test_a_function_over_a_lock_names_the_variable_on_the_way_to_it() -> None:
    def guarded() -> object:
        return LOCK

    def m(table: pa.Table) -> pa.Table:
        guarded()
        return table

    assert refusal(lambda: dump(m)) == (
        "a transform holds something that cannot be sent to other processes. "
        "pipeline=nightly, transform=m, field=guarded -> LOCK, value=_thread.lock\n"
        "  at FILE:LINE\n"
        "  TypeError: cannot pickle '_thread.lock' object\n"
        "  make it inside the function, or pass what it is made from (a path, a URL) instead"
    )


def test_a_function_over_an_open_file_names_the_variable(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:

        def m(table: pa.Table) -> pa.Table:
            log.write("x")
            return table

        text = refusal(lambda: dump(m))

    assert "field=log, value=_io.TextIOWrapper\n" in text


def test_an_object_that_holds_a_lock_names_the_attribute() -> None:
    class Scorer:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self, table: pa.Table) -> pa.Table:
            return table

    assert "field=lock, value=_thread.lock" in refusal(lambda: dump(Scorer()))


def test_a_function_that_mentions_a_dataset_is_told_so() -> None:
    pipeline = ro.Pipeline("nightly")
    lines = pipeline.read("lines", "/lines")

    def m(table: pa.Table) -> object:
        return lines

    lines.map(m).write("/out")

    assert "a Pipeline or Dataset cannot be used inside a transform" in refusal(
        lambda: dump_program(compile_program(pipeline))
    )


def test_a_large_closure_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "SHIPPED_BYTES_MAX", 2**20)
    weights = {"layer": b"x" * (3 * 2**20), "small": b"y"}

    def m(table: pa.Table) -> object:
        return weights

    assert refusal(lambda: dump(m)) == (
        "a transform carries more than 1 MiB along. "
        "pipeline=nightly, transform=m, field=weights, value=3 MiB\n"
        "  at FILE:LINE\n"
        "  write it to a file and read it inside the function once (functools.cache)"
    )


def imported(folder: Path, name: str) -> Any:
    """A module of a folder that is on the path only while it is imported."""
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


class Locked(Longest):
    """Cannot be sent, for what one of its methods mentions."""

    def update(self, state: int, rows: pa.Table) -> int:
        with LOCK:
            return super().update(state, rows)


def dump_aggregate(aggregate: ro.Aggregate) -> bytes:
    pipeline = ro.Pipeline("nightly")
    lines = pipeline.read("lines", "/lines")
    lines.aggregate("few", n=("*", "count"), longest=("x", aggregate)).write("/out")
    return dump_program(compile_program(pipeline))


def test_an_aggregate_of_a_user_survives_the_journey() -> None:
    (exchange,) = load_program(dump_aggregate(Longest())).exchanges

    assert isinstance(exchange.code, AggregateCode)
    own = exchange.code.measures[1].aggregate
    assert own is not None
    assert own.finish(own.update(own.create(), pa.table({"x": ["abc"]}))) == 3
    assert exchange.producers == ((0,),)


def test_what_of_an_aggregate_cannot_be_sent_is_named_by_measure_and_method() -> None:
    assert refusal(lambda: dump_aggregate(Locked())) == (
        "a transform holds something that cannot be sent to other processes. "
        "pipeline=nightly, transform=few, field=longest -> update -> LOCK, value=_thread.lock\n"
        "  at FILE:LINE\n"
        "  TypeError: cannot pickle '_thread.lock' object\n"
        "  make it inside the function, or pass what it is made from (a path, a URL) instead"
    )


def test_what_of_a_function_of_groups_cannot_be_sent_is_named() -> None:
    def fitted(rows: pa.Table) -> pa.Table:
        with LOCK:
            return rows

    pipeline = ro.Pipeline("nightly")
    pipeline.read("lines", "/lines").map_groups(fitted, by="id").write("/out")

    text = refusal(lambda: dump_program(compile_program(pipeline)))

    assert "transform=fitted, field=LOCK, value=_thread.lock\n  at FILE:LINE\n" in text
