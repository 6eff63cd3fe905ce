"""What a simulation is made of: the pools, the work, and how much goes wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from rayorch.core.sizes import Size
from rayorch.core.values import FailureKind

GIB: Final = 1 << 30
FAILING: Final = 0.05
"""Of the machines and the attempts of a simulation of a size."""

Fate = FailureKind | Literal["finishes", "hangs", "kills"]
"""How an attempt ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimPool:
    """Machines that are alike."""

    name: str = "local"
    runners: int = 3
    cores: float = 2.0
    memory_bytes: int = 4 * GIB
    speed: float = 1.0  # how many seconds of work one second does
    startup_s: float = 1.0
    usd_core_h: float = 0.5  # where its price is known
    gpus: float = 0.0

    @property
    def size(self) -> Size:
        """How large each runner is."""
        return Size(self.cores, self.memory_bytes, self.gpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimFaults:
    """How often what goes wrong, until `until_s`; after it nothing does."""

    until_s: float = 25.0
    every_s: float = 3.0  # mean time between two of the following, which are chosen by weight
    runner_crash: int = 6
    runner_pause: int = 5
    node_taken: int = 3  # a machine is taken away, after a notice
    control_crash: int = 3
    clock_jump: int = 1  # of the control actor's machine, by up to hours, either way
    link_cut: int = 4  # runners are not heard and hear nothing, and work on
    link_apart_s: float = 4.0  # between the first and the last of them, at most
    pool_lost: int = 1  # with all its runners
    control_usurped: int = 2  # a second control actor starts while the first is frozen
    cluster_death: int = 1
    person: int = 2  # stops a run, or now and then cancels it
    node_lost: int = 2  # a machine is gone at once, and nobody was told before
    pool_warned: int = 1  # all machines of a pool are taken away, after a notice
    # Each of these is a chance.
    attempt_fails: float = 0.08  # with one of the kinds below
    attempt_kinds: tuple[FailureKind, ...] = ("transient", "transient", "oom")
    attempt_hangs: float = 0.01  # until it is timed out
    attempt_kills: float = 0.02  # its runner
    poisoned: float = 0.01  # of the tasks kill every runner until they are mended
    broken: float = 0.02  # of the tasks raise until they are mended
    report_doubled: float = 0.1
    crash_in_turn: float = 0.002  # of the control actor, at each of the places where it matters
    publish_fails: float = 0.2
    exchange_lost: float = 0.05  # of the attempts that read exchange files find one lost
    solver_fails: float = 0.2
    store_unsure: float = 0.05  # of the creates leave their outcome unknown
    # Of the calls to the store, each that it can befall:
    store_throttled: float = 0.02
    store_slow: float = 0.01
    store_full: float = 0.002
    store_corrupt: float = 0.002
    store_lagging: float = 0.05
    clock_wrong: float = 0.3  # of the machines that a control actor starts on, by up to hours
    long_sleep: float = 0.1  # of pauses and of people's absences last longer than the retention
    told_twice: float = 0.05  # of the commands to runners
    staging_fails: float = 0.04  # of the attempts find the store throttled, full or in doubt
    runner_refused: float = 0.04  # of the runners that start are of no use
    plan_fails: float = 0.08
    schema_differs: float = 0.02  # of the outputs, from the others of their sink


@dataclass(frozen=True, slots=True, kw_only=True)
class SimConfig:
    """One simulation but for its seed."""

    pools: tuple[SimPool, ...] = (
        SimPool(runners=2),
        SimPool(name="spot", runners=2, speed=0.7),
    )
    runs: int = 2
    stages: int = 2
    tasks_max: int = 25  # a stage
    is_even: bool = False  # every stage has as many tasks as that
    exchanged: float = 0.5  # of the runs have their last stage read what the others wrote
    # Of the seeds, one more stage of these, before the last, reads what the others wrote, too, and
    # writes more of it: as hot keys are merged. It may have no tasks.
    merged: float = 0.2
    small: float = 0.4  # of the seeds have few tasks, and end while things go wrong
    elastic: float = 0.3  # of the seeds have a pool of which machines come and go as they are asked
    quotas: float = 0.5  # of the seeds have tenants that may not have everything
    cached: float = 0.5  # of the seeds have machines that keep what they read of remote files
    solved: float = 0.1  # of the seeds are placed by the solver that is given, if one is
    watched: float = 0.125  # of the seeds are looked at whole after each event, others now and then
    told_nodes: bool = True  # somebody says which machines come and go, and what they cost
    sinks: int = 2
    tenants: int = 2
    database_units: int = 2  # at most so many tasks of the first stages at once; 0: no limit
    task_s: float = 1.0  # median of the log-normal seconds of one attempt
    task_sigma: float = 0.8
    timeout_s: float = 15.0
    network_s: float = 0.01
    turn_s: float = 0.01  # the longest from the first fact that waits for a turn to the turn
    silence_s: float = 3.0  # of a runner until its leases are given away
    snapshot_segments: int = 25
    faults: SimFaults = SimFaults()
    patience_s: float = 600.0  # after the last fault; who is not done by then never will be


def sized(nodes: int, tasks: int) -> SimConfig:
    """Return a simulation of a size: a runner a node, half of them slower.

    One in twenty of the machines dies or falls silent meanwhile, and one in twenty attempts fails.
    """
    spot = nodes // 2
    pools = (SimPool(runners=nodes - spot), SimPool(name="spot", runners=spot, speed=0.7))
    usual = SimConfig()
    until_s = max(usual.faults.until_s, tasks * usual.task_s / nodes)
    return SimConfig(
        pools=tuple(pool for pool in pools if pool.runners),
        runs=1,
        tasks_max=max(1, tasks // usual.stages),
        is_even=True,
        exchanged=1.0,
        database_units=0,
        merged=0.0,
        small=0.0,
        elastic=0.0,
        quotas=0.0,
        solved=0.0,
        watched=0.0,
        told_nodes=False,
        snapshot_segments=2_000,
        turn_s=0.1,  # a control actor that is busy takes in more at once
        faults=SimFaults(
            until_s=until_s,
            every_s=until_s / max(1.0, FAILING * nodes),
            # What befalls the whole is for the small ones, of which there are many.
            control_crash=0,
            control_usurped=0,
            cluster_death=0,
            pool_lost=0,
            link_cut=0,
            person=0,
            node_lost=0,
            pool_warned=0,
            store_full=0.0,
            store_slow=0.0,
            crash_in_turn=0.0,
            long_sleep=0.0,
            attempt_fails=FAILING,
            attempt_kills=0.0,
            poisoned=0.0,
            broken=0.0,
            attempt_hangs=0.0,
            exchange_lost=1e-3,
            told_twice=0.0,
            staging_fails=0.0,
            runner_refused=0.0,
            plan_fails=0.0,
            schema_differs=0.0,
        ),
    )


CALM: Final = SimFaults(until_s=0.0, poisoned=0.0, broken=0.0)
"""Nothing goes wrong."""
EARLIER: Final = SimConfig(
    merged=0.0,
    small=0.0,
    elastic=0.0,
    quotas=0.0,
    solved=0.0,
    told_nodes=False,
    faults=SimFaults(
        node_lost=0,
        pool_warned=0,
        link_apart_s=0.0,
        told_twice=0.0,
        staging_fails=0.0,
        runner_refused=0.0,
        plan_fails=0.0,
        schema_differs=0.0,
    ),
)
"""The usual trouble as it was before some of it was known: seeds keep what they meant then."""
MERGED: Final = SimConfig(
    stages=3, exchanged=1.0, merged=1.0, tasks_max=6, faults=SimFaults(exchange_lost=0.15)
)
"""Hot keys are merged between those that write an exchange and those that read it, in each run."""
WORLDS: Final[Mapping[str, SimConfig]] = {
    "default": SimConfig(),
    "earlier": EARLIER,
    "merged": MERGED,
    "20x300": sized(20, 300),
}
"""The worlds that a seed can be had again in, by name."""
