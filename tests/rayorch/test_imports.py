"""What processes that start while somebody waits do without, until it is needed."""

import subprocess
import sys

import pytest

ENGINES = ("duckdb", "polars", "pandas", "pyarrow.dataset", "pyarrow.acero")


@pytest.mark.parametrize(
    ("module", "others"),
    [
        # Every runner and the planner import it.
        ("rayorch.relational", ("pydantic", "ray")),
        # It asks for the versions of libraries, and imports none of them for that.
        ("rayorch.version", ("pyarrow", "ray")),
        ("rayorch.host.control", ("pydantic", "rayorch.runner.engine")),
        ("rayorch.runner.engine", ("ray",)),
    ],
)
def test_a_module_leaves_alone_what_is_slow_to_import(module: str, others: tuple[str, ...]) -> None:
    loaded = f"import sys, {module}; print([n for n in {ENGINES + others} if n in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"
