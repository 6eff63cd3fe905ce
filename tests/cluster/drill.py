"""What every fault test needs: a pipeline over known data, and an oracle that looks at the data."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

import rayorch as ro
from rayorch import client
from rayorch.client import Connection, Control
from rayorch.clock import SystemClock
from rayorch.core.facts import AttemptFinished, Event
from rayorch.home import open_home
from rayorch.host import ray_cluster
from rayorch.host.control import control_name, runner_prefix
from rayorch.host.ray_control import RayControl
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.view import RunView
from rayorch.settings import Settings
from tests.cluster.functions import doubled
from tests.cluster.raylets import kill_family
from tests.warm_ray import end_actors

FILES = 12
ROWS = 500
FOLLOW_S_MAX = 90.0


PIPELINE = """
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import rayorch as ro

pipeline = ro.Pipeline("drill")
rows = pipeline.read("rows", "{rows}", split="file")

@pipeline.map(rows, output="mapped")
def mapped(table: pa.Table) -> pa.Table:
    while table["file"][0].as_py() >= {passes} and not Path("{gate}").exists():
        time.sleep(0.01)
    return table.append_column("double", pc.multiply(table["id"], 2))

mapped.write("{out}", format="parquet")
"""


class Drill:
    """One home, one input, one output."""

    def __init__(self, folder: Path, address: str, failpoint_file: Path) -> None:
        self.folder = folder
        self.home_url = (folder / "home").as_uri()
        self.failpoint_file = failpoint_file
        self.clock = SystemClock()
        settings = Settings(home=self.home_url, executor="ray", ray_address=address)
        self.at = Connection(open_home(self.home_url), self.clock, settings)
        self._stopped: list[int] = []
        write_input(folder / "in")

    # --- the work ------------------------------------------------------------------------------

    def control(
        self, *, takeover: bool = False, places: Sequence[Mapping[str, str]] = ()
    ) -> RayControl:
        """Find or start this home's control actor."""
        address = self.at.settings.ray_address
        return RayControl(self.home_url, address, None, takeover=takeover, places=places)

    def pipeline(
        self, function: Callable[[pa.Table], pa.Table] | None = None, form: str = "parquet"
    ) -> ro.Pipeline:
        """Return a pipeline of one map, a task for each file."""
        pipeline = ro.Pipeline("drill", retry=ro.RetryPolicy(backoff_s=0.05))
        rows = pipeline.read("rows", str(self.folder / "in" / "*.parquet"), split="file")
        mapped = pipeline.map(rows, output="mapped")(function or doubled)
        mapped.write((self.folder / "out").as_uri(), format=form)
        return pipeline

    def pipeline_file(self, gate: Path, passes: int = 0) -> Path:
        """Write the pipeline as a file, its map waiting for the gate."""
        return write_pipeline(self.folder, gate, passes)

    def submit(self, control: RayControl, pipeline: ro.Pipeline | None = None) -> RunId:
        """Begin a run."""
        return client.submit_run(self.at, control, pipeline or self.pipeline())

    def follow(self, control: Control, run: RunId) -> RunView:
        """Follow the run to its end."""
        begun_s = self.clock.monotonic_s()
        for view in client.follow(self.at, control, run):
            assert self.clock.monotonic_s() - begun_s < FOLLOW_S_MAX, view
        return view

    def wait_until(self, holds: Callable[[], Any], what: str, wait_s: float = 30.0) -> Any:
        """Return what `holds` returns, once it is true."""
        begun_s = self.clock.monotonic_s()
        while not (found := holds()):
            assert self.clock.monotonic_s() - begun_s < wait_s, f"never happened: {what}"
            self.clock.sleep(0.02)
        return found

    # --- the hurt ------------------------------------------------------------------------------

    def arm(self, point: str, action: str = "kill") -> Path:
        """Let the first process that comes to a failpoint die (or stop) there; return its mark."""
        mark = self.folder / f"{point}.mark"
        self.failpoint_file.write_text(f"{point}={action}:once:{mark}")
        return mark

    def pid_of(self, mark: Path) -> int:
        """Return the pid of the process that a failpoint took."""
        text = self.wait_until(lambda: mark.exists() and mark.read_text().strip(), f"{mark.name}")
        return int(text)

    def note_stopped(self, pid: int) -> None:
        """Remember a frozen process, to let it go on at the end at the latest."""
        self._stopped.append(pid)

    def own_state(self) -> dict[str, str]:
        """Return the environment of somebody who has no warm Ray."""
        return {"XDG_STATE_HOME": str(self.folder / "state")}

    def resume_stopped(self) -> None:
        """Let frozen processes go on."""
        for pid in self._stopped:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGCONT)
        self._stopped.clear()

    def answering(self, frozen: int) -> list[int]:
        """Return the pid of a runner that answers now, and is not being frozen; or nothing."""
        ray, prefix = ray_cluster.import_ray(), runner_prefix(self.home_url)
        runners = [ray.get_actor(n) for n in ray.util.list_named_actors() if n.startswith(prefix)]
        asked = [each.hello.remote() for each in runners]
        answered, _ = ray.wait(asked, num_returns=1, timeout=2.0) if asked else ((), ())
        pids = [each.pid for each in ray.get(list(answered))]
        return [pid for pid in pids if pid != frozen]

    def end_runner(self, pid: int) -> None:
        """End what this home has on the cluster, and wait until this process is gone."""
        end_actors(control_name(self.home_url), runner_prefix(self.home_url))
        self.wait_until(lambda: not psutil.pid_exists(pid), "the runner ended")

    # --- the oracle ----------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """Return what the journal holds."""
        found: list[Event] = []
        Journal(self.at.home.store, self.clock, new_nonce).replay(found.append)
        return found

    def committed(self) -> set[int]:
        """Return the tasks whose output the journal holds."""
        return {e.fact.task for e in self.events() if isinstance(e.fact, AttemptFinished)}

    def check_output(self, view: RunView) -> None:
        """The output is what an undisturbed run writes, each row once, and nothing else is left."""
        assert view.state == "succeeded", view.error
        check_rows(self.folder / "out")
        assert not self.orphans(), "files that no commit names were left"

    def orphans(self) -> set[str]:
        """Return data files in the output folder that readers do not see."""
        out = self.folder / "out"
        seen = {Path(path).name for path in ro.read(out.as_uri()).files}
        return {path.name for path in out.rglob("*.parquet")} - seen - checkpoint_names(out)


def checkpoint_names(out: Path) -> set[str]:
    """Return the files of a Delta log that are Parquet but no data."""
    return {path.name for path in (out / "_delta_log").rglob("*.parquet")}


def write_pipeline(folder: Path, gate: Path, passes: int = 0) -> Path:
    """Write a pipeline over the input that lies in a folder, its map waiting for a gate."""
    file = folder / "pipeline.py"
    file.write_text(
        PIPELINE.format(
            rows=str(folder / "in" / "*.parquet"),
            out=(folder / "out").as_uri(),
            gate=str(gate),
            passes=passes,
        )
    )
    return file


def write_input(folder: Path) -> None:
    """Write files of known content: ids that never repeat."""
    folder.mkdir()
    for index in range(FILES):
        ids = pa.array(range(index * ROWS, (index + 1) * ROWS), pa.int64())
        table = pa.table({"id": ids, "file": pa.array([index] * ROWS, pa.int32())})
        pq.write_table(table, folder / f"{index:03d}.parquet")


def check_rows(out: Path) -> None:
    """Each row once, with the right values."""
    table = ro.read(out.as_uri()).to_table().sort_by("id")
    assert table["id"].to_pylist() == list(range(FILES * ROWS))
    assert table["double"].to_pylist() == [2 * i for i in range(FILES * ROWS)]


def start_cli(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rayorch", *arguments],
        env={**os.environ, **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_tree(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and all that it started."""
    kill_family(process)
    process.communicate()
