"""Make placement problems in the judge's format, unlike those that anything was tuned on.

    python -m benchmarks.placement_instances --out DIR [--seed N] [--per-family N]
    python -m benchmarks.placement_bench --in DIR --out PLANS

Families: stages as of scientific workflows (few tasks, long ones among them), data processing
(hundreds to thousands), GPUs in the middle, data in two regions, hourly bills, and spot pools that
come and go as a trace says.  Each problem is written with a tight and a loose deadline: 1.25 and
2.5 times the 95 % finish of the fastest on-demand pool with all of its nodes.

Machines and prices follow public lists of one region (on demand, Linux); spot savings and bands of
interruption likewise.  Traces are drawn (exponential), not measured.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.judge_format import problem_from
from placement.evaluate import sample_events
from placement.greedy import parts_in_order
from placement.layout import NO_POOL, Fleet, Layout
from placement.scenarios import draw, mean_scenario
from placement.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from placement.model import Problem
    from placement.tables import Bools, Tables

ALPHAS: Final = (1.25, 2.5)
_SEEDS: Final = 100
_FAR_S: Final = 1e7
_EAST, _WEST, _OHIO = "us-east-1", "us-west-2", "us-east-2"
_EGRESS: Final = {
    _EAST: {_WEST: 0.02, _OHIO: 0.01},
    _WEST: {_EAST: 0.02, _OHIO: 0.02},
    _OHIO: {_EAST: 0.01, _WEST: 0.02},
}
# name, vCPU, GB, GPUs, USD/h, share saved on spot, reclaims/h, speeds, Gbit/s
MachineType = tuple[str, int, int, int, float, float, float, dict[str, float], float]
TYPES: Final[tuple[MachineType, ...]] = (
    ("m7i.4x", 16, 64, 0, 0.8064, 0.52, 0.03, {"cpu": 1.0}, 6.25),
    ("m7a.4x", 16, 64, 0, 0.92736, 0.60, 0.3, {"cpu": 1.35}, 6.25),
    ("m6i.4x", 16, 64, 0, 0.768, 0.66, 0.3, {"cpu": 0.87}, 6.25),
    ("c7g.4x", 16, 32, 0, 0.58, 0.71, 0.01, {"cpu": 1.05}, 7.5),
    ("r7g.4x", 16, 128, 0, 0.8568, 0.67, 0.3, {"cpu": 1.05}, 7.5),
    ("m7i.x", 4, 16, 0, 0.2016, 0.53, 0.1, {"cpu": 1.0}, 1.56),
    ("m7a.x", 4, 16, 0, 0.23184, 0.62, 0.3, {"cpu": 1.35}, 1.56),
    ("c7g.x", 4, 8, 0, 0.145, 0.62, 0.01, {"cpu": 1.05}, 1.88),
    ("g5.x", 4, 16, 1, 1.006, 0.59, 0.3, {"cpu": 0.75, "gpu": 1.0}, 2.5),
    ("g6.x", 4, 16, 1, 0.8048, 0.49, 0.3, {"cpu": 0.8, "gpu": 0.8}, 2.5),
)
Json = dict[str, Any]


class Draft:
    """A problem in the making; every number is drawn about what a family says."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.stages: list[Json] = []

    def about(self, value: float, spread: float = 0.3) -> float:
        """A positive number about a value."""
        return value * self.rng.lognormvariate(0.0, spread)

    def stage(
        self,
        name: str,
        count: int,
        work_s: float,
        deps: str = "",
        **fields: Any,  # noqa: ANN401  a field of the format
    ) -> None:
        """Add a stage; `deps` are names, with a leading = for one to one."""
        stage: Json = {
            "id": name, "kind": "cpu", "partitions": max(1, count), "gpus": 0, "slots": 1,
            "mem_gb": 2.0, "cv": 0.3, "in_gb": 0.0, "source": _EAST, "out_gb": 0.05,
            "work_s": round(self.about(work_s), 1),
            "deps": [[d.lstrip("="), "one" if d[0] == "=" else "all"] for d in deps.split()],
        }  # fmt: skip
        stage.update(fields)
        self.stages.append(stage)


def montage(g: Draft, width: int) -> None:
    """Project, fit differences, model the background in one task, correct, add."""
    g.stage("project", width, 15, in_gb=0.1)
    g.stage("difference", 2 * width, 10, "=project")
    g.stage("concat", 1, 30, "difference")
    g.stage("model", 1, 150, "concat")
    g.stage("background", width, 10, "=project model")
    g.stage("add", 1, 200, "background", mem_gb=8)
    g.stage("view", 1, 40, "add")


def epigenomics(g: Draft, width: int) -> None:
    """Chains over the pieces of a lane, the mapping much longer than the rest."""
    g.stage("split", 2, 40, in_gb=1.0)
    g.stage("filter", width, 20, "split")
    g.stage("convert", width, 15, "=filter")
    g.stage("map", width, 600, "=convert", slots=2, mem_gb=4, cv=0.5)
    g.stage("merge", 2, 60, "map")
    g.stage("pileup", 1, 150, "merge", mem_gb=6)


def genome(g: Draft, width: int) -> None:
    """Individuals, merge, sift, then overlaps and frequencies."""
    g.stage("individuals", 2 * width, 180, in_gb=0.3, mem_gb=4)
    g.stage("merge", max(2, width // 5), 90, "individuals")
    g.stage("sift", max(2, width // 5), 30, in_gb=0.2)
    g.stage("overlap", width, 60, "merge sift", cv=0.6)
    g.stage("frequency", width, 240, "merge sift", cv=0.6)


def soykb(g: Draft, width: int) -> None:
    """Steps for each sample, calls by region, one long merge."""
    g.stage("align", width // 2, 240, in_gb=1.0, slots=4, mem_gb=12, out_gb=0.5)
    g.stage("dedup", width // 2, 90, "=align", mem_gb=6, out_gb=0.5)
    g.stage("realign", width // 2, 120, "=dedup", mem_gb=6, out_gb=0.5)
    g.stage("haplotype", width, 300, "realign", slots=2, mem_gb=6, cv=0.5)
    g.stage("merge", 1, 120, "haplotype", mem_gb=12)
    g.stage("filter", 2, 40, "merge")


def srasearch(g: Draft, width: int) -> None:
    """Fetch and search each archive, run times far apart, then merge."""
    g.stage("fetch", width, 320, in_gb=1.0, out_gb=1.0, cv=0.8)
    g.stage("search", width, 220, "=fetch", slots=2, mem_gb=4, cv=0.5)
    g.stage("merge", 2, 20, "search")
    g.stage("report", 1, 20, "merge")


def etl(g: Draft, width: int) -> None:
    """Read, clean, join with dimensions, aggregate, write."""
    n = 20 * width
    g.stage("read", n, 90, in_gb=0.5, out_gb=0.3)
    g.stage("clean", n, 60, "=read", out_gb=0.2)
    g.stage("dims", width, 45, in_gb=0.2, out_gb=0.1)
    g.stage("join", n // 2, 150, "clean dims", slots=2, mem_gb=6, out_gb=0.3)
    g.stage("agg", n // 8, 120, "join", slots=2, mem_gb=12, out_gb=0.1)
    g.stage("write", 8, 60, "agg", out_gb=0.2)


def wide(g: Draft, width: int) -> None:
    """Three thousand short tasks, a shuffle, few long ones, a last single one."""
    g.stage("scan", 100 * width, 40, in_gb=0.2, out_gb=0.05)
    g.stage("shuffle", 30 * width, 70, "scan", mem_gb=4, out_gb=0.1)
    g.stage("window", 3 * width, 240, "shuffle", slots=4, mem_gb=16, cv=0.6)
    g.stage("publish", 1, 120, "window")


def training(g: Draft, width: int) -> None:
    """Prepare on CPUs, embed on GPUs, train on one, score on some."""
    g.stage("prepare", 8 * width, 60, in_gb=0.5, out_gb=0.2)
    g.stage("embed", 2 * width, 120, "prepare", kind="gpu", gpus=1, slots=2, mem_gb=8, out_gb=0.1)
    g.stage("train", 2, 500, "embed", kind="gpu", gpus=1, slots=4, mem_gb=12, cv=0.15)
    g.stage("score", 4 * width, 45, "train", kind="gpu", gpus=1, mem_gb=4)
    g.stage("index", width, 60, "score", mem_gb=4)


def two_regions(g: Draft, width: int) -> None:
    """Much to read in two regions, little of it left to merge."""
    n = 20 * width
    for side, loc in (("east", _EAST), ("west", _WEST)):
        g.stage(side, n, 120, in_gb=g.about(2.0), source=loc, out_gb=0.4)
        g.stage(f"filter-{side}", n, 60, f"={side}", out_gb=0.05)
    g.stage("merge", n // 3, 180, "filter-east filter-west", slots=2, mem_gb=8, out_gb=0.2)
    g.stage("report", 8, 120, "merge")


def hourly(g: Draft, width: int) -> None:
    """Few certain tasks for machines some of which are billed by the hour."""
    g.stage("m", 3 + width % 5, 350, in_gb=g.about(1.5), out_gb=g.about(1.5), cv=0.0, mem_gb=1)
    g.stage("r", 2 + width % 3, 250, "m", cv=0.0, mem_gb=1, out_gb=0.1)


FAMILIES: Final[dict[str, Callable[[Draft, int], None]]] = {
    each.__name__: each
    for each in (
        montage, epigenomics, genome, soykb, srasearch, etl, wide, training, two_regions, hourly,
    )
}  # fmt: skip
_TRACED: Final = ("etl", "genome")


def instance(family: str, *, seed: int, is_traced: bool = False) -> Json:
    """Draw a problem of a family, without its deadline."""
    rng = random.Random(f"{family}/{seed}")
    draft = Draft(rng)
    FAMILIES[family](draft, rng.randint(10, 30))
    pools = _hourly_pools(rng) if family == "hourly" else _pools(draft, rng, is_traced=is_traced)
    return {
        "format": "placement-bench/1",
        "name": f"{family}-{seed}" + ("-trace" if is_traced else ""),
        "stages": draft.stages,
        "pools": pools,
        "egress_usd_gb": _EGRESS,
        "wan_gbps": 0.6,
        "deadline_s": _FAR_S,
    }


def _pools(draft: Draft, rng: random.Random, *, is_traced: bool) -> list[Json]:
    """Each type on demand and as spot, in the regions where the data are."""
    places = sorted({stage["source"] for stage in draft.stages})
    is_gpu = any(stage["gpus"] for stage in draft.stages)
    pools = []
    for loc in places:
        for name, vcpu, mem_gb, gpus, usd_h, saved, rate, speed, gbps in TYPES:
            if gpus and not is_gpu:
                continue
            full = name if loc == places[0] else f"{name}@{loc}"
            shape: Json = {
                "vcpu": vcpu, "mem_gb": mem_gb, "gpus": gpus, "speed": speed, "net_gbps": gbps,
                "loc": loc, "provision_s": 25, "boot_s": 180 if gpus else 75, "min_bill_s": 60,
                "bill_s": 1,
            }  # fmt: skip
            outage_s = 3000 if gpus else 1200
            spot: Json = {"reclaims_per_h": rate, "outage_s": outage_s}
            if is_traced:
                spot = {"trace": _trace(rng)}
            pools.append({"name": full, **shape, "usd_h": usd_h, "max_nodes": 48, "spot": None})
            usd_spot = round(usd_h * (1.0 - saved), 4)
            pools.append(
                {
                    "name": f"{full}-spot",
                    **shape,
                    "usd_h": usd_spot,
                    "max_nodes": 12,
                    "spot": spot,
                }
            )
    return pools


def _trace(rng: random.Random) -> Json:
    """A week of one flag every ten minutes; a third of the pools is nearly always there."""
    rate_h = rng.choice((0.02, 0.2, 0.5, 1.3))
    outage_h = rng.choice((0.35, 0.4, 2.0))
    up: list[int] = []
    while len(up) < 6 * 24 * 7:
        up += [1] * max(1, round(6 * rng.expovariate(rate_h)))
        up += [0] * max(1, round(6 * rng.expovariate(1.0 / outage_h)))
    return {"gap_s": 600, "up": up[: 6 * 24 * 7]}


def _hourly_pools(rng: random.Random) -> list[Json]:
    """Four kinds of single-core machines, one of them billed by the hour."""
    rows = [("slow", 0.8, 0.5, 1), ("mid", 1.3, 1.0, 1), ("fast", 2.0, 2.4, 1)]
    rows.append(("hourly", 1.3, rng.choice((0.6, 0.8, 1.0)), 3600))
    return [
        {
            "name": name, "loc": _EAST, "vcpu": 1, "mem_gb": 8, "gpus": 0, "speed": {"cpu": speed},
            "usd_h": usd_h, "provision_s": 0, "boot_s": 0 if bill_s > 1 else 60, "min_bill_s": 60,
            "bill_s": bill_s, "max_nodes": 3, "net_gbps": 4.0, "spot": None,
        }
        for name, speed, usd_h, bill_s in rows
    ]  # fmt: skip


def fastest_s(drawn: Json) -> float:
    """The 95 % finish on the fastest on-demand pool, nodes for each stage anew, by simulation."""
    problem = problem_from(drawn)
    tables = tables_of(problem)
    calm, best = mean_scenario(problem), (math.inf, 0)
    layouts: list[Layout] = []
    for pool, shape in enumerate(problem.pools):
        layout = _full_width(problem, tables, pool) if shape.spot is None else None
        if layout is not None:
            end_s = sample_events(problem, tables, layout, calm, end_s=_FAR_S).quantile_s(0.5)
            best = min(best, (end_s, len(layouts)))
            layouts.append(layout)
    luck = draw(problem, _SEEDS, 20_261_129, horizon_s=_FAR_S / 100)
    return sample_events(problem, tables, layouts[best[1]], luck, end_s=_FAR_S).quantile_s(0.95)


def _full_width(problem: Problem, tables: Tables, pool: int) -> Layout | None:
    """Nodes for each stage when it is ready, all of a pool; of the fastest other one if need be."""
    parts = parts_in_order(tables)
    quick = np.where(tables.fits & _is_on_demand(problem), tables.compute_s, np.inf)
    fleets = []
    for p, part in enumerate(parts):
        mine = pool if tables.fits[part.cls, pool] else int(quick[part.cls].argmin())
        if not math.isfinite(quick[part.cls, mine]):
            return None
        count = -(-part.count // int(tables.lanes[part.cls, mine]))
        fleets.append(Fleet(mine, min(count, problem.pools[mine].nodes_max), None, (p,)))
    return Layout(parts, tuple(fleets), (NO_POOL,) * len(problem.pools))


def _is_on_demand(problem: Problem) -> Bools:
    return np.array([pool.spot is None for pool in problem.pools])


def main(argv: Sequence[str] | None = None) -> int:
    """Write the problems of every family; the same seed gives the same files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.placement_instances",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="where problems are written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-family", type=int, default=1, help="problems of each family")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        for seed in range(options.seed, options.seed + options.per_family):
            for is_traced in (False, True) if family in _TRACED else (False,):
                drawn = instance(family, seed=seed, is_traced=is_traced)
                quick_s = fastest_s(drawn)
                for alpha in ALPHAS:
                    dated = {**drawn, "deadline_s": math.ceil(alpha * quick_s)}
                    path = options.out / f"{drawn['name']}.a{alpha:g}.json"
                    path.write_text(json.dumps(dated))
    return 0


if __name__ == "__main__":
    sys.exit(main())
