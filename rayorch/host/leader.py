"""Who says that it leads a home: `leader.json`, a hint for people and for polite newcomers.

Safety never rests on it: the journal's fence decides. The hint keeps a second `rayorch run` from
fencing the first one by mistake.
"""

import os
import socket
from typing import Final

import msgspec
import psutil

from connectors.errors import ObjectMissingError
from rayorch.clock import Clock
from rayorch.errors import HomeBusyError
from rayorch.home import Home
from rayorch.host.code import library_code, python_version
from rayorch.journal.log import Journal

KEY: Final = "leader.json"
SIGN_S: Final = 3.0
"""How often a leader with active runs renews its hint."""
SIGN_S_IDLE: Final = 5.0
"""How often one that only serves clients does. On S3 that costs 9 cents a day."""
FRESH_S: Final = 12.0
"""A hint that is older says nothing."""
LOOK_S: Final = 1.0
"""Between looks whether somebody renews a hint."""


class Leader(msgspec.Struct, frozen=True):
    """A process that leads, or led."""

    name: str  # of the control actor, or "in-process"
    machine: str
    pid: int
    at_s: float
    run: str = ""
    metrics_url: str = ""  # where it serves Prometheus metrics, on its own machine
    serves: bool = False  # it also signs while nothing is active, and looks for requests
    code: str = ""  # fingerprint of its rayorch: a program of another one is not for it
    python: str = ""  # as "3.11", which programs are pickled for
    cluster: str = ""  # the address of the Ray that it is an actor of

    def is_of(self, name: str, cluster: str) -> bool:
        """Say whether it is the control actor of this name on this cluster, or was before it."""
        return (self.name, self.cluster) == (name, cluster)


def this_process(name: str) -> Leader:
    """Return how this process signs as a leader."""
    return Leader(
        name=name,
        machine=socket.gethostname(),
        pid=os.getpid(),
        at_s=0.0,
        code=library_code(),
        python=python_version(),
    )


def sign(home: Home, leader: Leader) -> None:
    """Renew the hint."""
    home.store.put(KEY, msgspec.json.encode(leader))


class Signer:
    """Signs for one leader, as long as there is something to sign for."""

    def __init__(self, home: Home, clock: Clock, journal: Journal, leader: Leader) -> None:
        self.leader = leader
        self._home = home
        self._journal = journal
        self._clock = clock
        self._signed_s = 0.0

    def renew(self, active: str) -> None:
        """Say, while a run is active or clients are served, that we are at work here.

        Raises: FencedError.
        """
        now_s = self._clock.monotonic_s()
        pause_s = SIGN_S if active else SIGN_S_IDLE
        if not (active or self.leader.serves):
            if self._signed_s:
                self.take_away()
        elif now_s - self._signed_s > pause_s:
            # First: a leader that was superseded while it had nothing to append must not sign.
            self._journal.check_lead()
            self._journal.mark()
            self._signed_s = now_s
            at_s = self._clock.now_s()
            sign(self._home, msgspec.structs.replace(self.leader, at_s=at_s, run=active))

    def take_away(self) -> None:
        """Take the hint away, if there is one of ours, and note how far the journal goes."""
        if self._signed_s:
            self._signed_s = 0.0
            unsign(self._home)
        self._journal.mark()


def unsign(home: Home) -> None:
    """Take the hint away: nothing is active."""
    home.store.delete([KEY])


def read_leader(home: Home) -> Leader | None:
    """Return who signed last, however long ago; None: nobody who is there."""
    try:
        return msgspec.json.decode(home.store.get(KEY), type=Leader)
    except (ObjectMissingError, msgspec.DecodeError):
        return None


def check_free(home: Home, newcomer: Leader, now_s: float) -> None:
    """Refuse a home where another process is at work.

    Raises: HomeBusyError, naming it.
    """
    found = read_leader(home)
    if found is None or now_s - found.at_s > FRESH_S:
        return
    same_machine = found.machine == newcomer.machine
    if same_machine and (found.pid == newcomer.pid or not psutil.pid_exists(found.pid)):
        return
    raise _busy(home, found)


def check_not_taken(home: Home, ours: Leader, clock: Clock) -> None:
    """Refuse to lead on after a restart where another cluster has taken the home over meanwhile.

    Whoever took it over is at work, and renews its hint; the last words of one that is dead grow
    old. Raises: HomeBusyError, naming it.
    """
    first = found = read_leader(home)
    while found is not None and not found.is_of(ours.name, ours.cluster):
        assert first is not None
        if clock.now_s() - found.at_s > FRESH_S:
            return
        if found.at_s > first.at_s:
            raise _busy(home, found)
        clock.sleep(LOOK_S)
        found = read_leader(home)


def _busy(home: Home, found: Leader) -> HomeBusyError:
    return HomeBusyError(home.url, f"{found.name}, pid {found.pid} on {found.machine}", found.run)
