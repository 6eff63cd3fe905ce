"""Who says that it leads a home: `leader.json`, a hint for people and for polite newcomers.

Safety never rests on it: the journal's fence decides. The hint keeps a second `rayorch run` from
fencing the first one by mistake.
"""

from typing import Final

import msgspec
import psutil

from connectors.errors import ObjectMissingError
from rayorch.errors import HomeBusyError
from rayorch.home import Home

KEY: Final = "leader.json"
SIGN_S: Final = 3.0
"""How often a leader with active runs renews its hint."""
FRESH_S: Final = 12.0
"""A hint that is older says nothing."""


class Leader(msgspec.Struct, frozen=True):
    """A process that leads, or led."""

    name: str  # of the control actor, or "in-process"
    machine: str
    pid: int
    at_s: float
    run: str = ""
    metrics_url: str = ""  # where it serves Prometheus metrics, on its own machine


def sign(home: Home, leader: Leader) -> None:
    """Renew the hint."""
    home.store.put(KEY, msgspec.json.encode(leader))


def unsign(home: Home) -> None:
    """Take the hint away: nothing is active."""
    home.store.delete([KEY])


def check_free(home: Home, newcomer: Leader, now_s: float) -> None:
    """Refuse a home where another process is at work.

    Raises: HomeBusyError, naming it.
    """
    try:
        found = msgspec.json.decode(home.store.get(KEY), type=Leader)
    except (ObjectMissingError, msgspec.DecodeError):
        return
    if now_s - found.at_s > FRESH_S:
        return
    same_machine = found.machine == newcomer.machine
    if same_machine and (found.pid == newcomer.pid or not psutil.pid_exists(found.pid)):
        return
    raise HomeBusyError(home.url, f"{found.name}, pid {found.pid} on {found.machine}", found.run)
