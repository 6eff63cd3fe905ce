"""What the drills run inside runners. Shipped by value: runners do not import the tests."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import rayorch as ro


def doubled(table: pa.Table) -> pa.Table:
    """The work itself."""
    return table.append_column("double", pc.multiply(table["id"], 2))


def raises_on_file_7(table: pa.Table) -> pa.Table:
    """Fail on one of the inputs, every time."""
    if table["file"][0].as_py() == 7:
        raise ValueError("row group 7 is bad")
    return doubled(table)


def kills_on_file_3(table: pa.Table) -> pa.Table:
    """Take the runner down on one of the inputs, every time."""
    if table["file"][0].as_py() == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return doubled(table)


def waits_for(gate: Path, passes: int = 0) -> Callable[[pa.Table], pa.Table]:
    """Return the work, which waits for a file to appear, but on the first inputs."""

    def waiting(table: pa.Table) -> pa.Table:
        while table["file"][0].as_py() >= passes and not gate.exists():
            time.sleep(0.01)  # noqa: TID251 - users' code, which takes no Clock.
        return doubled(table)

    return waiting


def kills_once(mark: Path) -> Callable[[pa.Table], pa.Table]:
    """Return the work, which takes its runner down the first time that it is called anywhere."""

    def killing(table: pa.Table) -> pa.Table:
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return doubled(table)
        os.kill(os.getpid(), signal.SIGKILL)
        return table

    return killing


def passes_then_waits(folder: Path, passes: int) -> Callable[[pa.Table], pa.Table]:
    """Return the work, which waits for a gate but in so many calls, wherever they are made."""

    def waiting(table: pa.Table) -> pa.Table:
        for ticket in range(passes):
            try:
                (folder / f"ticket-{ticket}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return doubled(table)
        while not (folder / "gate").exists():
            time.sleep(0.01)  # noqa: TID251 - users' code, which takes no Clock.
        return doubled(table)

    return waiting


def notes_batches(folder: Path, passes: int) -> Callable[[pa.Table], pa.Table]:
    """Return work that notes its node and first row, and waits for a gate after so many batches."""

    def noting(table: pa.Table) -> pa.Table:
        import ray  # noqa: PLC0415 - it runs where Ray is.

        if table.num_rows == 0:
            return table
        notes = folder / str(os.getpid())
        done = len(notes.read_text().splitlines()) if notes.exists() else 0
        while done >= passes and not (folder.parent / "gate").exists():
            time.sleep(0.01)  # noqa: TID251 - users' code, which takes no Clock.
        node = ray.get_runtime_context().get_node_id()
        with notes.open("a") as file:
            file.write(f"{node} {table['id'][0].as_py()}\n")
        return table

    return noting


def notes_place(folder: Path, count: int, lasts_s: float) -> Callable[[pa.Table], pa.Table]:
    """Return work that notes its process, its pool and the GPUs that it sees.

    It lasts until so many processes are at it, and then for so long.
    """

    def noting(table: pa.Table) -> pa.Table:
        import ray  # noqa: PLC0415 - it runs where Ray is.

        if table.num_rows:
            pool = ray.get_runtime_context().get_node_labels().get("pool", "")
            sees = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            (folder / f"{os.getpid()}@{pool}@{sees}").touch()
            while len(list(folder.iterdir())) < count:
                time.sleep(0.05)  # noqa: TID251 - users' code, which takes no Clock.
            time.sleep(lasts_s)  # noqa: TID251 - as above.
        return table

    return noting


def padded(table: pa.Table) -> pa.Table:
    """Give all rows one key, and so many bytes that no task takes them all."""
    pad = pa.repeat("x" * 4000, table.num_rows)
    return table.append_column("k", pa.repeat(0, table.num_rows)).append_column("pad", pad)


def notes_starts(notes: Path, lasts_s: float, short: int) -> Callable[[pa.Table], pa.Table]:
    """Return work that notes when it began, and lasts for so long.

    The first tasks are shorter, so many and each by another part: not all end at one moment.
    """

    def noting(table: pa.Table) -> pa.Table:
        if table.num_rows:
            first = table[0][0].as_py()
            (notes / f"{time.time()}-{first}").touch()  # noqa: TID251 - users' code: no Clock.
            time.sleep(lasts_s * min(1.0, (first + 1) / short))  # noqa: TID251 - as above.
        return table

    return noting


def meets(folder: Path, count: int) -> Callable[[pa.Table], pa.Table]:
    """Return work that lasts until so many tasks are at it at once."""

    def meeting(table: pa.Table) -> pa.Table:
        if table.num_rows:
            (folder / str(table[0][0].as_py())).touch()
            while len(list(folder.iterdir())) < count:
                time.sleep(0.05)  # noqa: TID251 - users' code, which takes no Clock.
        return table

    return meeting


def visits(port: int) -> Callable[[pa.Table], pa.Table]:
    """Return work that is known to a server for as long as it lasts."""

    def visiting(table: pa.Table) -> pa.Table:
        import socket  # noqa: PLC0415 - it travels by value.

        if table.num_rows:
            with socket.create_connection(("127.0.0.1", port), timeout=60.0) as visit:
                assert visit.recv(1) == b"+"
                time.sleep(0.1)  # noqa: TID251 - users' code, which takes no Clock.
                # Until the server has noted it: hanging up alone may be seen after the next call.
                visit.shutdown(socket.SHUT_WR)
                assert visit.recv(1) == b"-"
        return table

    return visiting


def takes_by_speed(seconds: float) -> Callable[[pa.Table], pa.Table]:
    """Return work that lasts for so long on a node of speed 1, as the node's label says."""

    def taking(table: pa.Table) -> pa.Table:
        import ray  # noqa: PLC0415 - it runs where Ray is.

        if table.num_rows:
            labels: Any = ray.get_runtime_context().get_node_labels()
            time.sleep(seconds / float(labels["speed"]))  # noqa: TID251 - users' code.
        return table

    return taking


class Piled(ro.Aggregate):
    """How many rows there are, with a state so large that it is merged in pieces first."""

    returns = pa.int64()

    def __init__(self, work: Callable[[pa.Table], pa.Table]) -> None:
        self.work = work

    def create(self) -> tuple[int, bytes]:
        return 0, b""

    def update(self, state: tuple[int, bytes], rows: pa.Table) -> tuple[int, bytes]:
        return state[0] + rows.num_rows, os.urandom(2 << 20)

    def merge(self, one: tuple[int, bytes], other: tuple[int, bytes]) -> tuple[int, bytes]:
        self.work(pa.table({"id": [0]}))
        return one[0] + other[0], other[1]

    def finish(self, state: tuple[int, bytes]) -> int:
        return state[0]
