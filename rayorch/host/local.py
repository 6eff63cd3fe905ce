"""A control host in this process, with runners on its threads: no Ray anywhere."""

import os
import socket

from rayorch.clock import Clock
from rayorch.home import Home
from rayorch.host.host import ControlHost
from rayorch.host.inprocess import InProcessExecutor
from rayorch.host.leader import Leader
from rayorch.ids import new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.logs import RunLogs


def local_host(home: Home, clock: Clock, slots: int) -> tuple[ControlHost, RunLogs]:
    """Return a host that is not started yet, and its log."""
    logs = RunLogs(home, clock)
    host = ControlHost(
        home,
        InProcessExecutor(home, clock, slots, logs.add),
        Journal(home.store, clock, new_nonce),
        clock,
        observers=(logs,),
        leader=this_process("in-process"),
    )
    return host, logs


def this_process(name: str) -> Leader:
    """Return how this process signs as a leader."""
    return Leader(name=name, machine=socket.gethostname(), pid=os.getpid(), at_s=0.0)
