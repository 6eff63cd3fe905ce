"""What a workload will need, as a page."""

from collections.abc import Iterator

from rayorch.capacity.asking import Capacity
from rayorch.capacity.tables import (
    Rows,
    basis,
    frontier_rows,
    frontier_text,
    headrooms,
    in_time_text,
    machine_rows,
    needs_of,
    time_text,
    use_rows,
    what_if_rows,
)
from rayorch.observe.figures import (
    bytes_text,
    core_hours_text,
    count_text,
    counted,
    seconds_text,
    times_text,
    usd_text,
)
from rayorch.pages import capacity_plots
from rayorch.pages.page import Page, Section, Table


def capacity_page(found: Capacity) -> Page:
    """Return the page of an answer."""
    return Page(
        title=f"Capacity of {found.pipeline}",
        lead=_lead(found),
        facts=list(_facts(found)),
        sections=[each for each in _sections(found) if each.plots or each.table],
    )


def _lead(found: Capacity) -> str:
    size = f"{bytes_text(found.data_bytes)}, {times_text(found.growth)} times what was measured"
    if found.refused:
        return f"{size}. {found.refused}; what could: {found.nearest}."
    if found.deadline_s is None:
        return f"{size}, as cheap as it gets without a deadline."
    share = f"{100.0 * found.confidence:g} %"
    return f"{size}, to end within {seconds_text(found.deadline_s)} in {share} of the runs."


def _facts(found: Capacity) -> Iterator[tuple[str, str]]:
    yield "machines", ", ".join(f"{p.nodes:,} {p.pool}" for p in found.pools if p.nodes) or "none"
    yield (
        "a run",
        usd_text(found.usd) if found.usd is not None else core_hours_text(found.core_hours),
    )
    if found.runs_month is not None:
        yield "a month", f"{usd_text(found.usd_month)} for {found.runs_month:.4g} runs"
    yield "half of the runs end within", time_text(found.finish.p50_s)
    yield "95 % within", time_text(found.finish.p95_s)
    yield "99 % within", time_text(found.finish.p99_s)
    if found.finish.hit is not None:
        yield "in time", in_time_text(found)
    for share, headroom in headrooms(found):
        more = f"{100.0 * headroom:.0f} % over half of the runs"
        yield f"headroom for {100.0 * share:g} %", more
    yield "tasks", count_text(found.tasks)


def _sections(found: Capacity) -> Iterator[Section]:
    yield Section(
        title="When it ends",
        text=f"{counted(found.scenarios, 'run')} of the real scheduler and planner on simulated "
        "machines, each with other luck.",
        plots=_shown(capacity_plots.ends_plot(found), "share of runs that have ended by when"),
    )
    yield Section(
        title="Machines",
        text="Of each pool: what half of the runs have at most, what any had, and what can be had; "
        "drawn are those of the middle run, as they come and go.",
        plots=_shown(capacity_plots.standing_plot(found), "machines of each pool over time"),
        table=_table(machine_rows(found)),
    )
    yield Section(
        title="Cost against latency",
        text=f"What a run costs that is given more time: {frontier_text(found)}.",
        plots=_shown(
            capacity_plots.frontier_plot(found.frontier, found), "dollars of a run over its end"
        ),
        table=_table(frontier_rows(found)),
    )
    yield Section(
        title="What if",
        text="Twice the data has a plan of its own; what is lost is lost half-way, for good.",
        plots=_shown(capacity_plots.what_if_plot(found), "when runs end if something fails"),
        table=_table(what_if_rows(found)),
    )
    yield Section(
        title="What breaks first when data doubles",
        plots=_shown(capacity_plots.uses_plot(found.uses), "use of what there is, now and doubled"),
        table=_table(use_rows(found)),
    )
    yield Section(
        title="Stages at this size",
        table=Table(
            columns=("stage", "tasks>", "of each>", "each has"),
            rows=[
                (
                    stage.name,
                    count_text(stage.tasks),
                    bytes_text(stage.task_bytes),
                    needs_of(stage),
                )
                for stage in found.stages
            ],
        ),
    )
    yield Section(
        title="What this rests on", table=Table(columns=("", ""), rows=list(basis(found)))
    )


def _shown(url: str, shows: str) -> list[tuple[str, str]]:
    return [(url, shows)] if url else []


def _table(found: Rows) -> Table | None:
    return Table(columns=found.columns, rows=found.rows) if found.rows else None
