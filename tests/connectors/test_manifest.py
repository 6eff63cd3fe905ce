"""Publishing side by side: whoever is late to a number looks again, and nobody is hidden."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.data_errors import CorruptFileError
from connectors.manifest import (
    Manifest,
    all_files,
    decode_manifest,
    encode_manifest,
    newest_manifest,
    publish_manifest,
)
from connectors.outputs import OutputFile
from connectors.schema import dump_schema
from connectors.sealed import sealed
from connectors.store import Created
from connectors.stores.local import LocalStore


class Overtaken(LocalStore):
    """A store on which somebody else does something between a publisher's look and its write."""

    __slots__ = ("_meanwhile",)

    def __init__(self, folder: Path, meanwhile: Callable[[], object]) -> None:
        super().__init__(str(folder))
        self._meanwhile = [meanwhile]

    def put_if_absent(self, key: str, data: bytes) -> Created:
        while self._meanwhile:
            self._meanwhile.pop()()
        return super().put_if_absent(key, data)


def wanted(app: str, generation: int) -> Manifest:
    file = OutputFile(key=f"_data/{app}.parquet", rows=1, size_bytes=1, checksum="")
    return Manifest(
        number=0,
        format="parquet",
        mode="append",
        run=app,
        app_id=app,
        generation=generation,
        schema_ipc=dump_schema(pa.schema([("a", pa.int64())])),
        partition_by=(),
        files=(file,),
    )


@pytest.mark.parametrize(("early", "late"), [(5, 9), (9, 5)])
@pytest.mark.parametrize("is_first", [True, False])
def test_one_that_publishes_between_anothers_look_and_write_is_not_hidden(
    tmp_path: Path, early: int, late: int, is_first: bool
) -> None:
    """1. slow looks  2. quick publishes  3. slow writes. Their generations are of any order."""
    plain = LocalStore(str(tmp_path))
    published = set() if is_first else {"before"}
    if not is_first:
        publish_manifest(plain, wanted("before", 1))
    store = Overtaken(tmp_path, lambda: publish_manifest(plain, wanted("quick", early)))

    publish_manifest(store, wanted("slow", late))

    newest = newest_manifest(plain)
    assert newest is not None
    keys = {file.key for file in all_files(plain, newest)}
    assert keys == {f"_data/{app}.parquet" for app in ("quick", "slow", *published)}
    assert newest.apps.keys() == {"quick", "slow", *published}


def test_any_flipped_bit_of_a_manifest_is_found_by_who_reads_it(tmp_path: Path) -> None:
    """A flipped digit of a row count, or a letter of a name, would else pass for what was meant."""
    store = LocalStore(str(tmp_path))
    data = encode_manifest(publish_manifest(store, wanted("one", 1)))
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptFileError, match=r"7\.json"):
            decode_manifest("file:///out/_manifests/7.json", bytes(flipped))


def test_a_manifest_without_a_seal_is_read() -> None:
    """Those of the first version have none."""
    data = encode_manifest(wanted("one", 1))
    plain = data[: data.rindex(b',"seal"')] + b"}"

    assert decode_manifest("x", plain) == wanted("one", 1)


def test_a_manifest_of_a_newer_version_is_refused_as_such() -> None:
    blank = encode_manifest(wanted("one", 1))
    blank = blank[: blank.rindex(b'"seal":"')] + b'"moon":1,"seal":""}'

    with pytest.raises(CorruptFileError, match="a newer version of rayorch wrote it"):
        decode_manifest("x", sealed(blank))
