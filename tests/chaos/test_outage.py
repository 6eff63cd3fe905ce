"""A store that is out for longer than anybody retries, and nobody there who would resume."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rayorch.client import Connection
from rayorch.clock import SystemClock
from rayorch.core.facts import Led
from rayorch.core.run import RunState
from rayorch.failpoints import ENVIRONMENT
from rayorch.home import open_home
from rayorch.ids import RunId
from rayorch.looking import HomeReader
from rayorch.settings import Settings
from tests.chaos.campaign import stage
from tests.chaos.work import Work
from tests.cluster.drill import kill_tree, start_cli

RUN = RunId("outage")
STARTED_S_MAX = 90.0
REFUSED_S_MAX = 120.0
"""A control actor gives up a store that is out after some ten seconds."""


def wait_until(holds: Callable[[], bool], what: str, wait_s: float) -> None:
    clock = SystemClock()
    until_s = clock.monotonic_s() + wait_s
    while not holds():
        assert clock.monotonic_s() < until_s, f"never happened: {what}"
        clock.sleep(0.1)


@pytest.mark.chaos
@pytest.mark.timeout(500)
def test_a_control_actor_that_starts_while_its_store_is_out_leads_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protection: it ends, and Ray starts it again, until it can lead.

    1. The driver is killed, and the control actor while the store is down.
    2. Ray starts it again; it cannot replay, and ends; so does the next.
    3. The store is back: the run goes on to its end, although nobody has asked for that.
    """
    gave_up = tmp_path / "gave-up"
    monkeypatch.setenv(ENVIRONMENT, f"control.unanswered=kill:once:{gave_up}")
    with stage("s3") as (cluster, root, server):
        assert server is not None
        work = Work(cluster.folder / "work", f"{root}/in", f"{root}/out", "parquet")
        settings = {"RAYORCH_HOME": f"{root}/home", "RAY_ADDRESS": cluster.address}
        driver = start_cli(work.folder, "run", str(work.write()), "--id", RUN, **settings)
        try:
            wait_until(lambda: len(work.begun()) > 4, "work began", STARTED_S_MAX)
        finally:
            kill_tree(driver)
        server.crash()
        for process in cluster.control():
            process.kill()
        wait_until(gave_up.exists, "the next one could not lead, and ended", REFUSED_S_MAX)
        server.restart()
        work.open("first")
        work.open("second")

        at = Connection(
            open_home(settings["RAYORCH_HOME"]),
            cluster.clock,
            Settings(home=settings["RAYORCH_HOME"]),
        )
        reader = HomeReader(at, keep=True)

        def ended() -> bool:
            run = reader.look().runs[RUN]
            return run.state is RunState.SUCCEEDED and run.swept

        wait_until(ended, "the run went on", REFUSED_S_MAX)
        assert work.wrong() == []
        assert sum(isinstance(event.fact, Led) for event in reader.events) == 2
