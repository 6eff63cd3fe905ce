"""Data to measure with, written as Parquet under any URL: shapes from a seed, and TPC-H.

    shape  -> part-00000.parquet, part-00001.parquet, ...
    tpch   -> lineitem/lineitem.1.parquet, ..., orders/orders.1.parquet, ...

Files are made one by one and written whole, so that neither the memory nor, of TPC-H, the disk
here must hold more than a part, however large all of it is.
"""

import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.errors import MissingExtraError
from connectors.store import Store, open_store
from rayorch.bench.errors import SuiteError
from rayorch.bench.room import check_room
from rayorch.bench.shapes import SHAPES, table_of
from rayorch.observe.figures import bytes_text

TPCH: Final = "tpch"
TABLES: Final = (
    *("lineitem", "orders", "customer", "part", "partsupp", "supplier", "nation", "region"),
)
WHOLE: Final = ("nation", "region")
"""Of a few rows: one file, whatever the scale is."""
TPCH_BYTES: Final = 400 << 20
"""Of scale 1 with all tables, Snappy as tpchgen-cli writes it, and some more."""
AT_ONCE_BYTES_MAX: Final = 1 << 30
"""Beyond it parts are made one by one, so that the disk here need not hold them all."""
ROWS_TRIED: Final = 1_000
ROOM: Final = 1.2
"""Times what a sample says, so that what is left of the disk is not a gamble."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be made. `rows` and `files` are the usual ones of the kind where they are None."""

    kind: str
    to: str
    rows: int | None = None
    files: int | None = None
    seed: int = 1
    scale_factor: float = 1.0
    tables: Sequence[str] = TABLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made."""

    url: str
    files: int
    size_bytes: int
    rows: int | None = None


def generate(wanted: Wanted, tell: Tell) -> Made:
    """Make data where there is none yet; `tell` hears of each file.

    Raises: SuiteError: something is there already, or there is no room; MissingExtraError;
    StoreError. What was written before is left.
    """
    store = open_store(wanted.to)
    there = next(iter(store.list()), None)
    if there is not None:
        problem = f"there is something already: {there.key}. url={store.url}"
        raise SuiteError(problem, "name an empty place with --to: nothing is overwritten")
    if wanted.kind == TPCH:
        return _tpch(wanted, store, tell)
    return _shaped(wanted, store, tell)


def _shaped(wanted: Wanted, store: Store, tell: Tell) -> Made:
    shape = SHAPES[wanted.kind]
    rows = wanted.rows or shape.rows
    files = min(wanted.files or shape.files, rows)
    tried = range(min(rows // files, ROWS_TRIED))
    sample = _encoded(table_of(shape, wanted.seed, 0, tried))
    _check_room(store, sample.size / len(tried) * rows)
    size_bytes = 0
    for file in range(files):
        own = range(file * rows // files, (file + 1) * rows // files)
        data = _encoded(table_of(shape, wanted.seed, file, own))
        key = f"part-{file:05d}.parquet"
        store.put(key, data.to_pybytes())
        size_bytes += data.size
        tell(f"{key}: {len(own):,} rows, {bytes_text(data.size)}")
    return Made(url=store.url, files=files, size_bytes=size_bytes, rows=rows)


def _encoded(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue()


def _tpch(wanted: Wanted, store: Store, tell: Tell) -> Made:
    program = _program()
    _check_room(store, wanted.scale_factor * TPCH_BYTES)
    count, size_bytes = 0, 0
    for batch in _batches(wanted):
        with tempfile.TemporaryDirectory(prefix="rayorch-tpch-") as folder:
            counts: Counter[str] = Counter()
            for path in _made(program, wanted.scale_factor, batch, Path(folder)):
                table = path.name.partition(".")[0]
                counts[table] += 1
                part = batch.part or counts[table]
                key = f"{table}/{table}.{part}.parquet"
                info = store.put(key, _plain(path).to_pybytes())
                count, size_bytes = count + 1, size_bytes + info.size_bytes
                tell(f"{key}: {bytes_text(info.size_bytes)}")
    return Made(url=store.url, files=count, size_bytes=size_bytes)


def _plain(path: Path) -> pa.Buffer:
    """Return a file whose texts are of a type that every reader knows.

    tpchgen-cli says of them that they are views, which only new readers of Arrow's types know.
    """
    file, sink = pq.ParquetFile(path), pa.BufferOutputStream()
    schema = pa.schema([_plain_field(field) for field in file.schema_arrow])
    with pq.ParquetWriter(sink, schema) as writer:
        for group in range(file.num_row_groups):
            writer.write_table(file.read_row_group(group).cast(schema))
    return sink.getvalue()


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """What one call of the program makes: one part, or where it is 0 all parts."""

    tables: tuple[str, ...]
    parts: int
    part: int = 0


def _batches(wanted: Wanted) -> Iterator[_Batch]:
    """Divide the work into calls: few where it is little, as each takes a second to start."""
    parts = wanted.files or max(1, round(16 * wanted.scale_factor))
    cut = tuple(table for table in wanted.tables if table not in WHOLE)
    whole = tuple(table for table in wanted.tables if table in WHOLE)
    if whole:
        yield _Batch(tables=whole, parts=1)
    if cut and wanted.scale_factor * TPCH_BYTES <= AT_ONCE_BYTES_MAX:
        yield _Batch(tables=cut, parts=parts)
        return
    for table in cut:
        for part in range(1, parts + 1):
            yield _Batch(tables=(table,), parts=parts, part=part)


def _made(program: str, scale: float, batch: _Batch, folder: Path) -> list[Path]:
    """Have a batch made; return its files, in the order of tables and parts."""
    done = subprocess.run(  # noqa: S603 - our own words.
        [
            *(program, "parquet", "--quiet", "--scale-factor", f"{scale:g}"),
            *("--parts", str(batch.parts)),
            *(("--part", str(batch.part)) if batch.part else ()),
            *("--tables", ",".join(batch.tables), "--output-dir", str(folder)),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SuiteError(f"tpchgen-cli failed: {done.stderr.strip()}", "look at --scale-factor")
    return sorted(folder.rglob("*.parquet"), key=lambda path: (path.parent, len(path.name), path))


def _program() -> str:
    found = shutil.which("tpchgen-cli", path=sysconfig.get_path("scripts"))
    if found is None:
        raise MissingExtraError("TPC-H data", "tpchgen-cli", "bench")
    return found


def _check_room(store: Store, wanted_bytes: float) -> None:
    """Refuse what the disk cannot hold; of what others keep nobody knows. Raises: SuiteError."""
    path = store.local_path("part")
    if path is None:
        return
    fix = "name a place on a larger disk with --to, or ask for less"
    check_room(Path(path).parent, ROOM * wanted_bytes, "this", fix)
