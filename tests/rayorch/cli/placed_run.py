"""A home with a run that was placed: two stages, two pools with prices, one failure, two plans.

Its journal is what a machine made of the facts that a cluster would have sent.
"""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from connectors.splits import Discovery, FilePart, Split
from rayorch.clock import ManualClock
from rayorch.core.facts import Fact, PlacementFailed, SinkPublished, is_durable
from rayorch.core.machine import Machine
from rayorch.core.placed import ClassPlacement, Forecast, PoolPrice, pack_classes
from rayorch.core.values import ErrorInfo, StageShape
from rayorch.home import Home, RunPlan, StagePlan, encode_split, open_home
from rayorch.ids import new_nonce
from rayorch.journal.log import Journal
from rayorch.plan.deciding import Decision, Lost, PoolUse, StageChoice
from rayorch.reading import read_machine
from tests.rayorch import make
from tests.rayorch.driver import Driver

DEADLINE_S: Final = 120.0
BEGUN_S: Final = 1_000_000.0
TASKS: Final = (4, 2)
FIELDS: Final[dict[str, Any]] = {
    "stages": (
        StageShape(name="lines", cores=2.0, sinks=(0,)),
        StageShape(name="orders", cores=1.0, sinks=(1,)),
    ),
    "sinks": ("s3://lake/lines", "s3://lake/orders"),
    "owner": "data-platform",
}
SPOT, BIG = "m7i-spot", "m7i"
USES: Final = (
    PoolUse(SPOT, 3.0, 1, 20.0, 0.05, 0.0, 0.0, 0.04, "chosen"),
    PoolUse(BIG, 1.0, 1, 15.0, 0.09, 0.0, 0.0, 0.0, "chosen"),
    PoolUse("far", 0.0, 0, 14.0, 0.12, 0.06, 3.0, 0.0, "dearer by 0.07 USD: egress"),
    PoolUse("small", 0.0, 0, 0.0, None, None, 0.0, 0.0, "too small: needs mem_gb=2, has 0.5"),
)
DECISION: Final = Decision(
    objective="cheapest that ends within 120 s in 95% of runs",
    is_priced=True,
    stages=(
        StageChoice("lines", 4, 5.0, 60.0, 0.04, 0.0, 0.001, 0.0, USES[:2], USES[2:]),
        StageChoice("orders", 2, 5.0, 40.0, 0.02, 0.0, 0.001, 0.0, USES[1:2], USES[2:]),
    ),
    usd=0.062,
    compute_usd=0.06,
    egress_usd=0.0,
    request_usd=0.002,
    p50_s=60.0,
    p95_s=90.0,
    hit=0.99,
    hit_low=0.97,
    scenarios=400,
    gap=0.12,
    method="menu",
    candidates=(Lost("greedy", 0.081, 0.31, 95.0, 0.98, is_kept=True),),
)


def write(url: str, *, prices: bool = True, decisions: bool = True) -> Home:
    """Write the home; without prices, or without the decisions as they were taken."""
    home = open_home(url)
    driver = _driven(prices=prices)
    journal = Journal(home.store, ManualClock(), new_nonce)
    journal.replay(lambda _: None)
    journal.lead(lambda _: None)
    journal.append([event for event in driver.events if is_durable(event.fact)])
    home.put_plan(make.RUN, _plan())
    home.put_json(make.RUN, "spec", {"objective": {"kind": "deadline", "within": "PT2M"}})
    if decisions:
        for revision, at_s, reasons in ((2, 1.0, []), (3, 31.0, [f"pool {SPOT} is slower"])):
            told = {"revision": revision, "at_s": BEGUN_S + at_s, "reasons": reasons}
            home.put_json(make.RUN, f"placement-{revision}", {**_plain(DECISION), **told})
    return home


def _plain(decision: Decision) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(decision)
    return plain


def _driven(*, prices: bool) -> Driver:
    driver = Driver(metered=False)
    driver.at_s = BEGUN_S
    driver.lead()
    usd = (0.484, 1.008) if prices else (None, None)
    driver.feed(make.submitted(**FIELDS), make.planned(*TASKS))
    driver.feed(_placed(1, usd, method="greedy", is_final=False))
    driver.at_s += 1.0
    driver.feed(_placed(2, usd, method="menu"))
    driver.feed(make.joined("spot-1", pool=SPOT), make.joined("big-1", pool=BIG))
    driver.tick()
    _failed(driver, 0, 8.0)
    for task, pool, seconds in ((1, SPOT, 24.0), (4, BIG, 11.0), (5, BIG, 12.0)):
        _finished(driver, task, pool, seconds)
    driver.at_s += 30.0
    driver.feed(_placed(3, usd, method="re-plan", reasons=(f"pool {SPOT} is slower",)))
    driver.feed(PlacementFailed(make.RUN, 4, ErrorInfo(message="the solver took too long")))
    driver.tick(10.0)
    for task, pool, seconds in ((0, BIG, 16.0), (2, SPOT, 25.0), (3, BIG, 15.0)):
        _finished(driver, task, pool, seconds, attempt=int(task == 0))
    # What a cluster would have metered: of both pools some time more than the attempts took.
    driver.feed(make.metered(SPOT, 154.0, usd[0], "n1"), make.metered(BIG, 195.0, usd[1], "n2"))
    driver.at_s += 27.0
    for sink in (0, 1):
        how = f'rayorch.read("{FIELDS["sinks"][sink]}").to_table()'
        driver.feed(SinkPublished(make.RUN, sink, "1", 60, 4, 4096, how_to_read=how))
    return driver


def _placed(revision: int, usd: tuple[float | None, ...], **fields: Any) -> Fact:
    classes = (
        ClassPlacement("lines/1", 0, 4, (SPOT, BIG), (20.0, 15.0), 0.2),
        ClassPlacement("orders", 1, 2, (BIG,), (10.0,), 0.2),
    )
    forecast = Forecast(usd=0.062, p50_s=60.0, p95_s=90.0, hit=0.99)
    asked = PoolPrice(BIG, get_usd=0.0000004, put_usd=0.000005)
    if usd[0] is None:
        asked = PoolPrice(BIG)
        forecast = replace(forecast, usd=None, core_hours=0.05)
    return replace(
        make.placed(),
        revision=revision,
        classes=classes,
        class_of=pack_classes((0, 0, 0, 0, 1, 1)),
        prices=(PoolPrice(SPOT, usd[0]), replace(asked, usd_core_h=usd[1])),
        forecast=forecast,
        **fields,
    )


def _finished(driver: Driver, task: int, pool: str, seconds: float, attempt: int = 0) -> None:
    runner = "spot-1" if pool == SPOT else "big-1"
    fact = make.finished(make.Lease(task, attempt), runner, seconds=seconds, sink=int(task > 3))
    driver.feed(replace(fact, pool=pool, output=replace(fact.output, gets=2, puts=1)))


def _failed(driver: Driver, task: int, seconds: float) -> None:
    fact = make.failed(make.Lease(task), "spot-1", message="503 slow down")
    driver.feed(replace(fact, pool=SPOT, duration_s=seconds))


def _plan() -> RunPlan:
    return RunPlan(
        tuple(
            StagePlan(
                Discovery(
                    format="parquet",
                    schema_ipc=b"",
                    roots=(f"s3://lake/{name}",),
                    files=tuple((f"s3://lake/{name}/{i}", 1 << 20, "") for i in range(count)),
                    size_bytes=count << 20,
                ),
                tuple(
                    encode_split(
                        Split(parts=(FilePart(key=str(i), size_bytes=1 << 20),), size_bytes=1 << 20)
                    )
                    for i in range(count)
                ),
            )
            for name, count in zip(("in/lines", "in/orders"), TASKS, strict=True)
        )
    )


def machine(url: str) -> Machine:
    """Return what the journal of a home folds to."""
    return read_machine(open_home(url), ManualClock())
