"""Plan every instance of a folder, and write the plans where a judge finds them.

    python -m benchmarks.placement_bench --in DIR --out DIR [--graphs] [--time-limit S] [--seed N]

Reads `placement-bench/1` instances (or task graphs, with --graphs) and writes
`<file name>.plan.json` beside one line a file: predicted cost, 95 % finish, bound, gap, seconds.
For task graphs a plan is node -> ordered tasks, and the line has the makespan and its share of
HEFT's.  `python -m benchmarks.workflow_graphs --out DIR` makes graphs to try it on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.judge_format import graph_from, plan_from, problem_from
from placement.errors import PlacementError
from placement.listsched import shortest
from placement.solve import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIME_LIMIT_S = 90.0
_GRAPH_LIMIT_S = 10.0


def plan_instance(instance: dict[str, Any], *, time_limit_s: float, seed: int) -> tuple[Any, str]:
    """Solve one instance; its plan, and what to print about it."""
    problem = problem_from(instance)
    plan = solve(problem, time_limit_s=time_limit_s, seed=seed)
    forecast = plan.forecast
    line = (
        f"usd={forecast.usd:.4f} p95_s={forecast.p95_s:.0f} hit={forecast.hit:.3f} "
        f"bound_usd={plan.bound_usd:.4f} gap={plan.gap:.2f} {plan.shortfall}"
    )
    return plan_from(problem, plan.layout), line.strip()


def schedule_graph(instance: dict[str, Any], *, time_limit_s: float, seed: int) -> tuple[Any, str]:
    """Schedule one task graph; node -> ordered tasks, and what to print about it."""
    schedule = shortest(graph_from(instance), time_limit_s=time_limit_s, seed=seed)
    share = schedule.makespan_s / schedule.heft_s if schedule.heft_s > 0 else 1.0
    line = f"makespan_s={schedule.makespan_s:.6g} of_heft={share:.3f}"
    return {host: list(tasks) for host, tasks in schedule.nodes.items()}, line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when every file was planned."""
    options = _parser().parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    work = schedule_graph if options.graphs else plan_instance
    limit = options.time_limit or (_GRAPH_LIMIT_S if options.graphs else _TIME_LIMIT_S)
    failed = 0
    paths = [p for p in sorted(options.source.glob("*.json")) if not p.name.endswith(".plan.json")]
    if not paths:
        sys.stderr.write(f"no instance (*.json) found. folder={options.source}\n")
        return 1
    for path in paths:
        begin = time.monotonic()
        try:
            plan, line = work(json.loads(path.read_text()), time_limit_s=limit, seed=options.seed)
        except (PlacementError, KeyError, TypeError, json.JSONDecodeError) as err:
            failed += 1
            sys.stderr.write(f"{path.name}: {type(err).__name__}: {err}\n")
            continue
        (options.out / f"{path.stem}.plan.json").write_text(json.dumps(plan))
        sys.stdout.write(f"{path.stem} {line} seconds={time.monotonic() - begin:.1f}\n")
        sys.stdout.flush()
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.placement_bench",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--in", dest="source", type=Path, required=True, help="instances (*.json)")
    parser.add_argument("--out", type=Path, required=True, help="where plans are written")
    parser.add_argument("--graphs", action="store_true", help="instances are task graphs")
    parser.add_argument("--time-limit", type=float, default=None, help="seconds for one instance")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
