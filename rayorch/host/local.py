"""A control host in this process, with runners on its threads: no Ray anywhere."""

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from rayorch.clock import Clock
from rayorch.core.facts import (
    Event,
    PlanFailed,
    PlanReady,
    PublishFailed,
    RunCancelRequested,
    RunFailed,
    RunStopRequested,
    RunSwept,
    SinkPublished,
)
from rayorch.core.machine import Machine
from rayorch.home import Home
from rayorch.host.estimating import EstimateKeeper
from rayorch.host.host import ControlHost, Observer
from rayorch.host.inprocess import POOL, InProcessExecutor
from rayorch.host.leader import this_process
from rayorch.ids import new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.logs import RunLogs
from rayorch.settings import load_cache

# What changes a run as a whole. Attempts are too many to look at one by one.
_NEWS: Final = (
    PlanFailed,
    PlanReady,
    PublishFailed,
    RunCancelRequested,
    RunFailed,
    RunStopRequested,
    RunSwept,
    SinkPublished,
)


class News:
    """Wakes who follows a host of this process when something has happened."""

    def __init__(self) -> None:
        self._happened = threading.Event()

    def saw(self, events: Sequence[Event], machine: Machine) -> None:
        """Look at events that have just been applied."""
        del machine
        if any(isinstance(event.fact, _NEWS) for event in events):
            self._happened.set()

    def wait(self, wait_s_max: float) -> None:
        """Wait until something happened since the last call, or as long as this."""
        self._happened.wait(wait_s_max)
        self._happened.clear()


def local_host(
    home: Home, clock: Clock, pools: int | Mapping[str, int], *observers: Observer
) -> tuple[ControlHost, tuple[RunLogs, EstimateKeeper]]:
    """Return a host that is not started yet, and what is to be closed after it.

    `pools` says how many runners of one core fit, in each pool or in the only one.
    """
    logs = RunLogs(home, clock)
    estimates = EstimateKeeper(home)
    host = ControlHost(
        home,
        InProcessExecutor(
            home,
            clock,
            {POOL: pools} if isinstance(pools, int) else pools,
            logs.add,
            load_cache(os.environ),
        ),
        Journal(home.store, clock, new_nonce),
        clock,
        observers=(logs, estimates, *observers),
        leader=this_process("in-process"),
    )
    return host, (logs, estimates)
