"""Many seeds on several processes: what was broken, what came to a halt, and the story of one."""

import logging
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Final

import msgspec

from rayorch.garbage import few_collections
from rayorch.sim.config import SimConfig
from rayorch.sim.ports import PlacerMaker
from rayorch.sim.simulate import Outcome, simulate

CHUNK_SEEDS: Final = 20
"""Seeds that one process takes at once."""


class Found(msgspec.Struct):
    """What a campaign found."""

    first: int
    seeds: int = 0
    events: int = 0
    committed: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    work_s: float = 0.0  # of all attempts
    useful_s: float = 0.0  # of those that committed their tasks
    seen: dict[str, int] = {}  # events by kind, and what went wrong
    unsafe: list[Outcome] = []  # an invariant was broken: something lost, doubled or forgotten
    stuck: list[Outcome] = []  # nothing was broken, and not everything ended

    def add(self, outcome: Outcome) -> None:
        """Count one seed."""
        self.seeds += 1
        self.events += outcome.events
        self.committed += outcome.committed
        self.virtual_s += outcome.virtual_s
        self.work_s += outcome.work_s
        self.useful_s += outcome.useful_s
        for what, count in outcome.seen.items():
            self.seen[what] = self.seen.get(what, 0) + count
        if outcome.violations:
            self.unsafe.append(outcome)
        elif not outcome.finished:
            self.stuck.append(outcome)

    @property
    def work_times(self) -> float:
        """How many times the work of the attempts that committed was done in all."""
        return self.work_s / self.useful_s if self.useful_s else 1.0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.unsafe or self.stuck)


def campaign(
    first: int,
    seeds: int,
    jobs: int = 1,
    config: SimConfig | None = None,
    done: Callable[[Found], None] | None = None,
    placer: PlacerMaker | None = None,
) -> Found:
    """Simulate the seeds from `first` on; `done` hears of every few of them."""
    found = Found(first)
    for outcomes, cpu_s in _outcomes(first, seeds, jobs, (config or SimConfig(), placer)):
        found.cpu_s += cpu_s
        for outcome in outcomes:
            found.add(outcome)
        if done is not None:
            done(found)
    return found


Chunk = tuple[list[Outcome], float]
"""Outcomes, and the CPU seconds that they took."""
How = tuple[SimConfig, PlacerMaker | None]


def _outcomes(first: int, seeds: int, jobs: int, how: How) -> Iterator[Chunk]:
    chunks = [
        range(lo, min(lo + CHUNK_SEEDS, first + seeds))
        for lo in range(first, first + seeds, CHUNK_SEEDS)
    ]
    if jobs == 1:
        yield from (_chunk(chunk, how) for chunk in chunks)
        return
    # Spawned: the clients of stores do not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_chunk, chunks, [how] * len(chunks))


def _chunk(seeds: range, how: How) -> Chunk:
    config, placer = how
    begun_s = _cpu_s()
    with few_collections(), _unwarned():
        outcomes = [simulate(seed, config, placer=placer) for seed in seeds]
    return outcomes, _cpu_s() - begun_s


@contextmanager
def _unwarned() -> Iterator[None]:
    """Let the journal warn nobody of damage that is done on purpose: the story tells of it."""
    logger = logging.getLogger("rayorch.journal")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def story_of(
    seed: int, config: SimConfig | None = None, placer: PlacerMaker | None = None
) -> list[str]:
    """Return what happened in a seed: what went wrong with the world, and what was decided."""
    lines: list[str] = []
    simulate(
        seed,
        config,
        tell=lambda at_s, what: lines.append(f"{at_s:10.3f} s  {what}"),
        placer=placer,
    )
    return lines
