"""Run a pipeline on tables in memory, in a test of its author's: no Ray, no files to prepare.

    from rayorch.testing import run_pipeline
    from nightly import nightly

    def test_late_lines_are_dropped() -> None:
        outputs = run_pipeline(nightly, {"lineitem": [{"l_orderkey": 1, "l_shipdate": LATE}]})
        assert outputs["shipped"].num_rows == 0

What runs is the product: the same compiler, scheduler, journal, runners and commit, on threads of
this process. Only where rows come from and go to is another place: each read takes its rows from a
table, and each write goes, in its own format, to a place that is gone when the call returns.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeAlias

import pyarrow as pa

from connectors.dataset import read_dataset
from connectors.formats.tables import SCHEME, forget_table, register_table
from connectors.store import open_store
from rayorch.client import run
from rayorch.compiling import Compilable
from rayorch.errors import SpecError, near_miss
from rayorch.ids import new_nonce
from rayorch.program import StepCode
from rayorch.relational import OperatorCode
from rayorch.runner.errors import ResultError
from rayorch.runner.frames import computed, taken
from rayorch.spec import PipelineSpec, ReadSpec, WriteSpec

# Sources that need nothing from outside, and so may stay as they are written.
_SELF_CONTAINED: Final = (SCHEME, "range://")


class ArrowStream(Protocol):
    """A data frame of pandas or Polars, or a DuckDB relation."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows as an Arrow stream."""
        ...


Rows: TypeAlias = pa.Table | ArrowStream | Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
"""A pa.Table, a data frame, a list of rows, or columns by name."""


def run_pipeline(
    pipeline: Compilable, inputs: Mapping[str, Rows], *, splits: int = 1
) -> dict[str, pa.Table]:
    """Run a pipeline with these rows in place of its reads; return what it writes.

    `inputs` are by the name of the read. The result is by the name of what is written: the
    dataset's, unless `.write(name=...)` says otherwise. `splits` is into how many tasks each input
    is cut: more than one shows whether a function works on any part of its input.

    Raises: SpecError, for a read without rows or rows without a read; RunFailedError, with the
    error, file and line of the function that failed.
    """
    spec = pipeline.spec()
    _check_names(spec, inputs)
    with _scratch() as place:
        tables = {name: f"{place.name}/{name}" for name in inputs}
        try:
            for name, table in tables.items():
                register_table(table, _table(spec.name, name, inputs[name]))
            moved = _Moved(_moved(spec, tables, place, splits), pipeline.codes)
            run(moved, home=f"{place.memory}/home", executor="in-process", display=None)
            return {
                write.name: read_dataset(write.url, write.format).to_table()
                for write in moved.spec().writes
            }
        finally:
            for table in tables.values():
                forget_table(table)


class _Scratch:
    """Where one run keeps what it makes."""

    def __init__(self, name: str, folder: str) -> None:
        self.name: Final = name
        self.memory: Final = f"memory://{name}"
        self._folder = folder

    def url_of(self, write: WriteSpec) -> str:
        """Return where a write goes: Delta's own library reaches no memory of ours."""
        root = self._folder if write.format == "delta" else self.memory
        return f"{root}/out/{write.name}"


@contextmanager
def _scratch() -> Iterator[_Scratch]:
    name = f"rayorch-testing-{new_nonce()}"
    with tempfile.TemporaryDirectory(prefix="rayorch-testing-") as folder:
        place = _Scratch(name, folder)
        try:
            yield place
        finally:
            store = open_store(place.memory)
            store.delete([found.key for found in store.list()])


class _Moved:
    """A pipeline whose reads and writes are elsewhere."""

    def __init__(self, spec: PipelineSpec, codes: Mapping[str, StepCode | OperatorCode]) -> None:
        self._spec = spec
        self.codes: Final = codes

    def spec(self) -> PipelineSpec:
        """Return the pipeline as values."""
        return self._spec


def _moved(
    spec: PipelineSpec, tables: Mapping[str, str], place: _Scratch, splits: int
) -> PipelineSpec:
    reads = tuple(_on_table(read, tables, splits) for read in spec.reads)
    writes = tuple(write.model_copy(update={"url": place.url_of(write)}) for write in spec.writes)
    return spec.model_copy(update={"reads": reads, "writes": writes})


def _on_table(read: ReadSpec, tables: Mapping[str, str], splits: int) -> ReadSpec:
    if read.name not in tables:
        return read
    urls = (f"{SCHEME}{tables[read.name]}",)
    return read.model_copy(update={"urls": urls, "format": None, "options": {"splits": splits}})


def _check_names(spec: PipelineSpec, inputs: Mapping[str, Rows]) -> None:
    reads = {read.name: read for read in spec.reads}
    for name in inputs:
        if name not in reads:
            fix = near_miss(name, reads) or f"it reads {', '.join(map(repr, reads))}"
            raise SpecError("the pipeline has no such read", spec.name, "", "inputs", name, "", fix)
    for name, read in reads.items():
        if name not in inputs and not read.urls[0].startswith(_SELF_CONTAINED):
            fix = f"add {name!r} to the inputs"
            raise SpecError("no rows for a read", spec.name, name, "inputs", "", read.where, fix)


def _table(pipeline: str, name: str, rows: object) -> pa.Table:
    try:
        if isinstance(rows, Mapping):
            return pa.table(dict(rows))
        if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
            return pa.Table.from_pylist([dict(row) for row in rows])
        # As what a function returns is taken: a frame of pandas, Polars or DuckDB is one, too.
        return taken(computed(rows))
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
        reason = str(error)
    except ResultError:
        reason = f"a {type(rows).__name__} is none"
    fix = f"{reason}\ngive a pa.Table, a data frame, a list of dicts, or a dict of columns"
    raise SpecError("these rows are no table", pipeline, name, "inputs", "", "", fix)
