"""The control actor: a Ray actor around a ControlHost.

Async, so that a thousand runners and clients can wait for their answers at once; the host's own
thread does the work. Ray restarts the actor empty after its process or node died: it then replays
the journal, takes the lead under a new epoch, and finds the runners that are still there.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import Sequence
from typing import Final

import msgspec
import ray

from connectors.errors import ConnectorError, StoreUnavailableError, StoreUnsureError
from rayorch.clock import SystemClock
from rayorch.core.facts import Fact
from rayorch.errors import JournalStuckError, RayorchError
from rayorch.failpoints import failpoint
from rayorch.home import Home, open_home
from rayorch.host.code import code_here
from rayorch.host.estimating import EstimateKeeper
from rayorch.host.host import ControlHost
from rayorch.host.intake import client_facts, runner_facts
from rayorch.host.leader import read_leader, this_process
from rayorch.host.ray_executor import CONTROL_PREFIX, RayExecutor
from rayorch.host.runner_actor import LINES
from rayorch.ids import RunId, RunnerId, new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.logs import RunLogs
from rayorch.observe.metrics import Metrics
from rayorch.observe.process_log import log_to_stderr
from rayorch.observe.view import RunView

PREFIX: Final = "rayorch"
PASSING: Final = (JournalStuckError, StoreUnavailableError, StoreUnsureError)
"""Of a store that does not answer: it may, later."""

logger = logging.getLogger(__name__)


class ControlSpec(msgspec.Struct, frozen=True):
    """What the control actor of a home is started with."""

    home_url: str
    name: str
    code: str  # fingerprint of this library: another one's control actor is not ours to use
    metrics_port: int = 0
    takeover: bool = False
    serves: bool = False  # clients that come by way of the home
    packages: str = ""  # fingerprint of those that were installed for it; "": the cluster's


class ControlInfo(msgspec.Struct, frozen=True):
    """What the control actor says of itself."""

    spec: ControlSpec
    epoch: int
    metrics_url: str
    pid: int
    stopped: bool = False  # it was fenced, and leads no more


def control_name(home_url: str) -> str:
    """Return the name of a home's control actor."""
    digest = hashlib.blake2b(home_url.encode(), digest_size=6).hexdigest()
    return f"{CONTROL_PREFIX}{digest}"


def runner_prefix(home_url: str) -> str:
    """Return what the names of a home's runners begin with."""
    digest = hashlib.blake2b(home_url.encode(), digest_size=6).hexdigest()
    return f"{PREFIX}-runner-{digest}-"


class ControlActor:
    """Leads one home. A plain class: `actors.py` makes it a Ray actor."""

    def __init__(self, spec: ControlSpec) -> None:
        log_to_stderr()
        self._spec = spec
        clock = SystemClock()
        home = open_home(spec.home_url)
        self._executor = RayExecutor(
            spec.home_url, spec.name, runner_prefix(spec.home_url), clock, new_nonce, code_here()
        )
        self._logs = RunLogs(home, clock)
        self._estimates = EstimateKeeper(home)
        self._metrics = Metrics()
        self._metrics_url = self._metrics.serve(spec.metrics_port)
        self._host = ControlHost(
            home,
            self._executor,
            Journal(home.store, clock, new_nonce),
            clock,
            observers=(self._metrics, self._logs, self._estimates),
            leader=msgspec.structs.replace(
                this_process(spec.name),
                metrics_url=self._metrics_url,
                cluster=ray.get_runtime_context().gcs_address,
            ),
        )
        self._host.halted = _end_if_passing
        # After a restart by Ray the cluster is the same: its runners still work for us.
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        self._refused: RayorchError | ConnectorError | None = None
        try:
            if spec.serves or _served(home, spec.name):
                self._host.serve()
            self._host.start(interrupts=not restarted, takeover=spec.takeover)
        except (RayorchError, ConnectorError) as error:
            # Raised from here, it would reach nobody but as a part of Ray's own text.
            logger.exception("cannot lead")
            if restarted:
                # Nobody may be there to be told: the client that asked for it went long ago.
                _end_if_passing(error)
            self._refused = error

    async def info(self) -> ControlInfo:
        """Say who leads, and where its metrics are. Raises: what made it unable to lead."""
        if self._refused is not None:
            raise self._refused
        stopped = self._host.stopped_by is not None
        return ControlInfo(self._spec, self._host.epoch, self._metrics_url, os.getpid(), stopped)

    async def offer(self, runner: RunnerId, facts: bytes) -> bool:
        """Take a runner's facts; return, once they are durable, whether it is still one of ours.

        Raises: FencedError, when another control actor leads; RefusedRequestError.
        """
        said = runner_facts(runner, runner_prefix(self._spec.home_url), facts)
        known = self._executor.heard(runner)
        await self._settled(said)
        return known

    async def submit(self, facts: bytes) -> None:
        """Take a client's facts; return once they are durable. Raises: RefusedRequestError."""
        await self._settled(client_facts(facts))

    async def log(self, lines: bytes) -> None:
        """Take what users' functions printed."""
        self._logs.add(LINES.decode(lines))

    async def view(self, run: RunId) -> RunView:
        """Return where a run stands. Raises: UnknownRunError, FencedError."""
        self._check_leads()
        return self._host.view(run)

    async def runs(self) -> list[RunView]:
        """Return where all runs stand. Raises: FencedError."""
        self._check_leads()
        return self._host.runs()

    async def release_idle(self) -> None:
        """Give back the cores of our runners if no run of ours needs them."""
        self._host.release_idle()

    async def serve(self) -> None:
        """Serve clients that come by way of the home from now on."""
        self._host.serve()

    async def stop(self) -> None:
        """Stop leading; the runs stay as they are."""
        await asyncio.to_thread(self._host.stop)
        self._logs.close()
        self._estimates.close()
        self._metrics.close()

    def _check_leads(self) -> None:
        reason = self._refused or self._host.stopped_by
        if reason is not None:
            raise reason

    async def _settled(self, facts: Sequence[Fact]) -> None:
        self._check_leads()
        if not facts:
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(_set, done, error)

        self._host.offer(facts, settle)
        await done


def _end_if_passing(error: BaseException) -> None:
    """End this process where the store is out: Ray starts another, until one of them can lead.

    What a half-done replay or a lead that was lost has left behind goes with it, and runs go on
    when the store does, though nobody comes to resume them.
    """
    if isinstance(error, PASSING):
        logger.error("ends, to be started again by Ray: the store does not answer")
        logging.shutdown()
        failpoint("control.unanswered")
        os._exit(1)


def _served(home: Home, name: str) -> bool:
    """Say whether the process before this one, of the same actor, had been told to serve."""
    before = read_leader(home)
    return before is not None and before.name == name and before.serves


def _set(done: "asyncio.Future[None]", error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
