"""`profile` and `capacity`: a run's workload as a file, and what it will need at another size."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from connectors.errors import ObjectMissingError
from rayorch.capacity.answering import capacity as answer
from rayorch.capacity.asking import Capacity, Question
from rayorch.capacity.calibrated import read_calibrated
from rayorch.capacity.scaling import growth_of
from rayorch.capacity.scenarios import scenarios_for
from rayorch.capacity.tables import (
    basis,
    frontier_rows,
    frontier_text,
    headrooms,
    in_time_text,
    machine_rows,
    stage_text,
    use_rows,
    what_if_rows,
)
from rayorch.cli.errors import OptionError
from rayorch.cli.finding import find_run
from rayorch.cli.options import Exit, Options
from rayorch.cli.paging import check_page, write_page
from rayorch.cli.printing import print_document, print_section, print_table
from rayorch.cli.wanting import parsed_s
from rayorch.client import Connection, connection
from rayorch.core.run import RunState
from rayorch.host.profiling import profile_of
from rayorch.host.retracing import retraced
from rayorch.ids import RunId
from rayorch.observe.figures import (
    bytes_text,
    core_hours_text,
    count_text,
    counted,
    seconds_text,
    times_text,
    usd_text,
)
from rayorch.pages.capacity_page import capacity_page
from rayorch.plan.errors import ProfileError
from rayorch.plan.machines import Described
from rayorch.plan.pool_files import PoolFile, read_pool_file
from rayorch.plan.profile import Profile, check, dumped, parsed
from rayorch.reading import read_machine
from rayorch.spec.fields import parsed_bytes

DAY_S: Final = 86_400.0
_TIMES: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*x?")
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
LABEL: Final = 13
SCENARIOS: Final = 50
UNFINISHED: Final = {state.value for state in RunState if state is not RunState.SUCCEEDED}
UNKNOWN_SHOWN: Final = ("usd_h", "speed", "provision_s", "boot_s", "reclaims_per_h", "outage_s")
"""Facts that an answer rests on: what nobody says of them is told."""
MOVING: Final = {
    "get_usd": "what reading an object costs",
    "put_usd": "what writing an object costs",
    "egress_usd_gb": "what data that leaves a region costs",
}
"""The same of a file of pools, or its price book, as a whole."""


# --- profile ------------------------------------------------------------------------------------


def profile(options: Options) -> int:
    """Export a finished run as a workload profile."""
    at = connection(options.home)
    run = find_run(at, read_machine(at.home, at.clock), options.run)
    if run.state is not RunState.SUCCEEDED:
        problem = f"only a run that succeeded can be profiled: {run.id} is {run.state.value}"
        fix = f"`rayorch resume {run.id}`, and profile it when it is done"
        raise ProfileError(problem, at.home.url, fix)
    found = _kept(at, run.id) or _retraced(at, run.id)
    if options.output is not None:
        _write(Path(options.output), dumped(found))
    if options.as_json or options.output is None:
        click.echo(dumped(found), nl=False)
        return Exit.OK
    size = bytes_text(found.source_bytes)
    click.echo(
        f"{options.output}: {counted(len(found.stages), 'stage')}, {counted(found.tasks, 'task')}, "
        f"{size} read in {seconds_text(found.whole_s)}"
    )
    return Exit.OK


def _kept(at: Connection, run: RunId) -> Profile | None:
    """Return the profile that was kept when a run succeeded, if it was seen from its beginning."""
    try:
        kept = at.home.get_json(run, "profile")
    except ObjectMissingError:
        return None
    if kept.get("state") in UNFINISHED:
        return None
    return parsed(msgspec.json.encode(kept), f"{at.home.url.rstrip('/')}/runs/{run}/profile.json")


def _retraced(at: Connection, run: RunId) -> Profile:
    """Return a profile by the journal: of a run that was resumed, or whose leader changed.

    Raises: ProfileError.
    """
    trace = retraced(at.home, at.clock, run)
    if trace is None:
        problem = f"nothing is kept of what the tasks of {run} took, in its journal neither"
        fix = "run the pipeline once more with this version, and profile that run"
        raise ProfileError(problem, at.home.url, fix)
    return profile_of(at.home, run, trace)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        problem = f"it cannot be written: {(error.strerror or '').lower()}"
        raise OptionError(problem, "--output", str(path)) from None


# --- capacity -----------------------------------------------------------------------------------


def capacity(options: Options) -> int:
    """Answer what a workload will need."""
    if options.html is not None:
        check_page(options.html)
    found = answer(question_of(options))
    if options.html is not None:
        write_page(capacity_page(found), options.html)
    if options.as_json:
        print_document(found)
    else:
        _print(found)
    return Exit.BLOCKED if found.refused else Exit.OK


def question_of(options: Options) -> Question:
    """Return what is asked. Raises: OptionError, ProfileError, PoolsError, CapacityError."""
    measured = _read(options.file)
    check(measured, options.file)
    if options.pools is None:
        problem = "say which machines there may be, in a file of pools or a cluster.yaml"
        raise OptionError(problem, "--pools", "FILE")
    file = read_pool_file(options.pools, options.prices)
    growth = growth_of(
        measured,
        None if options.data is None else _bytes(options.data),
        1.0 if options.growth is None else _growth(options.growth),
    )
    return Question(
        profile=measured,
        growth=growth,
        pools=file.spec,
        deadline_s=_deadline_s(options),
        confidence=options.confidence,
        every_s=None if options.every is None else parsed_s(options.every, "--every"),
        zones=_zones(file),
        unknown=tuple(_unknown(file)),
        unknown_of=tuple((each.spec.name, tuple(_unknown_of(each))) for each in file.described),
        scenarios=options.scenarios or max(SCENARIOS, scenarios_for(options.confidence)),
        nodes_max=file.nodes_max,
        seed=options.seed,
        calibrated=read_calibrated(connection(options.home).home),
    )


def _read(file: str) -> Profile:
    try:
        return parsed(Path(file).read_bytes(), file)
    except OSError as error:
        problem = f"the profile cannot be read: {(error.strerror or '').lower()}"
        raise ProfileError(problem, file, "`rayorch profile RUN -o FILE` makes one") from None


def _bytes(text: str) -> float:
    try:
        return float(str(parsed_bytes(text)))
    except ValueError:
        raise OptionError("a size is like 500GB, 10TB or 1.5TiB", "--data", repr(text)) from None


def _growth(text: str) -> float:
    match = _TIMES.fullmatch(text.strip().lower())
    if match is None or not float(match[1]):
        raise OptionError("growth is like 3x or 1.5", "--growth", repr(text))
    return float(match[1])


def _deadline_s(options: Options) -> float | None:
    if options.by_time is None:
        return None if options.deadline is None else parsed_s(options.deadline)
    if options.deadline is not None:
        raise OptionError("say one of --by and --deadline", "--by", options.by_time)
    within_s = _clock_s(options.by_time, "--by") - _clock_s(options.start, "--start")
    return within_s if within_s > 0.0 else within_s + DAY_S


def _clock_s(text: str, option: str) -> float:
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise OptionError("a time of day is like 06:00", option, repr(text))
    return 3600.0 * int(match[1]) + 60.0 * int(match[2])


def _zones(file: PoolFile) -> tuple[tuple[str, tuple[str, ...]], ...]:
    zones: dict[str, list[str]] = {}
    for each in file.described:
        fact = each.facts.get("zone")
        if fact is not None:
            zones.setdefault(str(fact.value), []).append(each.spec.name)
    return tuple((zone, tuple(pools)) for zone, pools in zones.items())


def _unknown(file: PoolFile) -> Iterator[str]:
    for name, what in MOVING.items():
        if name not in file.spec.model_fields_set:
            yield f"{what} ({name}): nothing is reckoned with"
    if not any("zone" in each.facts for each in file.described):
        yield "in which zones the pools are, so that the loss of one is not shown"


def _unknown_of(each: Described) -> Iterator[tuple[str, str]]:
    for name in UNKNOWN_SHOWN:
        if name in each.unknown:
            yield name, f"{name} is not known; {_reckoned(each, name)}"


def _reckoned(each: Described, name: str) -> str:
    value = getattr(each.spec, name, None)
    if value is None and each.spec.spot is not None:
        value = getattr(each.spec.spot, name, None)
    return "dollars are not shown" if value is None else f"{value:g} is reckoned with"


# --- what is printed ----------------------------------------------------------------------------


def _print(found: Capacity) -> None:
    print_section(f"capacity of {found.pipeline}", _head(found), LABEL)
    click.echo("\nmachines")
    print_table(*machine_rows(found), "  ")
    print_section("ends", _ends(found), LABEL)
    print_section("costs", _costs(found), LABEL)
    click.echo("\nwhat if")
    print_table(*what_if_rows(found), "  ")
    click.echo("\nwhat breaks first when data doubles")
    print_table(*use_rows(found), "  ")
    if found.frontier:
        click.echo(f"\ncost against time, {frontier_text(found)}")
        print_table(*frontier_rows(found), "  ")
    print_section("rests on", basis(found), LABEL)


def _head(found: Capacity) -> Iterator[tuple[str, str]]:
    yield (
        "workload",
        f"{bytes_text(found.data_bytes)}, {times_text(found.growth)} x what was measured",
    )
    stages = ", ".join(
        f"{count_text(stage.tasks)} of {stage.name} ({stage_text(stage)})"
        for stage in found.stages
        if stage.tasks
    )
    yield "tasks", f"{count_text(found.tasks)}: {stages}"
    if found.deadline_s is not None:
        share = f"{100.0 * found.confidence:g} % of the runs"
        yield "promise", f"within {seconds_text(found.deadline_s)} in {share}"
    if found.refused:
        yield "refused", found.refused
        yield "could do", found.nearest
    elif found.ask_s is not None:
        yield "ask for", f"rayorch run ... --autoscale --deadline {math.floor(found.ask_s)}s"


def _ends(found: Capacity) -> Iterator[tuple[str, str]]:
    ends = found.finish
    yield "half", f"within {seconds_text(ends.p50_s)}"
    yield "95 %", f"within {seconds_text(ends.p95_s)}"
    yield "99 %", f"within {seconds_text(ends.p99_s)}"
    if ends.hit is not None:
        yield "in time", in_time_text(found)
    for number, (share, headroom) in enumerate(headrooms(found)):
        more = f"{100.0 * share:g} % of the runs take up to {100.0 * headroom:.0f} % more than half"
        yield "" if number else "headroom", more


def _costs(found: Capacity) -> Iterator[tuple[str, str]]:
    hours = core_hours_text(found.core_hours)
    yield "a run", f"{usd_text(found.usd)} ({hours})"
    if found.runs_month is not None:
        yield "a month", f"{usd_text(found.usd_month)} for {found.runs_month:.4g} runs"
