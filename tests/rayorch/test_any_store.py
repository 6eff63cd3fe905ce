"""Home and output in a store that only fsspec reaches: it is probed before anything rests on it."""

from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import rayorch as ro
from connectors.errors import UnsafeStoreError
from rayorch import client


class Attic(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types.
    """A file system of somebody else's, in this process."""

    protocol = "attic"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("attic://")))


class Careless(Attic):
    """One that gives a taken key away."""

    protocol = "careless"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("careless://")))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        super().pipe_file(path, value, mode="overwrite", **kwargs)


def pipeline(folder: Path, out: str) -> ro.Pipeline:
    pq.write_table(pa.table({"a": [1, 2, 3]}), folder / "in.parquet")
    made = ro.Pipeline("nightly")
    made.read("rows", str(folder / "in.parquet")).select(["a"], output="same").write(
        out, format="parquet"
    )
    return made


@pytest.fixture(autouse=True)
def known() -> None:
    for kind in (Attic, Careless):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)


def test_a_run_has_its_home_and_its_output_where_only_fsspec_reaches(tmp_path: Path) -> None:
    out = "attic://lake/out"

    report = client.run(
        pipeline(tmp_path, out), home="attic://lake/home", executor="in-process", display=None
    )

    assert report.state == "succeeded"
    assert ro.read(out).to_table()["a"].to_pylist() == [1, 2, 3]
    assert not [path for path in Attic.store if "/.probe/" in path], "a probe left something"


def test_a_home_where_two_could_win_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnsafeStoreError, match=r"contenders won|given away|winner's bytes"):
        client.run(
            pipeline(tmp_path, "attic://lake/never"),
            home="careless://home",
            executor="in-process",
            display=None,
        )
