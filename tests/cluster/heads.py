"""Heads of clusters of their own, on this machine, that may be killed and started again."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from rayorch.clock import SystemClock
from rayorch.core.facts import AttemptFinished
from rayorch.home import open_home
from rayorch.host import ray_cluster
from rayorch.host.emulated import EmulatedNode, begin_node, end_nodes
from rayorch.ids import new_nonce
from rayorch.journal.log import Journal
from tests.cluster.drill import start_cli, write_input, write_pipeline
from tests.cluster.raylets import family_of, kill_family, machine_spec

TRIES_MAX: Final = 4
START_S_MAX: Final = 150.0


class Head:
    """A head without slots. Where all cores are taken, Ray's own parts give each other up."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.port = ray_cluster.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._environment = dict(environment)
        self._clock = SystemClock()
        self._starts = 0
        # Ray's socket paths must stay below 107 bytes.
        self._temp = Path(tempfile.mkdtemp(prefix="ro-head-"))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again at the same port, with what it kept."""
        for _ in range(TRIES_MAX):
            if self._comes_up():
                return
        raise AssertionError(f"no head came up, see {self._folder}")

    def family(self) -> list[psutil.Process]:
        """Return its processes that live."""
        return [] if self.process is None else family_of(self.process)

    def kill(self) -> None:
        """Kill it with all that it started: its part of Ray, and actors on it."""
        if self.process is not None:
            kill_family(self.process)
            self.process = None
        # Or Ray takes it for one that is still at work here.
        (self._temp / "ray_current_cluster").unlink(missing_ok=True)

    def close(self) -> None:
        """Kill it for good."""
        self.kill()
        shutil.rmtree(self._temp, ignore_errors=True)

    def _comes_up(self) -> bool:
        self._starts += 1
        log = self._folder / f"head-{self.port}-{self._starts}.log"
        command = ray_cluster.head_command(self.port, 0, str(self._temp))
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env=self._environment,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        begun_s = self._clock.monotonic_s()
        while not ray_cluster.is_started(self.port, log):
            if self.process.poll() is not None:
                self.kill()
                return False
            assert self._clock.monotonic_s() - begun_s < START_S_MAX, log.read_text()
            self._clock.sleep(0.1)
        return True


class Place:
    """A folder with an input, a pipeline that waits at a gate, and a home."""

    def __init__(self, folder: Path, passes: int) -> None:
        self.folder = folder
        self._clock = SystemClock()
        self.home = (folder / "home").as_uri()
        self.gate = folder / "gate"
        write_input(folder / "in")
        self.file = write_pipeline(folder, self.gate, passes)

    def cli(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command of somebody who has the clusters' token, and no warm Ray."""
        own = {"RAYORCH_HOME": self.home, "XDG_STATE_HOME": str(self.folder / "state")}
        token = os.environ["RAY_AUTH_TOKEN_PATH"]
        return start_cli(self.folder, *arguments, RAY_AUTH_TOKEN_PATH=token, **own, **environment)

    def facts(self) -> list[object]:
        """Return what the journal holds."""
        found: list[object] = []
        store = open_home(self.home).store
        Journal(store, self._clock, new_nonce).replay(lambda event: found.append(event.fact))
        return found

    def wait_for(self, kind: type[object], count: int, wait_s: float = 120.0) -> None:
        """Wait until the journal holds so many facts of a kind."""
        self.wait_until(lambda: sum(isinstance(f, kind) for f in self.facts()) >= count, wait_s)

    def wait_until(self, holds: Callable[[], bool], wait_s: float) -> None:
        """Wait until something holds."""
        begun_s = self._clock.monotonic_s()
        while not holds():
            assert self._clock.monotonic_s() - begun_s < wait_s, self.facts()[-5:]
            self._clock.sleep(0.2)

    def finished(self) -> list[int]:
        """Return the tasks that were committed, each as often as it was."""
        return sorted(f.task for f in self.facts() if isinstance(f, AttemptFinished))


@contextmanager
def cluster_of(
    folder: Path, environment: Mapping[str, str], slots: int = 2
) -> Iterator[tuple[Head, EmulatedNode]]:
    """Give a head and one machine of a cluster of their own; both end with the block."""
    clock = SystemClock()
    head = Head(folder, environment)
    nodes: list[EmulatedNode] = []
    try:
        head.start()
        nodes.append(begin_node(head.address, machine_spec("local", slots), folder))
        begun_s = clock.monotonic_s()
        while not nodes[0].is_up:
            nodes[0].check_starts()
            assert clock.monotonic_s() - begun_s < START_S_MAX, nodes[0].printed()
            clock.sleep(0.1)
        yield head, nodes[0]
    finally:
        end_nodes(nodes)
        head.close()
