"""A cluster of processes on this machine that may be hurt: a head, and machines that come and go.

Nothing here talks to Ray: processes are found by their parents and by the title that Ray gives
them, so that whoever hurts the cluster does not depend on it.
"""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from rayorch.clock import SystemClock
from rayorch.host.emulated import EmulatedNode, begin_node
from tests.cluster.heads import Head
from tests.cluster.raylets import machine_spec

MACHINES: Final = 2
SLOTS: Final = 2
START_S_MAX: Final = 150.0
RUNNER: Final = "ray::RunnerActor"
CONTROL: Final = "ray::ControlActor"


class Cluster:
    """A head without slots, and machines with two each; those that are gone are replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.machines: list[EmulatedNode] = []
        self._old: list[EmulatedNode] = []
        self._head: Head | None = None
        self._count = 0
        self._frozen: set[int] = set()
        self._timers: list[threading.Timer] = []
        self.address = ""

    # --- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a head, then its machines."""
        self._head = Head(self.folder, os.environ)
        self.address = self._head.address
        self._head.start()
        begun_s = self.clock.monotonic_s()
        while len(self.machines) < MACHINES or not self.machines[-1].is_up:
            assert self.clock.monotonic_s() - begun_s < START_S_MAX, "no machine came up"
            self.tend()
            self.clock.sleep(0.05)

    def tend(self) -> None:
        """Replace machines that are gone, one at a time: a start takes all cores."""
        for gone in [each for each in self.machines if each.has_ended]:
            gone.kill()
            self.machines.remove(gone)
        if len(self.machines) < MACHINES and all(each.is_up for each in self.machines):
            self._count += 1
            name = f"m{self._count}"
            self.machines.append(
                begin_node(self.address, machine_spec("local", SLOTS, name), self.folder)
            )

    def kill_head(self, *, with_machines: bool) -> None:
        """Kill the head; its machines may live on for a while, without anybody who leads them."""
        assert self._head is not None
        self._head.close()
        if with_machines:
            self._kill_machines(self.machines)
        self._old += self.machines
        self.machines = []

    def bury_old(self) -> None:
        """Kill machines of a cluster that is gone."""
        self._kill_machines(self._old)
        self._old = []

    def stop(self) -> None:
        """End all of it."""
        self.go_on()
        if self._head is not None:
            self.kill_head(with_machines=True)
        self.bury_old()

    def _kill_machines(self, machines: list[EmulatedNode]) -> None:
        for machine in machines:
            machine.kill()

    # --- what runs -----------------------------------------------------------------------------

    def runners(self) -> list[psutil.Process]:
        """Return the processes of runners, those of machines that lost their head, too."""
        return self._titled(RUNNER)

    def control(self) -> list[psutil.Process]:
        """Return the process of the control actor, wherever it is."""
        return self._titled(CONTROL)

    def _titled(self, title: str) -> list[psutil.Process]:
        assert self._head is not None
        found = self._head.family()
        for each in self.machines:
            found += each.family()
        return [each for each in found if _title(each).startswith(title)]

    # --- hurt ----------------------------------------------------------------------------------

    def freeze(self, processes: list[psutil.Process], for_s: float) -> None:
        """Stop processes, and let them go on after a while."""
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
                self._frozen.add(process.pid)
        timer = threading.Timer(for_s, self.go_on, [[each.pid for each in processes]])
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def go_on(self, pids: list[int] | None = None) -> None:
        """Let frozen processes go on."""
        for pid in list(self._frozen) if pids is None else pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            self._frozen.discard(pid)


def _title(process: psutil.Process) -> str:
    try:
        return (process.cmdline() or [""])[0]
    except psutil.Error:
        return ""
