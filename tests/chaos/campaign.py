"""Many seeds, one after the other: on local files, on a real S3 server, or on both in turn."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rayorch.host import ray_cluster
from rayorch.ids import new_nonce
from tests.chaos.faults import Where
from tests.chaos.machines import Cluster
from tests.chaos.play import Play, Verdict
from tests.chaos.work import write_input
from tests.s3_server import S3Server, running_s3

HOME_RUNS: Final = 10
"""Runs that share a home, a cluster and its runners."""


def play(seeds: Sequence[int], where: Where) -> Iterator[Verdict]:
    """Yield what came of each seed."""
    for first in range(0, len(seeds), HOME_RUNS):
        with stage(where) as (cluster, root, server):
            for seed in seeds[first : first + HOME_RUNS]:
                yield Play(cluster, root, server, seed).play()


@contextmanager
def stage(where: Where) -> Iterator[tuple[Cluster, str, S3Server | None]]:
    """Give a cluster, and the URL of a folder with the input."""
    folder = Path(tempfile.mkdtemp(prefix="rayorch-chaos-"))
    before = dict(os.environ)
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        ending.callback(_set_environment, before)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        server = None
        root = (folder / "root").as_uri()
        if where == "s3":
            server = ending.enter_context(running_s3(folder / "s3"))
            os.environ.update(server.environment())
            root = f"{server.url}/{new_nonce()}"
        ray_cluster.set_environment()
        write_input(f"{root}/in")
        cluster = Cluster(folder)
        ending.callback(cluster.stop)
        cluster.start()
        yield cluster, root, server


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)
