"""The process of a runner: a Ray actor around a RunnerEngine.

Control calls it in one ordered group that never blocks (`enqueue`, `revoke`, `inventory`); a call
that lasts for ever (`guard`) tells control of its death at once. The other way there is one call,
`offer`, which is also the heartbeat. A runner that control no longer knows, that nobody has called
for long, or whose home another cluster has taken over, ends by itself.
"""

import os
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import ray

from connectors.errors import ConnectorError
from rayorch.clock import Clock, SystemClock
from rayorch.core.commands import Lease
from rayorch.core.facts import Fact
from rayorch.core.sizes import Size
from rayorch.core.values import Held
from rayorch.errors import FencedError
from rayorch.home import open_home
from rayorch.host.code import code_here
from rayorch.host.draining import drain
from rayorch.host.leader import FRESH_S, read_leader
from rayorch.ids import NO_CACHE, CacheId, RunnerId
from rayorch.plan.labels import MARKET_LABEL, SPOT, pool_of_labels
from rayorch.runner.capture import LogLine
from rayorch.runner.process import tune_process
from rayorch.submit_errors import RefusedRequestError

if TYPE_CHECKING:
    from rayorch.runner.engine import RunnerEngine
    from rayorch.runner.notices import NoticeWatch

ORPHAN_S_MAX: Final = 300.0
"""How long a runner works on without a control actor before it ends."""
OFFER_S_MAX: Final = 60.0
UNSPEAKABLE: Final = 70
"""Exit status of a runner whose report cannot be encoded, or is refused."""

LEASES: Final = msgspec.msgpack.Decoder(list[tuple[Lease, bytes]])
REVOKED: Final = msgspec.msgpack.Decoder(list[Lease])
LINES: Final = msgspec.msgpack.Decoder(list[LogLine])
ENCODER: Final = msgspec.msgpack.Encoder()


class RunnerSpec(msgspec.Struct, frozen=True):
    """What a runner is started with."""

    runner: RunnerId
    home_url: str
    control: str  # the name of the control actor
    pool: str  # "": that of the node it starts on
    cores: float
    memory_bytes: int
    gpus: float = 0.0

    @property
    def size(self) -> Size:
        """How large it is."""
        return Size(self.cores, self.memory_bytes, self.gpus)


class Hello(msgspec.Struct, frozen=True):
    """What a runner says of itself."""

    spec: RunnerSpec
    held: tuple[Held, ...]
    pid: int
    node: str
    code: dict[str, str] = {}  # what it runs; one that does not say is of another time
    cache: CacheId = NO_CACHE


class RunnerActor:
    """One runner. A plain class: `actors.py` makes it a Ray actor."""

    def __init__(self, spec: RunnerSpec) -> None:
        tune_process(spec.cores)
        # Where nobody said which pool, the node says it.
        spec = spec if spec.pool else msgspec.structs.replace(spec, pool=_pool_here())
        self._spec = spec
        self._clock = SystemClock()
        self._control: Any = None
        self._home = open_home(spec.home_url)
        self._heard_s = self._clock.monotonic_s()
        self._ended = threading.Event()
        self._notices = _notices_here(self._clock)
        self._engine = self._make_engine()

    # --- called by control, in order -----------------------------------------------------------

    def hello(self) -> Hello:
        """Return what this runner is and holds."""
        self._heard_s = self._clock.monotonic_s()
        node = ray.get_runtime_context().get_node_id()
        held, code = self._engine.inventory(), dict(code_here())
        return Hello(self._spec, held, os.getpid(), node, code, self._engine.cache)

    def enqueue(self, leases: bytes) -> None:
        """Queue leases; returns at once."""
        self._engine.enqueue(LEASES.decode(leases))

    def revoke(self, leases: bytes, halt: bool) -> None:
        """Give back what has not started, or `halt` what has; returns at once."""
        self._engine.revoke(REVOKED.decode(leases), halt=halt)

    def cut(self, leases: bytes) -> None:
        """Let the attempt that runs end after what it is reading; returns at once."""
        for lease in REVOKED.decode(leases):
            self._engine.cut(lease)

    def end(self) -> None:
        """Let this process end when what runs has ended."""
        self._engine.close()
        self._ended.set()

    def guard(self) -> None:
        """Last as long as this process: its caller learns of the end at once."""
        self._ended.wait()

    # --- calls of ours -------------------------------------------------------------------------

    def _make_engine(self) -> "RunnerEngine":
        # Here: the control actor names this class, and is to be up long before it could be had.
        from rayorch.runner.engine import RunnerEngine, RunnerSettings  # noqa: PLC0415
        from rayorch.settings import load_cache  # noqa: PLC0415

        spec = self._spec
        settings = RunnerSettings(
            memory_bytes=spec.memory_bytes,
            cores=spec.cores,
            pool=spec.pool,
            cache=load_cache(os.environ),
        )
        return RunnerEngine(
            spec.runner,
            self._home,
            self._offer,
            clock=self._clock,
            settings=settings,
            log=self._log,
        )

    def _offer(self, facts: list[Fact]) -> None:
        """Hand facts to whoever leads. Raises what Ray raises: the engine tries again."""
        try:
            payload = ENCODER.encode(facts)
        except (TypeError, ValueError):
            # It would be tried again for ever. The death of this process is blamed on what it ran.
            traceback.print_exc()
            os._exit(UNSPEAKABLE)
        try:
            offer = self._leader().offer
            known = ray.get(offer.remote(self._spec.runner, payload), timeout=OFFER_S_MAX)
        except (ray.exceptions.RayError, ValueError) as error:
            # Another control actor may have the name by now.
            self._control = None
            if isinstance(error, RefusedRequestError):
                # As above: said again, it would be refused again.
                traceback.print_exc()
                os._exit(UNSPEAKABLE)
            alone_s = self._clock.monotonic_s() - self._heard_s
            if is_abandoned(alone_s, error, self._is_led_elsewhere):
                os._exit(0)
            raise
        self._heard_s = self._clock.monotonic_s()
        if not known:
            # Our leases were given away while we were silent. What we had finished has just been
            # handed in; a fresh runner takes our place.
            os._exit(0)

    def _is_led_elsewhere(self) -> bool:
        """Say whether a process that is no control actor of this cluster signs for the home."""
        cluster = ray.get_runtime_context().gcs_address
        try:
            found = read_leader(self._home)
        except ConnectorError:
            # Asked again at the next report; without an answer we end as one that is alone.
            return False
        return found is not None and not found.is_of(self._spec.control, cluster)

    def _log(self, lines: list[LogLine]) -> None:
        self._leader().log.remote(ENCODER.encode(lines))

    def _leader(self) -> Any:  # noqa: ANN401 - Ray's handles have no type.
        if self._control is None:
            self._control = ray.get_actor(self._spec.control)
        return self._control


def is_abandoned(alone_s: float, error: Exception, is_led_elsewhere: Callable[[], bool]) -> bool:
    """Say whether nobody will ask any more for a runner that has not been heard for so long.

    A successor on this cluster asks for it by name, and soon; one of another cluster never can.
    """
    if alone_s > ORPHAN_S_MAX:
        return True
    return isinstance(error, FencedError) and alone_s > FRESH_S and is_led_elsewhere()


def _pool_here() -> str:
    return pool_of_labels(_labels_here())


def _labels_here() -> Mapping[str, str]:
    # Its annotation says lists; the labels are text.
    labels: Any = ray.get_runtime_context().get_node_labels()
    return labels  # type: ignore[no-any-return]


def _notices_here(clock: Clock) -> "NoticeWatch | None":
    """Watch for what the cloud says of this machine, if it may be taken back.

    A notice becomes a drain of the node: every control actor of the cluster sees that.
    """
    if _labels_here().get(MARKET_LABEL) != SPOT:
        return None
    from rayorch.runner.notices import NoticeWatch, found_notices  # noqa: PLC0415
    from rayorch.settings import load_metadata  # noqa: PLC0415

    node = ray.get_runtime_context().get_node_id()
    metadata = load_metadata(os.environ)
    watch = NoticeWatch(
        lambda: found_notices(metadata, clock),
        lambda notice: drain(node, notice.reason, notice.until_s),
        Path(tempfile.gettempdir()) / f"rayorch-notices-{os.getuid()}-{node}.lock",
    )
    watch.start()
    return watch


def encode_leases(leases: Sequence[tuple[Lease, bytes]]) -> bytes:
    """Return leases as `enqueue` takes them."""
    return ENCODER.encode(leases)
