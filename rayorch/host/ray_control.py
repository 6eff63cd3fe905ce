"""The client's side of a control actor on Ray."""

from collections.abc import Sequence
from typing import Any, Final

import ray

from rayorch.clock import SystemClock
from rayorch.core.facts import Fact
from rayorch.errors import ClusterError, FencedError, HomeBusyError, RayorchError
from rayorch.host.actors import control_actor
from rayorch.host.code import library_code
from rayorch.host.control import ControlActor, ControlInfo, ControlSpec, control_name
from rayorch.host.ray_cluster import connect
from rayorch.host.runner_actor import ENCODER
from rayorch.ids import RunId
from rayorch.observe.view import RunView

ANSWER_S_MAX: Final = 120.0
RESTART_S_MAX: Final = 120.0
"""How long Ray may take to restart the control actor, on another node if its own has gone."""
RETRY_S: Final = 0.2


class RayControl:
    """The control actor of a home, on the cluster that this process is connected to."""

    def __init__(
        self, home_url: str, address: str | None, slots: int | None, *, takeover: bool = False
    ) -> None:
        self._clock = SystemClock()
        self.where = connect(address, slots)
        self._spec = ControlSpec(
            home_url=home_url, name=control_name(home_url), code=library_code(), takeover=takeover
        )
        self._actor = self._found_or_started()

    def submit(self, facts: Sequence[Fact]) -> None:
        """Hand over facts."""
        payload = ENCODER.encode(list(facts))
        try:
            self._call("submit", payload)
        except FencedError:
            # It was idle when another process led this home; a fresh one takes the lead again.
            self._actor = self._replaced()
            self._call("submit", payload)

    def view(self, run: RunId) -> RunView:
        """Return where a run stands."""
        view: RunView = self._call("view", run)
        return view

    def runs(self) -> list[RunView]:
        """Return where all runs of the home stand."""
        views: list[RunView] = self._call("runs")
        return views

    def info(self) -> ControlInfo:
        """Return who leads, and where its metrics are."""
        info: ControlInfo = self._call("info")
        return info

    def wait_news(self, wait_s_max: float) -> None:
        """Wait before the next look."""
        self._clock.sleep(wait_s_max)

    def close(self) -> None:
        """Disconnect. An embedded Ray ends with it; on any other the control actor stays."""
        if self.where == "embedded":
            ray.shutdown()

    def _found_or_started(self) -> Any:  # noqa: ANN401 - Ray's handles have no type.
        self._actor = control_actor(ControlActor, self._spec.name).remote(self._spec)
        info = self.info()
        if info.spec.code == self._spec.code:
            return self._actor
        # It runs other code of this library than ours: its runners would, too.
        active = [] if info.stopped else [view.run for view in self.runs() if view.is_active]
        if active and not self._spec.takeover:
            leader = f"{info.spec.name}, pid {info.pid}, which runs another version of rayorch"
            raise HomeBusyError(self._spec.home_url, leader, active[0])
        return self._replaced()

    def _replaced(self) -> Any:  # noqa: ANN401
        """End the control actor and start one with our code; it interrupts what ran."""
        self._call("stop")
        ray.kill(self._actor, no_restart=True)
        self._actor = control_actor(ControlActor, self._spec.name).remote(self._spec)
        self.info()
        return self._actor

    def _call(self, method: str, *arguments: object) -> Any:  # noqa: ANN401
        """Call the control actor; while Ray restarts it, wait.

        What we ask for is idempotent: a run has an id, and a stop that is asked for twice stops
        once. So a call whose outcome is unknown is made again.
        """
        begun_s = self._clock.monotonic_s()
        while True:
            try:
                return self._answer(method, *arguments)
            except ray.exceptions.ActorUnavailableError as error:
                if self._clock.monotonic_s() - begun_s > RESTART_S_MAX:
                    raise ClusterError(
                        self.where, "the control actor does not come back"
                    ) from error
                self._clock.sleep(RETRY_S)

    def _answer(self, method: str, *arguments: object) -> Any:  # noqa: ANN401
        reference = getattr(self._actor, method).remote(*arguments)
        try:
            return ray.get(reference, timeout=ANSWER_S_MAX)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, RayorchError) else None
            if cause is not None:
                raise cause from None
            raise
