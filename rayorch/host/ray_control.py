"""The client's side of a control actor on Ray."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ray

from connectors.errors import ConnectorError
from rayorch.clock import SystemClock
from rayorch.core.facts import Fact
from rayorch.errors import ClusterError, FencedError, HomeBusyError, RayorchError
from rayorch.host.actors import control_actor
from rayorch.host.code import library_code
from rayorch.host.control import (
    ControlActor,
    ControlInfo,
    ControlSpec,
    control_name,
    runner_prefix,
)
from rayorch.host.job_environment import keep_packages_alone
from rayorch.host.ray_cluster import connect
from rayorch.host.ray_nodes import control_places
from rayorch.host.runner_actor import ENCODER
from rayorch.ids import RunId
from rayorch.observe.view import RunView
from rayorch.submit_errors import SubmitError

ANSWER_S_MAX: Final = 120.0
RESTART_S_MAX: Final = 120.0
"""How long Ray may take to restart the control actor, on another node if its own has gone."""
BURIED_S_MAX: Final = 5.0
"""How long Ray may go on finding an actor by its name after it was killed."""
GONE: Final = (
    "the control actor is gone, with the cluster or killed by somebody: what is committed is "
    "safe, `rayorch resume` goes on with it"
)
SILENT: Final = (
    "the control actor does not answer. it may be at a long journal, or its store be slow: ask "
    "again; the run that it was to take may have begun (`rayorch runs`)"
)
RETRY_S: Final = 0.2


class RayControl:
    """The control actor of a home, on the cluster that this process is connected to."""

    def __init__(
        self,
        home_url: str,
        address: str | None,
        slots: int | None,
        *,
        takeover: bool = False,
        serves: bool = False,
        places: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self._clock = SystemClock()
        # Before: Ray takes what it is told of a job when it connects.
        packages = keep_packages_alone(os.environ)
        self.where = connect(address, slots)
        if serves and self.where == "embedded":
            self.close()
            raise SubmitError(
                "an embedded Ray ends with this process, and nobody would be left to do the work",
                "",
                "`rayorch up` keeps one, or RAY_ADDRESS names a cluster",
            )
        self._spec = ControlSpec(
            home_url=home_url,
            name=control_name(home_url),
            code=library_code(),
            takeover=takeover,
            serves=serves,
            packages=packages,
        )
        self._places = places or control_places(ray.nodes())  # type: ignore[no-untyped-call]
        self._actor = self._found_or_started()
        if serves:
            self._call("serve")

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
        info = self._started()
        unlike = _unlike(info.spec, self._spec)
        if not unlike and not info.stopped:
            return self._actor
        # It leads no more, because somebody took over or its store did not answer; or it runs
        # other code than ours would, and its runners, too.
        active = [] if info.stopped else [view.run for view in self.runs() if view.is_active]
        if active and not self._spec.takeover:
            leader = f"{info.spec.name}, pid {info.pid}, which {unlike}"
            raise HomeBusyError(self._spec.home_url, leader, active[0])
        return self._replaced()

    def end(self) -> None:
        """End the control actor and its runners; what ran can be resumed."""
        self._ended()
        for name in ray.util.list_named_actors():
            if name.startswith(runner_prefix(self._spec.home_url)):
                # It may have ended since.
                with contextlib.suppress(ValueError):
                    ray.kill(ray.get_actor(name), no_restart=True)

    def _replaced(self) -> Any:  # noqa: ANN401
        """End the control actor and start one with our code; it interrupts what ran."""
        self._ended()
        self._started()
        return self._actor

    def _ended(self) -> None:
        try:
            self._call("stop")
        finally:
            # One that cannot stop, because its store does not answer, is not to lead again either.
            ray.kill(self._actor, no_restart=True)

    def _started(self) -> ControlInfo:
        """Start the control actor, or find it; take it away again when it cannot lead."""
        try:
            return self._info_of_living()
        except ClusterError:
            raise  # One that does not answer may be at work, or is being started again.
        except (RayorchError, ConnectorError):
            # Or whoever comes next would find it, and be told of what may be mended by then.
            ray.kill(self._actor, no_restart=True)
            raise

    def _info_of_living(self) -> ControlInfo:
        """Find or start the control actor; Ray may still give us one that has just been killed."""
        begun_s = self._clock.monotonic_s()
        while True:
            self._actor = control_actor(ControlActor, self._spec.name, self._places).remote(
                self._spec
            )
            try:
                return self.info()
            except ClusterError:
                if self._clock.monotonic_s() - begun_s > BURIED_S_MAX:
                    raise
                self._clock.sleep(RETRY_S)

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
            if isinstance(error.cause, RayorchError | ConnectorError):
                raise error.cause from None
            raise
        except ray.exceptions.ActorDiedError as error:
            raise ClusterError(self.where, GONE) from error
        except ray.exceptions.GetTimeoutError as error:
            raise ClusterError(self.where, SILENT) from error


def _unlike(found: ControlSpec, wanted: ControlSpec) -> str:
    """Return in what a control actor is not what we would start; nothing, when it will do."""
    if found.code != wanted.code:
        return "runs another version of rayorch"
    # Who asks for no packages takes what is there.
    if wanted.packages not in {"", found.packages}:
        return "has other packages"
    return ""
