"""A run's placement, for `explain`: the decision as it was taken, and what came of it.

The journal has what was followed (`PlacementReady`); `runs/<run>/placement-<revision>.json` has all
that was known when it was decided. Either may be missing: of an older run, or after a crash.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click
import msgspec

from rayorch.cli.printing import print_section, print_table
from rayorch.cli.reading import find_document
from rayorch.client import Connection
from rayorch.core.facts import PlacementReady
from rayorch.core.run import Run
from rayorch.observe.cost import RunCost, summed
from rayorch.observe.figures import UNKNOWN, change_text, core_hours_text, seconds_text, usd_text
from rayorch.observe.outcome import ClassOutcome, Outcome
from rayorch.observe.view import RunView

REVISIONS_READ_MAX: Final = 50
CLASSES_SHOWN_MAX: Final = 20
NONE: Final = "none was decided: its tasks went to any runner"
NO_CHOICE: Final = "there was no choice of pools: its tasks went to any runner"

Document = Mapping[str, Any]


class Followed(msgspec.Struct, frozen=True):
    """What is known of a run's placements."""

    told: Outcome
    documents: Mapping[int, Document]  # by revision

    @property
    def first(self) -> Document | None:
        """The decision that the run began with: the first that was searched for in earnest."""
        final = [fact.revision for _, fact in self.told.placements if fact.is_final]
        searched = [self.documents[revision] for revision in final if revision in self.documents]
        return next(iter([*searched, *self.documents.values()]), None)

    def foretold(self) -> PlacementReady | None:
        """Return the placement that the run is judged by: the one that it began with."""
        placements = [fact for _, fact in self.told.placements]
        final = [fact for fact in placements if fact.is_final]
        return next(iter([*final, *placements]), None)


def followed_of(at: Connection, run: Run, told: Outcome) -> Followed:
    """Return what is known of a run's placements. Raises: StoreError."""
    last = run.placement.revision if run.placement is not None else 0
    revisions = range(1, min(last, REVISIONS_READ_MAX) + 1)
    found = {n: find_document(at, run.id, f"placement-{n}") for n in revisions}
    return Followed(told, {n: document for n, document in found.items() if document is not None})


def why_unplaced(run: Run) -> str:
    """Return why a run has no placement to speak of; nothing, when it has."""
    if run.placement is None:
        return NONE
    return "" if any(each.pools for each in run.placement.classes) else NO_CHOICE


# --- for people -----------------------------------------------------------------------------------


def print_followed(followed: Followed, run: Run, view: RunView) -> None:
    """Print the decision that a run began with, what then happened, and each later decision."""
    unplaced = why_unplaced(run)
    if unplaced:
        print_section("placement", [("none", unplaced)])
        return
    _print_decision(followed, run)
    _print_outcome(followed, run, view)
    _print_revisions(followed.told, run)


def _print_decision(followed: Followed, run: Run) -> None:
    document = followed.first
    if document is None:
        print_section("placement, as it was followed", _followed_lines(run))
        return
    # It takes numpy: only who explains a placement pays.
    from rayorch.cli.decisions import LABEL, decision_lines, print_choices  # noqa: PLC0415
    from rayorch.plan.deciding import Decision  # noqa: PLC0415

    decision = msgspec.convert(document, Decision)
    title = f"placement, as it was decided{_when(document, run)}"
    print_section(title, decision_lines(decision), LABEL)
    print_choices(decision)


def _when(document: Document, run: Run) -> str:
    at_s = document.get("at_s")
    return "" if at_s is None else f" at +{seconds_text(max(0.0, at_s - run.submitted_s))}"


def _followed_lines(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what the journal has of a placement whose decision was not kept."""
    assert run.placement is not None
    for each in run.placement.classes[:CLASSES_SHOWN_MAX]:
        pools = [
            f"{pool} ({seconds_text(expected_s)} a task)"
            for pool, expected_s in zip(each.pools, each.expected_s, strict=False)
        ]
        yield each.name, f"{', '.join(pools) or 'any pool'}"


def _print_outcome(followed: Followed, run: Run, view: RunView) -> None:
    placement = followed.foretold()
    lines = []
    if placement is not None:
        foretold = placement.forecast
        if view.cost is not None and view.cost.lines:
            lines.append(("cost", _cost_text(view.cost, placement)))
        usual, late = seconds_text(foretold.p50_s), seconds_text(foretold.p95_s)
        ended = "ended" if view.finished_s else "so far"
        after = f"after {seconds_text(view.elapsed_s)}"
        lines.append((ended, f"{after}; foretold {usual} usually, {late} in 95 % of runs"))
    print_section("what then happened", lines)
    stages = _stage_rows(followed, run, view.cost)
    if stages:
        click.echo("")
        print_table(("stage", "foretold>", "cost>", "was to end>", "ended>"), stages, indent="  ")
    classes = [_class_row(each) for each in followed.told.classes[:CLASSES_SHOWN_MAX]]
    if classes:
        click.echo("")
        columns = ("class", "pool", "tasks>", "foretold a task>", "took>", "change>")
        print_table(columns, classes, indent="  ")
    more = len(followed.told.classes) - CLASSES_SHOWN_MAX
    if more > 0:
        click.echo(f"  and {more} more: --json has them all")


def _cost_text(cost: RunCost, placement: PlacementReady) -> str:
    foretold = placement.forecast
    if cost.usd is not None and foretold.usd:
        change = change_text(cost.usd, foretold.usd)
        return f"{usd_text(cost.usd)}; foretold {usd_text(foretold.usd)} ({change})"
    hours = f"{core_hours_text(cost.core_hours)}, dollars {UNKNOWN}"
    if foretold.core_hours:
        change = change_text(cost.core_hours, foretold.core_hours)
        return f"{hours}; foretold {core_hours_text(foretold.core_hours)} ({change})"
    return hours


def stage_documents(followed: Followed, run: Run, cost: RunCost | None) -> list[dict[str, Any]]:
    """Return what each stage was to cost and when to end, and what it did. Units: USD, seconds."""
    spans = {span.stage: span for span in followed.told.stages}
    chosen = {} if followed.first is None else {s["name"]: s for s in followed.first["stages"]}
    found = []
    for stage in run.stages:
        span, choice = spans.get(stage.name), chosen.get(stage.name)
        lines = [line for line in cost.work if line.stage == stage.name] if cost is not None else []
        parts = ("compute_usd", "egress_usd", "request_usd")
        foretold = None if choice is None else summed(choice.get(part) for part in parts)
        found.append(
            {
                "stage": stage.name,
                "foretold_usd": foretold,
                "usd": summed(line.usd for line in lines) if lines else None,
                "foretold_end_s": None if choice is None else choice["finish_s"],
                "end_s": None if span is None else span.ended_s - run.submitted_s,
            }
        )
    return found


def _stage_rows(followed: Followed, run: Run, cost: RunCost | None) -> list[tuple[str, ...]]:
    if followed.first is None:
        return []
    return [
        (
            each["stage"],
            usd_text(each["foretold_usd"]),
            usd_text(each["usd"]),
            _after(each["foretold_end_s"]),
            _after(each["end_s"]),
        )
        for each in stage_documents(followed, run, cost)
    ]


def _after(at_s: float | None) -> str:
    return "" if at_s is None else f"+{seconds_text(max(0.0, at_s))}"


def _class_row(each: ClassOutcome) -> tuple[str, ...]:
    took_s = each.actual_s / each.tasks
    row = (each.name, each.pool or "any", str(each.tasks))
    if not each.expected_s:
        return (*row, "not foreseen", seconds_text(took_s), "")
    expected_s = each.expected_s / each.tasks
    return (*row, seconds_text(expected_s), seconds_text(took_s), change_text(took_s, expected_s))


def _print_revisions(told: Outcome, run: Run) -> None:
    rows = [
        (
            str(fact.revision),
            f"+{seconds_text(max(0.0, at_s - run.submitted_s))}",
            "" if fact.forecast.usd is None else usd_text(fact.forecast.usd),
            seconds_text(fact.forecast.p95_s),
            fact.method,
            _reasons_text(fact.reasons, is_final=fact.is_final),
        )
        for at_s, fact in told.placements
    ]
    if rows:
        click.echo("\neach time it was decided")
        columns = ("revision>", "at>", "cost>", "ends by>", "found by", "why")
        print_table(columns, rows, indent="  ")
    for at_s, failed in told.failures:
        said = failed.error.message.partition("\n")[0]
        after = seconds_text(max(0.0, at_s - run.submitted_s))
        click.echo(f"  solver failed at +{after}: {said}; the decision before it served on")


def _reasons_text(reasons: Sequence[str], *, is_final: bool) -> str:
    if reasons:
        return "; ".join(reasons)
    return "" if is_final else "at once, while a better one was looked for"


# --- for programs ---------------------------------------------------------------------------------


def followed_document(followed: Followed, run: Run, cost: RunCost | None) -> dict[str, Any]:
    """Return a run's placements as a document: decisions as they were kept, and what came of them.

    Units: USD, seconds; `at_s` since the epoch.
    """
    told = followed.told
    return {
        "none": why_unplaced(run) or None,
        "revisions": [
            {
                "revision": fact.revision,
                "at_s": at_s,
                "method": fact.method,
                "reasons": list(fact.reasons),
                "is_final": fact.is_final,
                "forecast": msgspec.to_builtins(fact.forecast),
                "classes": msgspec.to_builtins(fact.classes),
                "decision": followed.documents.get(fact.revision),
            }
            for at_s, fact in told.placements
        ],
        "solver_failures": [
            {"at_s": at_s, "revision": fact.revision, "message": fact.error.message}
            for at_s, fact in told.failures
        ],
        "stages": stage_documents(followed, run, cost),
        "classes": msgspec.to_builtins(told.classes),
    }
