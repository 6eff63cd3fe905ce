"""`simulate`: the whole control plane on a simulated clock, cluster, network and store."""

import os
import time
from collections.abc import Iterator
from typing import Final

import click
import msgspec

from rayorch.capacity.placer import RealPlacer
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document, print_section
from rayorch.observe.figures import counted
from rayorch.sim.campaign import Found, campaign, story_of
from rayorch.sim.config import SimConfig, SimPool, sized
from rayorch.sim.simulate import Outcome

STORY_LINES: Final = 40
"""The end of a failing seed's story: what led to it is mostly there."""
SHOWN_MAX: Final = 5
PROGRESS_SEEDS: Final = 500


def simulate(options: Options) -> int:
    """Simulate seeds; print what was found, and how to see it again."""
    config = config_of(options)
    told = 0

    def progress(found: Found) -> None:
        nonlocal told
        if found.seeds - told >= PROGRESS_SEEDS:
            told = found.seeds
            click.echo(f"{found.seeds} of {options.seeds} seeds", err=True)

    jobs = options.jobs or len(os.sched_getaffinity(0))
    begun_s = time.perf_counter()
    found = campaign(
        options.first, options.seeds, min(jobs, options.seeds), config, progress, RealPlacer
    )
    wall_s = time.perf_counter() - begun_s
    if options.as_json:
        print_document(
            {**msgspec.to_builtins(found), "work_times": found.work_times, "wall_s": wall_s}
        )
    else:
        print_section("simulated", list(_lines(found, wall_s)))
        for outcome in (*found.unsafe, *found.stuck)[:SHOWN_MAX]:
            _print_failing(outcome, options)
    return Exit.OK if found.is_clean else Exit.FAILED


def config_of(options: Options) -> SimConfig:
    """Return what is to be simulated: a small cluster, or one of a given size."""
    if options.nodes is None and options.tasks is None:
        return SimConfig()
    return sized(options.nodes or SimPool().runners, options.tasks or 1_000)


def _lines(found: Found, wall_s: float) -> Iterator[tuple[str, str]]:
    yield "seeds", f"{found.seeds} from {found.first} on"
    yield "safety", _count(len(found.unsafe), "invariant broken", "every invariant kept")
    yield "liveness", _count(len(found.stuck), "came to a halt", "every run ended")
    yield "work", f"{counted(found.committed, 'task')} committed, {counted(found.events, 'event')}"
    yield "work done", f"{found.work_times:.3f} x what was of use, stopped and hung runners counted"
    rate = found.events / max(found.cpu_s, 1e-9)
    yield "speed", f"{rate:,.0f} events a CPU second, {found.seeds / max(wall_s, 1e-9):.1f} seeds/s"


def _count(failing: int, wrong: str, right: str) -> str:
    return f"{counted(failing, 'seed')}: {wrong}" if failing else right


def _print_failing(outcome: Outcome, options: Options) -> None:
    size = "".join(
        f" --{name} {value}"
        for name, value in (("nodes", options.nodes), ("tasks", options.tasks))
        if value is not None
    )
    story = story_of(outcome.seed, config_of(options), RealPlacer)[-STORY_LINES:]
    reasons = outcome.violations or (f"not everything ended: {outcome.left}",)
    lines = [
        *(("found", reason) for reason in reasons),
        ("again", f"rayorch simulate --first {outcome.seed} --seeds 1{size}"),
        *(("" if number else "story", line) for number, line in enumerate(story)),
    ]
    print_section(f"seed {outcome.seed}", lines)
