"""One run of the pipeline under the faults of one seed, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from rayorch.client import Connection
from rayorch.clock import SystemClock
from rayorch.core.facts import RunResumed
from rayorch.core.run import ENDED, RESUMABLE, Run
from rayorch.fsck.examine import examine
from rayorch.home import open_home
from rayorch.host.emulated import EmulatedNode
from rayorch.ids import RunId
from rayorch.looking import HomeReader
from rayorch.settings import Settings
from tests.chaos.faults import Fault, Where, faults_of
from tests.chaos.machines import Cluster
from tests.chaos.work import Work
from tests.cluster.drill import start_cli
from tests.cluster.raylets import kill_family
from tests.s3_server import S3Server

if TYPE_CHECKING:
    import subprocess

RUN_S_MAX: Final = 180.0
SWEPT_S_MAX: Final = 30.0
VICTIM_S_MAX: Final = 30.0
REDONE_MAX: Final = 0.15
BEGUN_FIRST: Final = 8
"""Calls that have begun before the first fault: it lands in work, not in its start."""
BEGUN_BETWEEN: Final = 4
PATIENCE_S: Final = 2.0
"""How long a fault waits for work to go on, before it makes things worse."""
TICK_S: Final = 0.05
RESUMED_S_MAX: Final = 30.0
LOOK_S: Final = 0.5
PASSES: Final = "this may pass: try again"
T = TypeVar("T")


@dataclass
class Verdict:
    """What came of one seed."""

    seed: int
    where: Where
    faults: int = 0
    story: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    redone: float = 0.0
    seconds: float = 0.0


class Play:
    """A seed on a cluster; the home may have seen others before."""

    def __init__(self, cluster: Cluster, root: str, server: S3Server | None, seed: int) -> None:
        self.where: Where = "s3" if server else "local"
        self._seed = seed
        self._cluster = cluster
        self._server = server
        self._clock = SystemClock()
        self._home_url = f"{root}/home"
        self._run = RunId(f"chaos-{seed}")
        form = ("parquet", "delta")[seed % 2]
        folder = cluster.folder / f"{self.where}-{seed}"
        self.work = Work(folder, f"{root}/in", f"{root}/out-{seed}", form)
        self._driver: subprocess.Popen[str] | None = None
        # The journal from when a resume was asked for, if one was.
        self._resume: HomeReader | None = None
        self._begun_s = self._clock.monotonic_s()
        self._verdict = Verdict(seed, self.where)

    def play(self) -> Verdict:
        """Begin the run, hurt everything around it, follow it to its end, and look at the data."""
        file = self.work.write()
        self._start("run", str(file), "--id", self._run)
        try:
            self._hurt(faults_of(self._seed, self.where))
            self._note("no more faults")
            self._verdict.wrong += self._ended() or self._looked_at()
        except AssertionError as error:
            self._verdict.wrong.append(str(error))
        finally:
            self._note("the end")
            self._cluster.go_on()
            self._cluster.bury_old()
            self._end_driver()
        self._verdict.redone = self.work.redone()
        if self._verdict.redone > REDONE_MAX:
            self._verdict.wrong.append(f"{self._verdict.redone:.0%} of the work was done again")
        self._verdict.seconds = self._clock.monotonic_s() - self._begun_s
        return self._verdict

    # --- the faults ----------------------------------------------------------------------------

    def _hurt(self, faults: list[Fault]) -> None:
        self._wait_begun(BEGUN_FIRST, 90.0, must=True)
        for number, fault in enumerate(faults):
            if number == len(faults) // 2:
                self.work.open("first")
            self._wait_begun(len(self.work.begun()) + BEGUN_BETWEEN, PATIENCE_S)
            self._pause(fault.after_s)
            self._note(fault)
            self._inflict(fault)
            self._verdict.faults += 1
        self.work.open("first")
        self.work.open("second")

    def _inflict(self, fault: Fault) -> None:
        cluster = self._cluster
        match fault.kind:
            case "runner killed" | "runner frozen" | "runner hangs" | "control killed":
                self._inflict_on_process(fault)
            case "control frozen":
                cluster.freeze(self._wait_for(cluster.control)[:1], fault.for_s)
            case "machine killed":
                self._machine(fault).kill()
            case "machine frozen":
                cluster.freeze(self._machine(fault).family(), fault.for_s)
            case "driver killed":
                self._end_driver()
                if self._resume is not None and not self._has_resumed(self._resume):
                    self._ask_again()
            case "head lost":
                self._lose_head(fault)
            case "store frozen" if self._server:
                self._server.pause()
                self._pause(fault.for_s)
                self._server.resume()
            case "store crashed" if self._server:
                self._server.crash()
                self._pause(fault.for_s)
                self._server.restart()

    def _inflict_on_process(self, fault: Fault) -> None:
        cluster = self._cluster
        found = cluster.control if fault.kind == "control killed" else cluster.runners
        processes = self._wait_for(found)
        victim = processes[int(fault.victim * len(processes))]
        if fault.kind.endswith("killed"):
            victim.kill()
        else:
            cluster.freeze([victim], fault.for_s)

    def _machine(self, fault: Fault) -> EmulatedNode:
        def up() -> list[EmulatedNode]:
            return [m for m in self._cluster.machines if not m.has_ended and m.is_up]

        found = self._wait_for(up)
        return found[int(fault.victim * len(found))]

    def _lose_head(self, fault: Fault) -> None:
        """Start another cluster, and let it take the home over from what is left of the first."""
        self._cluster.kill_head(with_machines=fault.rudely)
        self._end_driver()
        self._cluster.start()
        self._resume_run()

    # --- the driver ----------------------------------------------------------------------------

    def _start(self, *arguments: str) -> None:
        found = {"RAYORCH_HOME": self._home_url, "RAY_ADDRESS": self._cluster.address}
        self._driver = start_cli(self.work.folder, *arguments, "--json", **found)

    def _resume_run(self) -> None:
        self._resume = self._reader()
        self._resume.look()
        self._resume.events.clear()
        self._start("resume", self._run, "--takeover")

    def _has_resumed(self, since: HomeReader) -> bool:
        since.look()
        return any(isinstance(event.fact, RunResumed) for event in since.events)

    def _ask_again(self) -> None:
        """Do as a person does whose command was killed, or told them to try again."""
        self._note("driver asked again")
        self._resume_run()

    def _reader(self) -> HomeReader:
        settings = Settings(home=self._home_url, ray_address=self._cluster.address)
        return HomeReader(Connection(open_home(self._home_url), self._clock, settings), keep=True)

    def _end_driver(self) -> None:
        if self._driver is not None:
            kill_family(self._driver)
            self._driver.communicate()
            self._driver = None

    def _driver_failed(self) -> str:
        """Return what a driver that we did not kill has complained of."""
        if self._driver is None or self._driver.poll() is None:
            return ""
        out, err = self._driver.communicate()
        code, self._driver = self._driver.returncode, None
        if code and self._server is not None and PASSES in err:
            # What it says to do is done: the store that it reached for had crashed.
            self._ask_again()
            return ""
        return f"the driver ended with {code}: {err[-1000:]}{out[-1000:]}" if code else ""

    # --- waiting -------------------------------------------------------------------------------

    def _note(self, what: object) -> None:
        age_s = self._clock.monotonic_s() - self._begun_s
        self._verdict.story.append(f"{age_s:5.1f} s  {len(self.work.begun()):4} calls  {what}")

    def _pause(self, for_s: float) -> None:
        until_s = self._clock.monotonic_s() + for_s
        while self._clock.monotonic_s() < until_s:
            self._cluster.tend()
            self._clock.sleep(TICK_S)

    def _wait_begun(self, calls: int, wait_s: float, *, must: bool = False) -> None:
        """Wait until so many calls have begun, or for so long."""
        until_s = self._clock.monotonic_s() + wait_s
        while len(self.work.begun()) < calls:
            failed = self._driver_failed()
            assert not failed, failed
            if self._clock.monotonic_s() > until_s:
                assert not must, f"no work began within {wait_s:g} s"
                return
            self._pause(TICK_S)

    def _wait_for(self, found: Callable[[], list[T]]) -> list[T]:
        """Wait until there is somebody to hurt."""
        until_s = self._clock.monotonic_s() + VICTIM_S_MAX
        while not (some := found()):
            assert self._clock.monotonic_s() < until_s, f"nobody came back within {VICTIM_S_MAX} s"
            self._pause(TICK_S)
        return some

    # --- the end -------------------------------------------------------------------------------

    def _ended(self) -> list[str]:
        """Wait until the run is over and swept; return why it will not be."""
        reader = self._reader()
        until_s = self._clock.monotonic_s() + RUN_S_MAX
        resumable_s = 0.0
        while True:
            run = reader.look().runs.get(self._run)
            if run is not None and run.state in ENDED and run.swept:
                return []
            if failed := self._driver_failed():
                return [failed]
            is_left = run is not None and run.state in RESUMABLE
            if is_left and self._driver is None and resumable_s > PATIENCE_S:
                # Whoever asked was killed before the run went on.
                self._ask_again()
            # Between the takeover of a home and the resumption of its run it is interrupted.
            resumable_s += LOOK_S if is_left else -resumable_s
            if resumable_s > RESUMED_S_MAX or self._clock.monotonic_s() > until_s:
                return [f"the run does not end: {_stand_of(run)}"]
            self._pause(LOOK_S)

    def _looked_at(self) -> list[str]:
        """Return what is wrong with the data and the home, once late writers are swept after."""
        home = open_home(self._home_url)
        until_s = self._clock.monotonic_s() + SWEPT_S_MAX
        while True:
            found = examine(home, self._clock, deep=False).examined.findings
            wrong = self.work.wrong() + [f"fsck: {each.object}: {each.what}" for each in found]
            if not wrong or self._clock.monotonic_s() > until_s:
                return wrong
            self._pause(LOOK_S)


def _stand_of(run: Run | None) -> str:
    if run is None:
        return "the journal does not know it"
    counts = f"{run.committed} of {sum(run.task_counts)} tasks committed"
    return f"{run.state.value}, {counts}, swept={run.swept}, error={run.error}"
