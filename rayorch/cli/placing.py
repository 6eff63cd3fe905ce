"""The placement of a plan, for `rayorch plan`: decided, printed, drawn."""

from typing import Any

import msgspec

from placement import PlacementError
from rayorch.cli.decisions import decision_lines, print_choices, print_frontier
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_section
from rayorch.cli.wanting import Wanted
from rayorch.client import connection
from rayorch.errors import PoolsError
from rayorch.observe.figures import counted
from rayorch.pages.drawing import figure_class
from rayorch.plan.deciding import Decision, decide
from rayorch.plan.estimate import History, estimate_of
from rayorch.plan.history import load_histories
from rayorch.plan.planner import Plan
from rayorch.plan.problem import problem_of
from rayorch.program import Program

LABEL = 11


def place(
    options: Options, program: Program, plan: Plan, wanted: Wanted
) -> tuple[Exit, dict[str, Any]]:
    """Place a plan, print where it goes, and return that as a document too.

    Raises: StoreError; MissingExtraError, for a picture without its library; PoolsError.
    """
    if options.plot is not None:
        # Before the search: what is missing is said at once.
        figure_class("--plot", "plot")
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


def _print(decision: Decision, histories: tuple[History, ...], later: str) -> None:
    lines = [*decision_lines(decision), ("rests on", _basis(histories))]
    if later:
        lines.append(("covers", later))
    print_section("placement", lines, LABEL)
    print_choices(decision)
    print_frontier(decision)


def _basis(histories: tuple[History, ...]) -> str:
    some = [each for each in histories if each.attempts]
    if not some:
        return "a guess: nothing of this pipeline has been measured yet"
    text = ", ".join(f"{counted(each.attempts, 'attempt')} of {each.stage}" for each in some)
    rest = [each.stage for each in histories if not each.attempts]
    return f"{text}; {', '.join(rest)} not measured yet" if rest else text
