"""Results of the suite as a page."""

from collections.abc import Iterator, Sequence

from rayorch.bench.results import Bar, Results
from rayorch.bench.tables import (
    Rows,
    checks_rows,
    failures_rows,
    figures_rows,
    middle,
    sides_rows,
    stages_rows,
)
from rayorch.observe.figures import bytes_text
from rayorch.pages import bench_plots
from rayorch.pages.page import Page, Section, Table

FRONTIER = "placement"
"""The workload whose curve is dollars over the time of the finish."""


def bench_page(results: Results) -> Page:
    """Return the page of a file of results."""
    machine = results.machines()[0]
    checks = results.checks()
    reached = sum(check.verdict == "pass" for check in checks)
    known = sum(check.verdict != "no figure" for check in checks)
    busy = f"load {machine.load_minute:.1f}, {machine.busy:.0%} of the cores in use before it began"
    facts = [
        ("targets reached", f"{reached} of {known}"),
        ("machine", f"{machine.cores} x {machine.processor or machine.system}"),
        ("memory", bytes_text(machine.memory_bytes)),
        ("measured", machine.at),
        ("how busy it was", busy),
        ("runs of each side", machine.asked.get("runs", "")),
        ("scale", machine.asked.get("scale", "")),
        ("Python", machine.python),
    ]
    return Page(
        title="rayorch, measured",
        lead="Sides take turns, each run in a fresh process that is connected and warm before the "
        "clock runs; outputs are compared. Less is better unless it says otherwise; whiskers and "
        "bands reach from the least to the most. On a busy machine ratios say more than seconds.",
        facts=[(name, text) for name, text in facts if text],
        sections=[section for section in _sections(results) if section.plots or section.table],
    )


def _sections(results: Results) -> Iterator[Section]:
    machine = results.machines()[0]
    yield Section(
        title="Against others",
        text="Wall seconds of the same work. Polars and DuckDB are what one process can do without "
        "checkpoints; the pool is a bare multiprocessing pool of pyarrow.",
        plots=_plots((bench_plots.sides_plot(results), "wall seconds of each side by workload")),
        table=_table(sides_rows(results)),
    )
    yield Section(
        title="Throughput by stage and step",
        text="What our stages did in a second, and where the seconds of their attempts went.",
        plots=_plots((bench_plots.stages_plot(results), "megabytes a second by stage")),
        table=_table(stages_rows(results)),
    )
    yield Section(
        title="The tail",
        text="How much longer than the mean of their stage attempts took.",
        plots=_plots((bench_plots.tail_plot(results), "attempts over the mean of their stage")),
    )
    shown, longest = _longest(results)
    yield Section(
        title="Who worked when",
        text=f"Runners by pool, of the middle run of {shown}.",
        plots=_plots((bench_plots.gantt_plot(longest), "attempts by runner")),
    )
    curves = [each for each in results.figures() if each.workload != FRONTIER]
    yield Section(
        title="Scaling curves",
        plots=_plots((bench_plots.curves_plot(curves), "figures over what they depend on")),
    )
    frontier = [each for each in results.figures() if each.workload == FRONTIER]
    yield Section(
        title="Cost against latency",
        text="The cheapest plan for each finish, as the solver finds it for a workload of twenty "
        "stages on eight types of machines, on demand and spot.",
        plots=_plots((bench_plots.curves_plot(frontier), "dollars over the finish")),
    )
    yield Section(title="Figures", table=_table(figures_rows(results)))
    yield Section(title="Targets", table=_table(checks_rows(results)))
    yield Section(title="What was not measured", table=_table(failures_rows(results)))
    versions = list(machine.versions.items())
    yield Section(title="Versions", table=Table(columns=("library", "version"), rows=versions))


def _plots(*plots: tuple[str, str]) -> list[tuple[str, str]]:
    return [(url, shows) for url, shows in plots if url]


def _table(found: Rows) -> Table | None:
    return Table(columns=found.columns, rows=found.rows) if found.rows else None


def _longest(results: Results) -> tuple[str, Sequence[Bar]]:
    """Return the attempts of the run with most stages, the longest of those, and its workload."""
    found = [(workload, middle(results.runs(workload, side))) for workload, side in results.sides]
    known = [(workload, run) for workload, run in found if run.bars]
    if not known:
        return "", ()
    workload, run = max(known, key=lambda each: (len(each[1].stages), each[1].wall_s))
    return workload, run.bars
