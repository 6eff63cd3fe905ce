"""What a look at a Delta table says when others have worked on it, and when its log is damaged."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from connectors.audit import Expected, Seen, audit_place
from tests.connectors.datasets import publish, read, sink, source, write

if TYPE_CHECKING:
    from connectors.sink import SinkSpec

RUN = "run-1"
VERSIONS = 5


class Lake:
    """A table that one run has added to five times, and what that run knows of it."""

    def __init__(self, folder: Path) -> None:
        self.spec: SinkSpec = sink(folder / "t", format="delta", mode="append")
        self.folder = folder / "t"
        self.log = self.folder / "_delta_log"
        self.sums: dict[str, str] = {}
        for number in range(1, VERSIONS + 1):
            output = write(self.spec, pa.table({"a": [number]}), name=f"t{number}")
            publish(self.spec, output, generation=number)
            self.sums |= {file.key: file.checksum for file in output.files}

    @property
    def table(self) -> DeltaTable:
        return DeltaTable(self.spec.url)

    def audit(self) -> Seen:
        expected = Expected(checksums=self.sums, closed=frozenset({RUN}))
        return audit_place(self.spec, expected)

    def said(self) -> list[tuple[str, str]]:
        return [(fault.kind, fault.key) for fault in self.audit().faults]

    def rows(self) -> list[int]:
        return sorted(read(source(self.spec.url))["a"].to_pylist())

    def clean_up(self) -> None:
        """Checkpoint, and remove all commits before it."""
        self.table.alter.set_table_properties(
            {"delta.logRetentionDuration": "interval 0 days"}, raise_if_not_exists=False
        )
        self.table.create_checkpoint()
        self.table.cleanup_metadata()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def test_a_table_that_was_compacted_by_others_is_whole_and_its_new_files_are_counted_apart(
    lake: Lake,
) -> None:
    """Nobody knows the checksums of what they wrote; what they replaced can still be asked for."""
    lake.table.optimize.compact()

    seen = lake.audit()

    assert seen.faults == []
    assert (seen.files, seen.unsummed) == (1, 1)
    assert lake.rows() == [1, 2, 3, 4, 5]


def test_a_file_of_a_compaction_that_was_cut_off_is_found_by_its_size(lake: Lake) -> None:
    lake.table.optimize.compact()
    (compacted,) = lake.folder.glob("*.parquet")
    compacted.write_bytes(compacted.read_bytes()[:-1])

    assert lake.said() == [("damaged", compacted.name)]


def test_a_vacuum_behind_a_compaction_leaves_nothing_to_complain_of(lake: Lake) -> None:
    lake.table.optimize.compact()
    gone = lake.table.vacuum(0, dry_run=False, enforce_retention_duration=False)

    assert len(gone) == VERSIONS
    assert lake.said() == []


def test_a_log_with_a_checkpoint_is_whole_with_all_of_its_commits_and_with_the_last_alone(
    lake: Lake,
) -> None:
    lake.table.create_checkpoint()
    with_all = lake.said()
    lake.clean_up()
    left = {path.name for path in lake.log.glob("*.json")}

    assert with_all == []
    assert "00000000000000000000.json" not in left, "nothing was cleaned up"
    assert lake.said() == []
    assert lake.rows() == [1, 2, 3, 4, 5]


def test_a_file_that_is_damaged_is_found_also_behind_a_checkpoint(lake: Lake) -> None:
    lake.clean_up()
    victim = next(path for path in lake.folder.glob("data/*/*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")

    assert lake.said() == [("damaged", str(victim.relative_to(lake.folder)))]


def test_files_that_no_version_of_a_cleaned_log_names_are_left_alone(lake: Lake) -> None:
    """What older versions named is not known any more: it could be one of theirs."""
    stray = lake.folder / "data" / RUN / "stray.parquet"
    stray.write_bytes(b"x")
    of_full_log = lake.said()
    lake.clean_up()

    assert of_full_log == [("orphan", f"data/{RUN}/stray.parquet")]
    assert lake.said() == []


def test_a_gap_behind_a_checkpoint_is_a_doubt_and_one_before_its_end_is_damage(lake: Lake) -> None:
    """Readers begin with the checkpoint: a clean-up that died leaves such gaps."""
    (lake.log / f"{2:020d}.json").rename(lake.folder / "aside.json")
    without = lake.said()
    (lake.folder / "aside.json").rename(lake.log / f"{2:020d}.json")
    lake.table.create_checkpoint()
    (lake.log / f"{2:020d}.json").unlink()

    assert ("damaged", f"_delta_log/{2:020d}.json") in without
    assert lake.said() == [("doubtful", f"_delta_log/{2:020d}.json")]
    assert lake.rows() == [1, 2, 3, 4, 5]


def test_a_checkpoint_that_says_other_files_than_the_commits_is_damage(lake: Lake) -> None:
    """It can be read, so that nobody would notice: readers simply miss a row."""
    lake.table.create_checkpoint()
    (path,) = lake.log.glob("*.checkpoint.parquet")
    actions = pq.read_table(path)
    first = next(i for i, add in enumerate(actions["add"].to_pylist()) if add is not None)
    pq.write_table(pa.concat_tables([actions[:first], actions[first + 1 :]]), path)

    (fault,) = lake.audit().faults

    assert len(lake.rows()) == VERSIONS - 1
    assert (fault.kind, fault.key) == ("damaged", f"_delta_log/{VERSIONS - 1:020d}.checkpoint")
    assert "its checkpoint and its commits differ in 1 files" in fault.what


def test_a_checkpoint_that_cannot_be_read_is_damage(lake: Lake) -> None:
    lake.clean_up()
    (path,) = lake.log.glob("*.checkpoint.parquet")
    path.write_bytes(b"PAR1 no more")

    assert lake.said() == [("damaged", "_delta_log/")]


@pytest.mark.parametrize(
    "name",
    [
        f"{VERSIONS - 1:020d}.checkpoint.0000000001.0000000001.parquet",
        f"{VERSIONS - 1:020d}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json",
    ],
)
def test_other_names_of_checkpoints_are_known(lake: Lake, name: str) -> None:
    """As Spark gives them: a gap behind one is no damage."""
    (lake.log / f"{1:020d}.json").unlink()
    (lake.log / name).write_bytes(b"")

    assert ("doubtful", f"_delta_log/{1:020d}.json") in lake.said()
