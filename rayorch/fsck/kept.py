"""What a home keeps of its runs beside the journal: documents, exchange files, and leftovers."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

import msgspec
import xxhash

from connectors.audit import wrong_with
from connectors.errors import ObjectDamagedError, ObjectMissingError
from rayorch.core.run import ENDED, Run
from rayorch.core.task import TaskState
from rayorch.exchange.index import Run as Rows
from rayorch.exchange.kept import load_input, load_plan, load_waited
from rayorch.exchange.parts import ExchangePart, load_part
from rayorch.fsck.findings import Finding
from rayorch.home import EXCHANGE, IDENTITY, RUNS, Home
from rayorch.ids import RunId

PROBES: Final = ".probe/"
LEFT_S: Final = 3600.0
"""What is older than this is not being written any more."""


def document_findings(home: Home, runs: Mapping[RunId, Run]) -> Iterator[Finding]:
    """Yield the documents without which a run that has not ended cannot go on."""
    for run in runs.values():
        if run.state in ENDED:
            continue
        for key, what in _unreadable(home, run):
            yield Finding(
                area="home",
                severity="damage",
                object=key,
                what=what,
                advice=f"bring it back from a copy, or `rayorch cancel {run.id}` and run it again",
            )


def _unreadable(home: Home, run: Run) -> Iterator[tuple[str, str]]:
    folder = f"{RUNS}{run.id}/"
    program = f"{folder}program-{run.version}.pkl"
    # Not loaded: that would execute what it holds.
    reads: list[tuple[str, Callable[[], object]]] = [
        (program, partial(home.get_program, run.id, run.version))
    ]
    if run.planned:
        reads.append((f"{folder}plan.msgpack", partial(home.get_plan, run.id)))
    for stage, revision in run.revisions.items():
        key = f"{folder}stage-{stage}"
        if stage in run.waits:
            reads.append((f"{key}.msgpack", partial(load_waited, home, run.id, stage)))
            continue
        reads.append((f"{key}.msgpack", partial(load_plan, home, run.id, stage)))
        at = f"{key}-{revision}.msgpack"
        reads.append((at, partial(load_input, home, run.id, stage, revision)))
    for key, read in reads:
        try:
            read()
        except ObjectMissingError:
            yield key, "it is missing"
        except ObjectDamagedError as error:
            yield key, error.reason
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            yield key, f"it cannot be read ({error})"


def identity_of(home: Home) -> str:
    """Return the name that the home gave itself; nothing, where it has none that can be read."""
    try:
        return str(msgspec.json.decode(home.store.get(IDENTITY))["id"])
    except (ObjectMissingError, msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError):
        return ""


def exchange_findings(home: Home, runs: Mapping[RunId, Run], *, deep: bool) -> Iterator[Finding]:
    """Yield exchange files that somebody still has to read and that are not what was written."""
    for run in runs.values():
        if run.state in ENDED:
            continue
        done = _read_stages(run)
        for task, results in run.parts.items():
            for part in (load_part(result.payload) for result in results if result.payload):
                what = "" if _stage_of(part) in done else _wrong_part(home, part, deep=deep)
                if what:
                    yield Finding(
                        area="exchange",
                        severity="harmless",
                        object=part.key,
                        what=f"{what}: task {task} of {run.id} is executed again when it is read",
                    )


def _read_stages(run: Run) -> set[int]:
    """Return the stages whose tasks have all committed: nobody reads for them again."""
    waiting = {task.stage for task in run.tasks if task.state is not TaskState.COMMITTED}
    return set(range(len(run.stages))) - waiting - set(run.unplanned)


def _stage_of(part: ExchangePart) -> int:
    return int(part.key.partition(EXCHANGE)[2].partition("/")[0])


def _wrong_part(home: Home, part: ExchangePart, *, deep: bool) -> str:
    what = wrong_with(home.store, part.key, part.size_bytes, "")
    if what or not deep:
        return what
    for segment in part.segments:
        for block in Rows(0, segment).reads(0, segment.rows):
            data = home.store.get_range(part.key, block.start, block.size_bytes)
            if xxhash.xxh3_64_digest(data) != block.checksum:
                return f"the checksum of its block at byte {block.start:,} does not match"
    return ""


def leftover_findings(
    home: Home, runs: Mapping[RunId, Run], now_s: float
) -> Iterator[tuple[Finding, list[str]]]:
    """Yield what nobody needs any more, with the keys to delete; none: it is left alone."""
    unknown: dict[str, int] = {}
    spent: dict[str, list[str]] = {}
    for info in home.store.list(RUNS):
        name, _, rest = info.key.removeprefix(RUNS).partition("/")
        run = runs.get(RunId(name))
        if run is None:
            unknown[name] = unknown.get(name, 0) + 1
        elif run.state in ENDED and run.swept and rest.startswith(EXCHANGE):
            spent.setdefault(name, []).append(info.key)
    for name, keys in spent.items():
        what = f"{len(keys)} exchange files of a run that has ended"
        folder = f"{RUNS}{name}/{EXCHANGE}"
        yield _leftover(folder, what, "delete them"), keys
    for name, count in unknown.items():
        what = f"{count} objects of a run that the journal does not know: never submitted, or lost"
        yield _leftover(f"{RUNS}{name}/", what, ""), []
    probes = [i.key for i in home.store.list(PROBES) if i.modified_s < now_s - LEFT_S]
    if probes:
        yield (
            _leftover(PROBES, f"{len(probes)} objects of a probe that died", "delete them"),
            probes,
        )


def _leftover(key: str, what: str, repair: str) -> Finding:
    return Finding(area="home", severity="leftover", object=key, what=what, repair=repair)
