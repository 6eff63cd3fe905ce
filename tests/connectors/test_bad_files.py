import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors import data_errors
from connectors.data_errors import (
    CorruptFileError,
    DataError,
    FileChangedError,
    NoFilesError,
    OptionError,
    UnknownFormatError,
)
from connectors.errors import BadUrlError
from connectors.formats.file_format import read_failure
from connectors.formats.tables import forget_table, register_table
from connectors.source import discover, open_reader
from tests.connectors.datasets import options, read, sink, source, write

ROWS = pa.table({"a": range(1000), "s": [str(i) for i in range(1000)]})


def put(path: Path, table: pa.Table = ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize(
    ("keep", "said"), [(0, "it is empty"), (7, "7 bytes only"), (400, "does not end in PAR1")]
)
def test_a_parquet_file_cut_short_is_refused_at_discovery(
    tmp_path: Path, keep: int, said: str
) -> None:
    put(tmp_path / "good.parquet")
    bad = put(tmp_path / "bad.parquet")
    bad.write_bytes(bad.read_bytes()[:keep])

    with pytest.raises(CorruptFileError, match=rf"{said}.*bad\.parquet") as caught:
        discover(source(tmp_path), 2)
    assert caught.value.remedy == "fix"


@pytest.mark.parametrize(
    "damage", [b"\xff\xff\xff\x7fPAR1", b"\x10\x00\x00\x00PAR1", b"\x10\x00\x00\x00PARE"]
)
def test_a_footer_of_garbage_is_refused_at_discovery(tmp_path: Path, damage: bytes) -> None:
    bad = put(tmp_path / "bad.parquet")
    bad.write_bytes(bad.read_bytes()[:-200] + b"\x99" * 192 + damage)

    with pytest.raises(CorruptFileError, match=r"bad\.parquet"):
        discover(source(tmp_path), 2)


def test_pages_of_garbage_are_refused_when_they_are_read(tmp_path: Path) -> None:
    bad = put(tmp_path / "bad.parquet")
    data = bytearray(bad.read_bytes())
    data[4:2000] = b"\xff" * 1996
    bad.write_bytes(data)

    with pytest.raises(CorruptFileError, match=r"bad\.parquet"):
        read(source(tmp_path))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(5, "Input/output error"), "retry"),
        (OSError("When reading key 'k': AWS Error NETWORK_CONNECTION during GetObject"), "retry"),
        (OSError("Couldn't deserialize thrift"), "fix"),
        (pa.ArrowInvalid("Corrupt snappy compressed data"), "fix"),
    ],
)
def test_a_store_that_fails_is_not_taken_for_a_corrupt_file(error: Exception, remedy: str) -> None:
    assert read_failure("s3://bucket/a/k", "Parquet", error).remedy == remedy


def test_another_format_under_the_name_of_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.parquet").write_text("<html>" * 100)

    with pytest.raises(CorruptFileError, match="another format"):
        read(source(tmp_path))


def test_files_without_rows_are_right_and_give_no_task(tmp_path: Path) -> None:
    put(tmp_path / "1.parquet", ROWS.slice(0, 0))
    spec = source(tmp_path)

    discovery, splits = discover(spec, 2)

    assert (discovery.rows, splits) == (0, [])
    assert open_reader(spec, discovery).schema == ROWS.schema


def test_a_url_without_a_match_is_refused_with_names_near_by(tmp_path: Path) -> None:
    put(tmp_path / "lineitem" / "part-1.parquet")

    for url, near in (("lineitm", "lineitem"), ("lineitem/*.parq", "part-1.parquet")):
        with pytest.raises(NoFilesError, match=near) as caught:
            discover(source(tmp_path / url), 1)
        assert str(tmp_path / url) in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoFilesError, match="nothing is stored there"):
        discover(source(tmp_path / "empty" / "x"), 1)


def test_one_url_of_several_without_a_match_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "1.parquet")

    with pytest.raises(NoFilesError, match="missing"):
        discover(source("", urls=(str(tmp_path), str(tmp_path / "missing"))), 1)


def test_a_format_is_told_by_the_suffix_or_by_name_and_else_refused(tmp_path: Path) -> None:
    put(tmp_path / "data.bin")

    assert read(source(tmp_path, format="parquet")).num_rows == 1000
    with pytest.raises(UnknownFormatError, match="format not told"):
        read(source(tmp_path))
    with pytest.raises(UnknownFormatError, match="did you mean 'parquet'"):
        read(source(tmp_path, format="parqet"))
    put(tmp_path / "data.parquet")
    (tmp_path / "data.csv").write_text("a\n1\n")
    with pytest.raises(UnknownFormatError, match="csv and parquet"):
        read(source(tmp_path))


def test_a_file_that_grows_shrinks_or_goes_between_discovery_and_reading(tmp_path: Path) -> None:
    path = put(tmp_path / "1.parquet")
    spec = source(tmp_path)
    discovery, splits = discover(spec, 1)
    reader = open_reader(spec, discovery)
    whole = path.read_bytes()

    for change, said in ((whole + b"x", "grew"), (whole[:-1], "shrank"), (whole, "written again")):
        path.write_bytes(change)
        with pytest.raises(FileChangedError, match=rf"{said}.*run again.*1\.parquet") as caught:
            next(reader.batches(splits[0], 1 << 20))
        assert caught.value.retryable
    path.unlink()
    with pytest.raises(FileChangedError, match="disappeared"):
        next(reader.batches(splits[0], 1 << 20))


def test_a_wrong_compression_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    spec = sink(tmp_path, options=options(compression="zip"))

    with pytest.raises(OptionError, match=r"compression.*zip"):
        write(spec, ROWS)
    assert list(tmp_path.rglob("*")) == []


def test_ranges_are_cut_evenly_and_a_bad_one_is_refused() -> None:
    spec = source("range://10?splits=3")
    _, splits = discover(spec, 1)

    assert [(s.lo, s.hi) for s in splits] == [(0, 3), (3, 6), (6, 10)]
    assert read(spec)["id"].to_pylist() == list(range(10))
    assert discover(source("range://0"), 1)[1] == []
    assert len(discover(source("range://100000?splits=100000"), 1)[1]) == 100_000
    for url in ("range://x", "range://5?split=2", "range://5?splits=x"):
        with pytest.raises(BadUrlError, match="range://ROWS"):
            discover(source(url), 1)


def test_tables_in_memory_are_read_by_name_and_a_missing_one_is_refused() -> None:
    url = register_table("people", pa.table({"n": [1, 2, 3]}))
    try:
        assert read(source(url, options=options(splits=2)))["n"].to_pylist() == [1, 2, 3]
        with pytest.raises(NoFilesError, match="people"):
            read(source("mem-table://peple"))
    finally:
        forget_table("people")


ERRORS = [
    kind
    for kind in vars(data_errors).values()
    if isinstance(kind, type) and issubclass(kind, DataError) and kind is not DataError
]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_survives_the_way_between_processes(kind: type[DataError]) -> None:
    count = kind.__init__.__code__.co_argcount - 1
    tuples = {"known", "near"}
    names = kind.__init__.__code__.co_varnames[1 : count + 1]
    error = kind(*[("x",) if name in tuples else "x" for name in names])

    again = pickle.loads(pickle.dumps(error))  # noqa: S301

    assert (type(again), str(again), again.args) == (kind, str(error), error.args)


def test_reading_and_writing_need_no_heavy_library_until_they_are_used() -> None:
    code = (
        "import sys, connectors.source, connectors.sink; "
        "heavy = {'pyarrow.dataset', 'deltalake', 'pandas', 'obstore', 'duckdb', 'pyarrow.acero'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"
