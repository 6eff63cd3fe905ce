"""A run handed to a cluster from outside: by a job, by way of the home, and what can go wrong.

All tests here share one Ray with its dashboard, for those who have its token.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from tests.cluster.dashboard import Cluster, cluster

COMMAND_S_MAX = 100.0
pytestmark = pytest.mark.timeout(400)
PIPELINE = """
import pyarrow as pa
import pyarrow.compute as pc
import rayorch as ro
import prices

pipeline = ro.Pipeline("nightly")
lines = pipeline.read("lines", "FOLDER/in/*.parquet")

@pipeline.map(lines)
def priced(batch: pa.Table) -> pa.Table:
    print("pricing", len(batch))
    return batch.append_column("twice", pc.multiply(batch["a"], prices.factor()))

priced.write("FOLDER/" + ro.param("out", "out"), format="parquet")
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("there")) as found:
        yield found


class Desk:
    """A user's machine: a folder with a pipeline file and what it imports, and a home."""

    def __init__(self, folder: Path, there: Cluster) -> None:
        self.folder = folder
        self.there = there
        self.home = (folder / "home").as_uri()
        (folder / "in").mkdir()
        (folder / "jobs").mkdir()
        for index in range(2):
            table = pa.table({"a": range(index * 10, index * 10 + 10)})
            pq.write_table(table, folder / "in" / f"{index}.parquet")
        self.write(PIPELINE)
        (folder / "jobs" / "prices.py").write_text("def factor():\n    return 2\n")

    def write(self, text: str, name: str = "nightly.py") -> None:
        (self.folder / "jobs" / name).write_text(text.replace("FOLDER", str(self.folder)))

    def says(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours to its end, as a user who has the token."""
        return subprocess.run(
            [sys.executable, "-m", "rayorch", *arguments],
            env={**self.there.environment, "RAYORCH_HOME": self.home, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )

    def rows(self, name: str = "out") -> list[int]:
        return sorted(ro.read((self.folder / name).as_uri()).to_table()["twice"].to_pylist())


@pytest.fixture
def desk(tmp_path: Path, there: Cluster) -> Iterator[Desk]:
    made = Desk(tmp_path, there)
    yield made
    made.says("down", "--address", there.gcs)


def test_a_file_is_submitted_followed_and_the_next_run_takes_no_job(
    desk: Desk, there: Cluster
) -> None:
    """From end to end: the job loads the file from its working directory, and what it starts
    serves all that comes later, from the command line and from Python."""
    first = desk.says("submit", "jobs/nightly.py", "--address", there.url, "--id", "first")

    assert first.returncode == 0, first.stderr
    assert "first goes to http://127.0.0.1" in first.stderr
    assert "first succeeded in" in first.stderr
    assert desk.rows() == [2 * a for a in range(20)]

    again = desk.says("submit", "jobs/nightly.py", "--address", there.url, "--id", "first")
    assert again.returncode == 2
    assert "this id is taken already. id=first" in again.stderr

    second = desk.says("submit", "jobs/nightly.py", "--set", "out=second", "--json")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["state"] == "succeeded"
    assert desk.rows("second") == [2 * a for a in range(20)]
