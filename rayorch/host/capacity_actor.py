"""The desk of a cluster's homes as a Ray actor, and Ray's autoscaler behind it.

There is one desk on a cluster, whatever the number of homes: Ray knows one standing request.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Any, Final

import ray

from rayorch.clock import SystemClock
from rayorch.errors import ClusterError
from rayorch.host.actors import capacity_actor
from rayorch.host.capacity import RENEW_S, Bundle, CapacityDesk, Part
from rayorch.observe.process_log import log_to_stderr
from rayorch.plan.labels import POOL_LABEL

NAME: Final = "rayorch-capacity-2"
"""With the version of what is said to it: another rayorch's homes speak to the same desk."""
LOOK_S: Final = 5.0
NO_LABELS: Final = (
    "the autoscaler of the cluster does not go by labels, or there is none; start its head with "
    "RAY_enable_autoscaler_v2=1 and its node types: `ray up cluster.yaml`"
)
_Said = Sequence[tuple[str, float, float, int]]

logger = logging.getLogger(__name__)


class RayAutoscaler:
    """The autoscaler of the Ray cluster that this process belongs to."""

    def request(self, bundles: Part) -> None:
        """Have machines with this room. Raises: ClusterError, while the head does not answer."""
        # It takes a second to import, which no control actor is to pay for.
        from ray.autoscaler.sdk import request_resources  # noqa: PLC0415

        wanted = [bundle for bundle, count in bundles.items() for _ in range(count)]
        try:
            request_resources(
                bundles=[_resources(bundle) for bundle in wanted],
                # By the label of its pool, which each node type has: never one with a GPU instead.
                bundle_label_selectors=[{POOL_LABEL: bundle.pool} for bundle in wanted],
            )
        except (ray.exceptions.RayError, RuntimeError) as error:
            raise ClusterError("the head", f"no machines can be asked for: {error}") from error


class CapacityActor:
    """The desk. A plain class: `actors.py` makes it a Ray actor."""

    def __init__(self) -> None:
        log_to_stderr()
        self._clock = SystemClock()
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        begins_s = self._clock.monotonic_s() + (2.0 * RENEW_S if restarted else 0.0)
        self._desk = CapacityDesk(RayAutoscaler(), begins_s)
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, name="rayorch-capacity", daemon=True).start()

    def say(self, home: str, said: _Said) -> None:
        """Take the part of a home. Raises: ClusterError; it is asked for again."""
        part = {Bundle(pool, cores, gpus): count for pool, cores, gpus, count in said}
        with self._lock:
            self._desk.say(home, part, self._clock.monotonic_s())

    def _watch(self) -> None:
        while True:
            self._clock.sleep(LOOK_S)
            try:
                with self._lock:
                    self._desk.settle(self._clock.monotonic_s())
            except ClusterError as error:
                logger.warning("cannot ask for machines yet. reason=%s", error)


class RayDesk:
    """Where the control actor of a home says its part."""

    def __init__(self, home: str) -> None:
        self._home = home

    def say(self, part: Part) -> None:
        """Say the part of this home. Whatever becomes of it, it is said again."""
        said = [(each.pool, each.cores, each.gpus, count) for each, count in part.items()]
        desk: Any = capacity_actor(CapacityActor, NAME).remote()
        desk.say.remote(self._home, said).future().add_done_callback(_note)


def why_fixed() -> str:
    """Return why no machines can be asked of the cluster of this process; "": they can."""
    from ray.autoscaler.v2.utils import is_autoscaler_v2  # noqa: PLC0415 - as above.

    return "" if is_autoscaler_v2(fetch_from_server=True) else NO_LABELS


def _resources(bundle: Bundle) -> dict[str, float]:
    return {"CPU": bundle.cores} | ({"GPU": bundle.gpus} if bundle.gpus else {})


def _note(done: Any) -> None:  # noqa: ANN401 - Ray's futures have no type.
    error = done.exception()
    if error is not None:
        logger.warning("machines are not asked for yet. reason=%s", str(error).splitlines()[0])
