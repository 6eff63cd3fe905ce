"""`runs` and `show`: what the journal of a home says. Leads nothing and needs no Ray."""

from datetime import UTC, datetime

import click

from rayorch.cli.estimates import calibration_documents, calibration_lines
from rayorch.cli.finding import commands_of, find_run, read_origin
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document, print_table
from rayorch.cli.reading import metrics_text, read_deadline
from rayorch.client import Connection, connection
from rayorch.ids import DEFAULT_TENANT
from rayorch.looking import find_leader
from rayorch.observe.bill import bill_lines, bill_table
from rayorch.observe.cost import RunCost
from rayorch.observe.figures import count_text, counted, seconds_text, usd_text
from rayorch.observe.report import LABEL_CHARS, report_data, report_of
from rayorch.observe.view import RunView, view_of
from rayorch.reading import read_machine


def runs(options: Options) -> int:
    """Print the runs of a home, the newest first."""
    at = connection(options.home)
    machine = read_machine(at.home, at.clock)
    now_s = at.clock.now_s()
    newest = sorted(machine.runs.values(), key=lambda run: run.submitted_s, reverse=True)
    views = [view_of(run, machine, now_s) for run in newest[: options.limit]]
    if options.as_json:
        print_document({"runs": [report_data(view) for view in views]})
        return Exit.OK
    if not views:
        click.echo(f"no runs yet under {at.home.url}", err=True)
        return Exit.OK
    led = is_led(at)
    columns = ["run", "state", "tasks>", "rows out>", "began", "took>"]
    rows = [list(_row(view, led=led)) for view in views]
    if any(view.tenant != DEFAULT_TENANT or view.priority for view in views):
        columns += ["tenant", "priority>"]
        for row, view in zip(rows, views, strict=True):
            row += [view.tenant, str(view.priority)]
    if any(view.cost is not None and view.cost.known_usd for view in views):
        columns.append("cost>")
        for row, view in zip(rows, views, strict=True):
            row.append(usd_text(view.cost.usd) if view.cost is not None else "")
    print_table(columns, rows)
    if len(newest) > len(views):
        click.echo(f"and {counted(len(newest) - len(views), 'older run')}: --limit N", err=True)
    return Exit.OK


def _row(view: RunView, *, led: bool) -> tuple[str, ...]:
    began = datetime.fromtimestamp(view.submitted_s, UTC).astimezone()
    return (
        view.run,
        shown_state(view, led=led),
        f"{count_text(view.committed)}/{count_text(view.tasks)}",
        count_text(view.totals.rows_out),
        f"{began:%Y-%m-%d %H:%M:%S}",
        seconds_text(view.elapsed_s),
    )


def show(options: Options) -> int:
    """Print where a run stands."""
    at = connection(options.home)
    machine = read_machine(at.home, at.clock)
    run = find_run(at, machine, options.run)
    view = view_of(run, machine, at.clock.now_s())
    leader = find_leader(at)
    commands = commands_of(options, read_origin(at, run).file)
    deadline_s = read_deadline(at, run.id)
    if options.as_json:
        document = {
            **report_data(view, commands, deadline_s),
            "led": leader is not None,
            "metrics_url": (leader.metrics_url or None) if leader is not None else None,
            "estimates": calibration_documents(at.home, run.id),
        }
        print_document(document)
        return Exit.OK
    click.echo(report_of(view, commands, deadline_s).text())
    for stage, text in calibration_lines(at.home, run.id):
        click.echo(f"  {'estimate':<{LABEL_CHARS}}{stage}, {text}")
    metrics = metrics_text(leader) if view.is_active else ""
    if metrics:
        click.echo(f"  {'metrics':<{LABEL_CHARS}}{metrics}")
    if view.is_active and leader is None:
        click.echo(
            f"  {'note':<{LABEL_CHARS}}nobody leads this home, so nothing happens by itself; "
            f"{commands.resume(view.run)} goes on"
        )
    if view.cost is not None:
        print_bill(view.cost, has_deadline=deadline_s is not None)
    return Exit.OK


def print_bill(cost: RunCost, *, has_deadline: bool) -> None:
    """Print what a run cost, by stage and pool."""
    click.echo("\ncost by stage and pool" if cost.lines else "\ncost")
    if cost.lines:
        print_table(*bill_table(cost), indent="  ")
    for label, text in bill_lines(cost, has_deadline=has_deadline):
        click.echo(f"  {label:<{LABEL_CHARS}}{text}")


def shown_state(view: RunView, *, led: bool) -> str:
    """Return a run's state, as a person should read it when nobody is at work on it."""
    return "interrupted" if view.is_active and not led else view.state


def is_led(at: Connection) -> bool:
    """Say whether some process is at work on a home, by its own account."""
    return find_leader(at) is not None
