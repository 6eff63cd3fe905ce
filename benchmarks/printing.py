"""The two tables that people read: what each side took, and which targets are reached."""

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Check, Summary, summary
from benchmarks.results import Machine, Results, cpus, walls

STYLES = {"pass": "green", "fail": "red", "no figure": "yellow"}


def print_results(results: Results, console: Console) -> None:
    """Print where, how long, what failed and the verdicts."""
    for line in results.lines:
        if isinstance(line, Machine):
            console.print(machine_text(line), highlight=False)
    if results.sides:
        console.print(sides_table(results))
    for failure in results.failures():
        word = "skipped" if failure.skipped else "failed"
        console.print(f"{failure.workload}, {failure.side}: {word}: {failure.why}", markup=False)
    if results.checks():
        console.print(checks_table(results))


def machine_text(machine: Machine) -> str:
    """Return one paragraph about the machine."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    busy = f"load {machine.load_minute:.1f}, {machine.busy:.0%} busy before we began"
    return f"{machine.system}, {machine.cores} cores, Python {machine.python}; {busy}\n{versions}"


def sides_table(results: Results) -> Table:
    """Return medians of each side, with the least and the most."""
    table = Table(title="Medians (least - most) of each side", title_justify="left")
    for name in ("workload", "side"):
        table.add_column(name)
    for name in ("wall s", "CPU s", "files", "peak MB", "runs"):
        table.add_column(name, justify="right")
    last = ""
    for workload, side in results.sides:
        runs = results.runs(workload, side)
        files = runs[0].told.get("files", "")
        peak = max(run.peak_bytes for run in runs)
        table.add_row(
            workload if workload != last else "",
            side,
            spread_text(summary(walls(runs))),
            spread_text(summary(cpus(runs))) if any(cpus(runs)) else "",
            f"{files:.0f}" if isinstance(files, float | int) else files,
            f"{peak / 1e6:,.0f}" if peak else "",
            str(len(runs)),
        )
        last = workload
    return table


def checks_table(results: Results) -> Table:
    """Return targets and verdicts."""
    table = Table(title="Targets", title_justify="left")
    table.add_column("workload")
    table.add_column("claim")
    table.add_column("measured", justify="right")
    table.add_column("target", justify="right")
    table.add_column("verdict")
    table.add_column("note")
    last = ""
    for check in results.checks():
        verdict = check.verdict
        table.add_row(
            check.workload if check.workload != last else "",
            check.claim,
            figure_text(check.figure, check.unit),
            f"{'>=' if check.at_least else '<='} {figure_text(check.limit, check.unit)}",
            f"[{STYLES[verdict]}]{verdict}",
            check.note,
        )
        last = check.workload
    return table


def figure_text(figure: float | None, unit: str) -> str:
    """Return a number with as many digits as help."""
    if figure is None:
        return "-"
    text = f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.2f}"
    return f"{text} {unit}".strip()


def spread_text(found: Summary) -> str:
    """Return a median with its extremes."""
    if found.runs == 1:
        return f"{found.median:.2f}"
    return f"{found.median:.2f} ({found.least:.2f} - {found.most:.2f})"


def failed(checks: list[Check]) -> bool:
    """Say whether any target is missed."""
    return any(check.verdict == "fail" for check in checks)
