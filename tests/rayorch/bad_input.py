"""A pipeline of a test, what its author is told when it fails, and what is visible then."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from connectors.data_errors import NoFilesError
from rayorch.client import run
from rayorch.errors import RunFailedError

ROWS = pa.table({"id": list(range(1000)), "name": [f"name {i}" for i in range(1000)]})


class Job:
    """One pipeline in a folder of its own: it reads `in` and writes `out`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = folder / "in"
        self.out = folder / "out"
        self.inputs.mkdir()
        self.pipeline = ro.Pipeline("bad")

    def put(self, name: str, content: pa.Table | bytes | str = ROWS) -> Path:
        """Put a file among the inputs."""
        path = self.inputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content)
        else:
            pq.write_table(content, path)
        return path

    def read(self, *, one_task_a_file: bool = False) -> ro.Dataset:
        """Read all of the inputs."""
        return self.pipeline.read(
            "lines", str(self.inputs), split="file" if one_task_a_file else "auto"
        )

    def succeed(self) -> None:
        """Run the pipeline."""
        run(self.pipeline, home=str(self.folder / "home"), executor="in-process", display=None)

    def output(self, url: Path | None = None) -> pa.Table:
        """Run the pipeline and return what it wrote."""
        self.succeed()
        return self.visible(url)

    def visible(self, url: Path | None = None) -> pa.Table:
        """Return what readers see."""
        return ro.read(str(url or self.out)).to_table()

    def failure(self) -> str:
        """Run the pipeline; return what its author is told, without paths of this machine.

        Nothing of it may be visible then, whatever was written.
        """
        text = self.plan_failure()
        self.assert_nothing_is_visible()
        return text

    def plan_failure(self) -> str:
        """Run the pipeline; return what its author is told of outputs that cannot even be read."""
        with pytest.raises(RunFailedError) as caught:
            self.succeed()
        return self.plain(str(caught.value))

    def plain(self, text: str) -> str:
        """Return a text without what is another one each time."""
        text = text.replace(str(self.folder), "FOLDER")
        text = re.sub(rf"{re.escape(os.path.dirname(__file__))}/\w+\.py:\d+", "FILE:LINE", text)
        return re.sub(r"run \S+ failed", "failed", text)

    def assert_nothing_is_visible(self) -> None:
        """A Delta table has a log or is none; what lies beside it is nobody's."""
        for spec in self.pipeline.spec().writes:
            with pytest.raises(NoFilesError):
                ro.read(spec.url, "delta" if spec.format == "delta" else None)
