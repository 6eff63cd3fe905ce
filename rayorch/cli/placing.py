"""The placement of a plan, as `rayorch plan` prints it: where, when, for how much, what lost."""

from collections.abc import Iterator
from typing import Any, Final

import click
import msgspec

from placement import PlacementError
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_table
from rayorch.cli.wanting import Wanted
from rayorch.client import connection
from rayorch.errors import PoolsError
from rayorch.observe.figures import bytes_text, counted, seconds_text
from rayorch.plan.deciding import Decision, Lost, PoolUse, StageChoice, decide
from rayorch.plan.estimate import GB, History, estimate_of
from rayorch.plan.history import load_histories
from rayorch.plan.planner import Plan
from rayorch.plan.problem import problem_of
from rayorch.program import Program

UNKNOWN: Final = "unknown"
LOST_SHOWN_MAX: Final = 5
LABEL: Final = 11

Lines = Iterator[tuple[str, str]]


def place(
    options: Options, program: Program, plan: Plan, wanted: Wanted
) -> tuple[Exit, dict[str, Any]]:
    """Place a plan, print where it goes, and return that as a document too.

    Raises: StoreError; MissingExtraError, for a picture without its library; PoolsError.
    """
    if options.plot is not None:
        # Before the search: what is missing is said at once.
        from rayorch.cli.plotting import load_library  # noqa: PLC0415

        load_library()
    histories = load_histories(connection(options.home).home, program)
    decision = _decided(plan, histories, wanted)
    if options.plot is not None:
        from rayorch.cli.plotting import draw  # noqa: PLC0415

        draw(decision, program.pipeline, options.plot)
    if not options.as_json:
        _print(decision, histories, _later(plan))
    code = Exit.BLOCKED if decision.refused else Exit.OK
    return code, {**msgspec.to_builtins(decision), "estimates": _estimates(histories)}


def _decided(plan: Plan, histories: tuple[History, ...], wanted: Wanted) -> Decision:
    try:
        problem = problem_of(plan, histories, wanted.pools, wanted.objective)
        return decide(problem, is_priced=wanted.pools.is_priced, budget_usd=wanted.budget_usd)
    except (PoolsError, PlacementError) as error:
        # Of the pipeline's own budget without prices, and of tasks that fit nowhere.
        return Decision(
            objective="" if wanted.objective is None else wanted.objective.kind,
            is_priced=wanted.pools.is_priced,
            refused=str(error).partition(". nearest=")[0],
            nearest=getattr(error, "nearest", "") or "a file of pools that has it: --pools FILE",
        )


def _later(plan: Plan) -> str:
    """Return which stages are placed only while the run goes, in words."""
    later = [stage.name for stage in plan.stages if stage.tasks is None]
    return f"without {', '.join(later)}: placed when what they take is measured" if later else ""


def _estimates(histories: tuple[History, ...]) -> list[dict[str, Any]]:
    """Return what the estimates of each stage rest on."""
    found = []
    for history in histories:
        estimate = estimate_of(history)
        memory = estimate.memory_bytes_max
        found.append(
            {
                "stage": history.stage,
                "version": history.version,
                "attempts": history.attempts,
                "seconds_per_task": estimate.line_s[0],
                "seconds_per_gb": estimate.line_s[1],
                "seconds_per_mrow": estimate.line_s[2],
                "cv": estimate.cv,
                "scale_cv": dict(estimate.scale_cv),
                "memory_bytes_max": memory or None,
                "output_ratio": {"mean": estimate.ratio.mean, "cv": estimate.ratio.cv},
            }
        )
    return found


# --- for people -----------------------------------------------------------------------------------


def _print(decision: Decision, histories: tuple[History, ...], later: str) -> None:
    click.echo("")
    click.echo("placement")
    for label, text in _head_lines(decision, histories):
        click.echo(f"  {label:<{LABEL}}{text}".rstrip())
    if later:
        click.echo(f"  {'covers':<{LABEL}}{later}")
    for stage in decision.stages:
        click.echo("")
        click.echo(f"stage {stage.name} goes to")
        for label, text in _stage_lines(stage):
            click.echo(f"  {label:<{LABEL}}{text}".rstrip())
    if decision.candidates:
        click.echo("")
        click.echo("plans that lost")
        for each in decision.candidates[:LOST_SHOWN_MAX]:
            click.echo(f"  {_lost_text(each)}")
        more = len(decision.candidates) - LOST_SHOWN_MAX
        if more > 0:
            click.echo(f"  and {more} more: --json has them all")
    if decision.frontier:
        click.echo("")
        click.echo("cost against finish time, from the fastest to the cheapest")
        _print_frontier(decision)


def _head_lines(decision: Decision, histories: tuple[History, ...]) -> Lines:
    yield "objective", decision.objective
    if decision.refused:
        yield "not kept", decision.refused
        yield "nearest", decision.nearest
    if decision.stages:
        usual, late = seconds_text(decision.p50_s), seconds_text(decision.p95_s)
        yield "ends", f"{usual} usually, {late} in 95 % of runs"
        if "ends within" in decision.objective:
            low = f"at least {decision.hit_low:.1%} for sure; {decision.scenarios} simulated runs"
            yield "deadline", f"kept with a probability of {decision.hit:.1%} ({low})"
        yield "costs", _cost_text(decision)
        yield "found by", decision.method
    yield "rests on", _basis(histories)


def _cost_text(decision: Decision) -> str:
    if decision.usd is None:
        hours = f"; {decision.core_hours:.3g} core hours" if decision.core_hours else ""
        return f"{UNKNOWN}: no price is known for the pools{hours}"
    parts = ", ".join(
        f"{name} {usd_text(usd)}"
        for name, usd in (
            ("compute", decision.compute_usd),
            ("egress", decision.egress_usd),
            ("requests", decision.request_usd),
        )
    )
    gap = "" if decision.gap is None else f"; at most {decision.gap:.0%} above the least possible"
    return f"{usd_text(decision.usd)} ({parts}){gap}"


def _basis(histories: tuple[History, ...]) -> str:
    some = [each for each in histories if each.attempts]
    if not some:
        return "a guess: nothing of this pipeline has been measured yet"
    text = ", ".join(f"{counted(each.attempts, 'attempt')} of {each.stage}" for each in some)
    rest = [each.stage for each in histories if not each.attempts]
    return f"{text}; {', '.join(rest)} not measured yet" if rest else text


def _stage_lines(stage: StageChoice) -> Lines:
    label = "chosen"
    for use in stage.chosen:
        nodes = counted(use.nodes, "node")
        yield label, f"{use.pool}: {use.tasks:.0f} of {counted(stage.tasks, 'task')} on {nodes}"
        label = ""
    yield "when", f"{_at(stage.start_s)} to {_at(stage.finish_s)}"
    dollars = (
        ("compute", stage.compute_usd),
        ("egress", stage.egress_usd),
        ("requests", stage.request_usd),
    )
    yield "dollars", ", ".join(f"{name} {usd_text(usd)}" for name, usd in dollars)
    yield "moves", f"{bytes_text(stage.moved_gb * GB)} between locations"
    label = "lost"
    for use in stage.lost[:LOST_SHOWN_MAX]:
        yield label, _option_text(use)
        label = ""
    more = len(stage.lost) - LOST_SHOWN_MAX
    if more > 0:
        yield "", f"and {counted(more, 'pool')} more: --json has them all"


def _at(at_s: float) -> str:
    return f"+{seconds_text(max(0.0, at_s))}"


def _option_text(use: PoolUse) -> str:
    if not use.task_s:
        return f"{use.pool}: {use.reason}"
    parts = [f"{seconds_text(use.task_s)} a task"]
    if use.usd is not None:
        parts.append(f"{usd_text(use.usd + (use.egress_usd or 0.0))} in all")
    if use.loss > 0.0:
        parts.append(f"{use.loss:.0%} chance to be taken back")
    return f"{use.pool}: {use.reason} ({', '.join(parts)})"


def _lost_text(each: Lost) -> str:
    cost = f"{each.above:+.1%}" if each.usd is None else f"{usd_text(each.usd)} ({each.above:+.1%})"
    kept = "" if each.is_kept else f", objective not kept ({each.hit:.0%})"
    if each.is_kept and each.above < 0.0:
        kept = ", as it was searched; not confirmed on fresh luck"
    return f"{each.name}: {cost}, ends by {seconds_text(each.p95_s)}{kept}"


def _print_frontier(decision: Decision) -> None:
    cost = "USD>" if decision.is_priced else "core hours>"
    rows = [
        (
            "",
            seconds_text(point.p95_s),
            f"{point.cost:.4g}",
            ", ".join(f"{count} x {pool}" for pool, count in point.pools.items()),
        )
        for point in decision.frontier
    ]
    print_table(("", "ends by>", cost, "nodes"), rows)


def usd_text(usd: float | None) -> str:
    """Return dollars: `12.34 USD`, `0.0042 USD`, `unknown`."""
    if usd is None:
        return UNKNOWN
    return f"{usd:.2f} USD" if usd >= 1.0 or usd == 0.0 else f"{usd:.3g} USD"
