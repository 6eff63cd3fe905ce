"""How long placement takes with very many tasks, and what it remembers: one core, medians.

    python -m benchmarks.placement_scale [--tasks 100000,1000000] [--runs 5] [--seeds 0,1,2]

20 stages, 16 pools (eight machine types, on demand and spot), a deadline of an hour.  For each
number of tasks, in a process of its own: the first plan (`solve` without time for a search), the
final one (`solve` with 2 s), and `replan` with 0.5 s ten minutes later, when half of the first
stage is done, all nodes that were asked for at once are held, and one spot pool has gone.
CPU seconds are of one thread; wall seconds tell how busy the machine was meanwhile.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import placement
from benchmarks.placement_instances import TYPES, MachineType
from placement.model import Deadline, Dep, DepMode, Held, Pool, Problem, Spot, TaskClass
from placement.observed import Observed, remaining

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from placement.plan import Plan

_STAGES: Final = 20
_KINDS: Final = 8
_DEADLINE_S: Final = 3600.0
_FINAL_S: Final = 2.0
_AGAIN_S: Final = 0.5
_NOW_S: Final = 600.0
_GONE: Final = "m7a.4x-spot"
_MIB: Final = 1024.0
_POINTS: Final = 7
_FRONTIER_S: Final = 5.0
TARGETS: Final = {"first": 0.05, "final": 2.0, "replan": 0.5}
MEMORY_MB: Final = 300.0


@dataclass(slots=True)
class Figures:
    """Seconds of each run, and the plans that came of them."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)

    def measure(self, work: Callable[[], Plan]) -> Plan:
        """Time one run."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.plans.append(work())
        self.cpu_s.append(time.process_time() - cpu)
        self.wall_s.append(time.perf_counter() - wall)
        return self.plans[-1]

    def numbers(self) -> dict[str, list[float]]:
        """Each repetition."""
        return {
            "cpu_s": self.cpu_s,
            "gap": [plan.gap for plan in self.plans],
            "hit": [plan.forecast.hit for plan in self.plans],
        }

    def line(self, name: str) -> str:
        """Medians, the share of scenarios in time of the worst plan, and the dollars."""
        hits = [plan.forecast.hit for plan in self.plans]
        usd = [plan.forecast.usd for plan in self.plans]
        cpu_s = statistics.median(self.cpu_s)
        return (
            f"{name:8} cpu_s={cpu_s:.3f} (target {TARGETS[name]:g}) "
            f"wall_s={statistics.median(self.wall_s):.3f} worst_cpu_s={max(self.cpu_s):.3f} "
            f"least_hit={min(hits):.3f} usd={min(usd):.4g}..{max(usd):.4g}"
        )


def problem_of(tasks: int, seed: int) -> Problem:
    """Stages in a graph that is drawn, on pools that are as much wider as there are more tasks."""
    rng = random.Random(seed)
    depth = max(4, tasks // 400)
    classes: list[TaskClass] = []
    for k in range(_STAGES):
        count = int(tasks / _STAGES * rng.uniform(0.5, 1.5))
        deps: tuple[Dep, ...] = ()
        if k > 1:
            parent = classes[k - 1 - rng.randrange(min(k, 3))]
            mode: DepMode = "one" if rng.random() < 0.4 else "all"
            count = parent.count if mode == "one" else count
            deps = (Dep(parent=parent.name, mode=mode),)
        classes.append(
            TaskClass(
                name=f"s{k}",
                count=count,
                work_s=rng.uniform(20, 120),
                cv=0.3,
                mem_gb=2.0,
                slots=rng.choice([1, 1, 2]),
                in_gb=0.0 if deps else 0.1,
                out_gb=0.05,
                deps=deps,
            )
        )
    pools = tuple(pool for kind in TYPES[:_KINDS] for pool in _pools(kind, depth))
    return Problem(classes=tuple(classes), pools=pools, objective=Deadline(at_s=_DEADLINE_S))


def _pools(kind: MachineType, depth: int) -> Iterator[Pool]:
    """A machine type on demand, and a quarter as many of it as spot."""
    name, vcpu, mem_gb, _, usd_h, saved, rate_h, speed, gbps = kind
    pool = Pool(
        name=name, vcpu=vcpu, mem_gb=mem_gb, speed=speed, net_gbps=gbps, usd_h=usd_h,
        provision_s=25.0, boot_s=75.0, nodes_max=depth,
    )  # fmt: skip
    yield pool
    spot = Spot(reclaims_per_h=rate_h, outage_s=1200.0)
    less_usd = usd_h * (1.0 - saved)
    yield replace(pool, name=f"{name}-spot", usd_h=less_usd, nodes_max=depth // 4, spot=spot)


def later(problem: Problem, plan: Plan) -> Problem:
    """What is left after ten minutes, and a spot pool has gone."""
    at_once = [f for f in plan.layout.fleets if f.at_s == 0.0]
    names = [problem.pools[f.pool].name for f in at_once]
    held = tuple(
        Held(pool=name, count=fleet.count, up_s=25.0, ready_s=100.0)
        for name, fleet in zip(names, at_once, strict=True)
        if name != _GONE
    )
    done = {problem.classes[0].name: problem.classes[0].count // 2}
    seen = Observed(now_s=_NOW_S, done=done, held=held, spent_usd=1.0, down=(_GONE,))
    left = remaining(problem, seen)
    assert left is not None, "half of a stage is not all"
    return left


def measure(tasks: int, seeds: Sequence[int], runs: int) -> dict[str, Figures]:
    """Figures of one number of tasks, in this process."""
    first, final, again = Figures(), Figures(), Figures()
    for seed in seeds:
        problem = problem_of(tasks, seed)
        # What is imported and allocated at first use is no part of a plan.
        placement.solve(problem, time_limit_s=0.0)
        for _ in range(runs):
            first.measure(partial(placement.solve, problem, time_limit_s=0.0))
            plan = final.measure(partial(placement.solve, problem, time_limit_s=_FINAL_S))
            left = later(problem, plan)
            again.measure(
                partial(placement.replan, problem, plan.layout, left, time_limit_s=_AGAIN_S)
            )
    return {"first": first, "final": final, "replan": again}


def peak_mb() -> float:
    """What this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


def told(tasks: int, found: dict[str, Figures]) -> Iterator[str]:
    """Lines for people."""
    yield f"{tasks} tasks"
    for name, figures in found.items():
        yield "  " + figures.line(name)
    yield f"  memory   peak_mb={peak_mb():.0f} (target {MEMORY_MB:g})"


def document(tasks: int, seed: int, found: dict[str, Figures]) -> str:
    """One line for programs, with cost against the finish of the first problem."""
    points = placement.frontier(problem_of(tasks, seed), points=_POINTS, time_limit_s=_FRONTIER_S)
    numbers = {
        "benchmark": "placement_scale",
        "tasks": tasks,
        "peak_mb": round(peak_mb(), 1),
        "plans": {name: figures.numbers() for name, figures in found.items()},
        "frontier": [(point.p95_s, point.usd) for point in points],
    }
    return json.dumps(numbers)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each number of tasks in a process of its own; 0 when all of them could be."""
    options = _parser().parse_args(argv)
    if len(options.tasks) == 1:
        [tasks] = options.tasks
        found = measure(tasks, options.seeds, options.runs)
        lines = [document(tasks, options.seeds[0], found)] if options.json else told(tasks, found)
        sys.stdout.writelines(line + "\n" for line in lines)
        return 0
    seeds = ",".join(map(str, options.seeds))
    for tasks in options.tasks:
        command = [sys.executable, "-m", "benchmarks.placement_scale", "--tasks", str(tasks)]
        command += ["--seeds", seeds, "--runs", str(options.runs)]
        command += ["--json"] if options.json else []
        if subprocess.run(command, check=False).returncode:
            return 1
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.placement_scale",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--tasks", type=_numbers, default=(100_000, 1_000_000))
    parser.add_argument("--seeds", type=_numbers, default=(0, 1, 2), help="problems of each size")
    parser.add_argument("--runs", type=int, default=5, help="of each problem (5)")
    parser.add_argument("--json", action="store_true", help="a JSON line for each size")
    return parser


if __name__ == "__main__":
    sys.exit(main())
